"""Colours of napari's theme, where Qt's palette does not know them, and how held tools and chosen classes look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.settings import get_settings
from napari.utils.theme import get_theme
from qtpy.QtGui import QColor

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget


def text_color() -> QColor:
    """Colour of text in the current theme."""
    return QColor(*get_theme(get_settings().appearance.theme).text.as_rgb_tuple()[:3])


def apply_style(widget: QWidget) -> None:
    """Make checked buttons below a widget stand out as in napari's own controls."""
    theme = get_theme(get_settings().appearance.theme)
    chosen = QColor(*theme.current.as_rgb_tuple()[:3]).name()
    hover = QColor(*theme.primary.as_rgb_tuple()[:3]).name()
    widget.setStyleSheet(
        f"QToolButton {{ border-radius: 3px; padding: 3px; }}"
        f"QToolButton:hover {{ background-color: {hover}; }}"
        f"QToolButton:checked {{ background-color: {chosen}; }}"
        f"QPushButton#train {{ background-color: {chosen}; font-weight: bold; }}"
        f"QPushButton#train:disabled {{ background-color: {hover}; }}"
    )
