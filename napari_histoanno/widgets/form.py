"""Small parts of forms that every page uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QFileDialog,
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

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


class Fold(QWidget):
    """A title that shows and hides what is below it; closed at first.

    Folds can lie in each other: a fold is always as high as what it shows.
    """

    def __init__(self, title: str, content: QWidget, tip: str = "") -> None:
        super().__init__()
        self.title = QToolButton()
        self.title.setText(title)
        self.title.setToolTip(tip)
        self.title.setCheckable(True)
        self.title.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.title.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.title.toggled.connect(self._show)
        self._content = content
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.title)
        layout.addWidget(content)
        self._show(opened=False)

    def open(self) -> None:
        """Show the content."""
        self.title.setChecked(True)

    def _show(self, opened: bool) -> None:
        self._content.setVisible(opened)
        self.title.setArrowType(Qt.ArrowType.DownArrow if opened else Qt.ArrowType.RightArrow)


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
