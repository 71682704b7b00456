"""Small parts of forms that every page uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFileDialog, QFormLayout, QGroupBox, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtWidgets import QLayout

SLIDE_FILTER = (
    "Slides and images (*.svs *.tif *.tiff *.ndpi *.mrxs *.scn *.bif *.vms *.vmu *.svslide *.dcm *.czi *.png *.jpg "
    "*.jpeg *.bmp);;All files (*)"
)


def group(title: str, *parts: QWidget | QLayout) -> QGroupBox:
    """A titled box with widgets and layouts below each other."""
    box = QGroupBox(title)
    layout = QVBoxLayout(box)
    layout.setContentsMargins(6, 6, 6, 6)
    layout.setSpacing(4)
    for part in parts:
        if isinstance(part, QWidget):
            layout.addWidget(part)
        else:
            layout.addLayout(part)
    return box


def row(*widgets: QWidget, stretch: bool = False) -> QHBoxLayout:
    """Widgets beside each other."""
    layout = QHBoxLayout()
    layout.setSpacing(4)
    for widget in widgets:
        layout.addWidget(widget)
    if stretch:
        layout.addStretch()
    return layout


def form(*entries: tuple[str, QWidget]) -> QFormLayout:
    """Labelled widgets below each other; a label takes its widget's tooltip."""
    layout = QFormLayout()
    layout.setSpacing(4)
    layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    for text, widget in entries:
        layout.addRow(text, widget)
        label = layout.labelForField(widget)
        if label is not None:
            label.setToolTip(widget.toolTip())
    return layout


def button(text: str, tip: str, action: Callable[[], object]) -> QPushButton:
    """A push button that does one thing."""
    made = QPushButton(text)
    made.setToolTip(tip)
    made.clicked.connect(lambda _=False: action())
    return made


def choose_folder(parent: QWidget, title: str) -> str:
    """Folder chosen by the user, "" if none."""
    return str(QFileDialog.getExistingDirectory(parent, title))
