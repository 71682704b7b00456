"""Colours of napari's theme, where Qt's palette does not know them, and how held tools and chosen classes look."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from napari.settings import get_settings
from napari.utils.theme import get_theme
from qtpy.QtGui import QColor

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtWidgets import QWidget


class Signs(NamedTuple):
    """Colours of what is said, as CSS names; readable on the theme's background."""

    good: str
    caution: str
    bad: str
    advice: str


_ON_DARK = Signs(good="#6fcf87", caution="#f5b041", bad="#ff8080", advice="#8fb8ff")
_ON_LIGHT = Signs(good="#1c7a37", caution="#8a5300", bad="#b00020", advice="#1f4fb5")
_MIDDLE = 128


def text_color() -> QColor:
    """Colour of text in the current theme."""
    return _color("text")


def signs() -> Signs:
    """Colours of messages in the current theme."""
    return _ON_DARK if _color("background").lightness() < _MIDDLE else _ON_LIGHT


def _color(name: str) -> QColor:
    theme = get_theme(get_settings().appearance.theme)
    return QColor(*getattr(theme, name).as_rgb_tuple()[:3])


def apply_style(widget: QWidget) -> None:
    """Make checked buttons below a widget stand out as in napari's own controls."""
    chosen, hover = _color("current").name(), _color("primary").name()
    widget.setStyleSheet(
        f"QToolButton {{ border-radius: 3px; padding: 3px; }}"
        f"QToolButton:hover {{ background-color: {hover}; }}"
        f"QToolButton:checked {{ background-color: {chosen}; }}"
        f"QToolButton:focus {{ border: 1px solid {_color('highlight').name()}; }}"
        f"QPushButton#train {{ background-color: {chosen}; font-weight: bold; }}"
        f"QPushButton#train:disabled {{ background-color: {hover}; }}"
    )


def follow_theme(widget: QWidget, repaint: Callable[[], object]) -> None:
    """Call ``repaint`` now and whenever the theme changes, for as long as the widget lives."""
    changed = get_settings().appearance.events.theme

    def follow(_: object = None) -> None:
        repaint()

    changed.connect(follow)
    widget.destroyed.connect(lambda: changed.disconnect(follow))
    repaint()
