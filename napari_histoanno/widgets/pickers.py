"""Choosing the current class and the current tool by sight: one click or one key each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QSize, Qt, Signal
from qtpy.QtWidgets import QButtonGroup, QGridLayout, QLabel, QSizePolicy, QToolButton, QVBoxLayout, QWidget

from napari_histoanno.annotation.tools import TOOLS, Tool
from napari_histoanno.widgets.icons import swatch, tool_icon
from napari_histoanno.widgets.style import text_color

if TYPE_CHECKING:
    from napari_histoanno.annotation import LabelScheme

_TOOL_COLUMNS = 7
_ICON = QSize(24, 24)
_TEXT_BESIDE_ICON = Qt.ToolButtonStyle.ToolButtonTextBesideIcon


class ToolPicker(QWidget):
    """A grid of tool buttons; one is held at a time."""

    valueChanged = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._buttons: dict[Tool, QToolButton] = {}
        group = QButtonGroup(self)
        grid = QGridLayout()
        grid.setSpacing(2)
        grid.setContentsMargins(0, 0, 0, 0)
        color = text_color()
        for place, (tool, info) in enumerate(TOOLS.items()):
            button = QToolButton()
            button.setCheckable(True)
            button.setIcon(tool_icon(tool.value, color))
            button.setIconSize(_ICON)
            button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            button.setAccessibleName(info.label)
            button.setToolTip(f"<b>{info.label}</b> ({info.shortcut})<br>{info.hint}")
            button.clicked.connect(lambda _=False, t=tool: self._choose(t))
            group.addButton(button)
            grid.addWidget(button, place // _TOOL_COLUMNS, place % _TOOL_COLUMNS)
            self._buttons[tool] = button
        self._hint = QLabel()
        self._hint.setWordWrap(True)
        self._hint.setObjectName("hint")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(grid)
        layout.addWidget(self._hint)
        self._tool = Tool.PAN
        self.setValue(Tool.PAN)

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() in (event.Type.StyleChange, event.Type.PaletteChange):
            color = text_color()
            for tool, button in self._buttons.items():
                button.setIcon(tool_icon(tool.value, color))

    def value(self) -> Tool:
        return self._tool

    def setValue(self, tool: Tool) -> None:
        self._tool = tool
        self._buttons[tool].setChecked(True)
        info = TOOLS[tool]
        self._hint.setText(f"<b>{info.label}</b>: {info.hint}")

    def button(self, tool: Tool) -> QToolButton:
        return self._buttons[tool]

    def _choose(self, tool: Tool) -> None:
        self.setValue(tool)
        self.valueChanged.emit(tool)


class ClassPicker(QWidget):
    """One button per label class, in its colour and with its key; one is current."""

    valueChanged = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(1)
        self._buttons: dict[int, QToolButton] = {}
        self._class_id = 0
        self._scheme: LabelScheme | None = None

    def set_scheme(self, scheme: LabelScheme) -> None:
        if scheme == self._scheme:
            return
        self._scheme = scheme
        for button in self._buttons.values():
            self._layout.removeWidget(button)
            button.deleteLater()
        self._buttons = {}
        for label in scheme:
            button = QToolButton()
            button.setCheckable(True)
            button.setAutoExclusive(True)
            button.setToolButtonStyle(_TEXT_BESIDE_ICON)
            button.setIcon(swatch(label.color))
            button.setText(f"{label.name}    {label.hotkey or ''}")
            button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            key = f" - press {label.hotkey}" if label.hotkey else ""
            button.setToolTip(f"Annotate as {label.name}{key}")
            button.clicked.connect(lambda _=False, i=label.id: self._choose(i))
            self._layout.addWidget(button)
            self._buttons[label.id] = button
        self.setValue(self._class_id)

    def value(self) -> int:
        return self._class_id

    def setValue(self, class_id: int) -> None:
        self._class_id = class_id
        for each, button in self._buttons.items():
            button.setChecked(each == class_id)

    def _choose(self, class_id: int) -> None:
        self.setValue(class_id)
        self.valueChanged.emit(class_id)
