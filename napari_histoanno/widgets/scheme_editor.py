"""Editing a label scheme: names, colours, hierarchy, grade order and hotkeys in one tree."""

from __future__ import annotations

from dataclasses import replace

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QColorDialog,
    QHBoxLayout,
    QHeaderView,
    QInputDialog,
    QMenu,
    QMessageBox,
    QToolButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_histoanno.annotation import LabelClass, LabelScheme
from napari_histoanno.widgets.icons import swatch

_NAME, _HOTKEY, _GRADE = range(3)
_ID_ROLE = Qt.ItemDataRole.UserRole


class SchemeEditor(QWidget):
    """A tree of classes that edits one :class:`LabelScheme`; children are drawn below the class they refine."""

    valueChanged = Signal(object)
    classActivated = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._scheme = LabelScheme()
        self.tree = QTreeWidget()
        self.tree.setHeaderLabels(["Class", "Key", "Grade"])
        self.tree.header().setSectionResizeMode(_NAME, QHeaderView.ResizeMode.Stretch)
        for column in (_HOTKEY, _GRADE):
            self.tree.header().setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        self.tree.header().setStretchLastSection(False)
        self.tree.setMinimumHeight(150)
        self.tree.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.tree.customContextMenuRequested.connect(self._show_menu)
        self.tree.itemChanged.connect(self._read_item)
        self.tree.currentItemChanged.connect(self._announce_current)
        self.tree.setToolTip(
            "Double-click a name, key (1-9) or grade (higher is worse) to change it; "
            "right-click for colour, parent and removal"
        )
        buttons = QHBoxLayout()
        for text, tip, action in (
            ("Add", "Add a class", self._add),
            ("Remove", "Remove the selected class", self._remove),
            ("Colour…", "Change the colour of the selected class", self._recolor),
        ):
            button = QToolButton()
            button.setText(text)
            button.setToolTip(tip)
            button.clicked.connect(action)
            buttons.addWidget(button)
        buttons.addStretch()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.tree)
        layout.addLayout(buttons)

    def value(self) -> LabelScheme:
        return self._scheme

    def setValue(self, scheme: LabelScheme) -> None:
        if scheme == self._scheme:
            return
        self._scheme = scheme
        self._rebuild()

    def _rebuild(self) -> None:
        current = self._current_id()
        with QSignalBlocker(self.tree):
            self.tree.clear()
            items: dict[int, QTreeWidgetItem] = {}
            for label in self._scheme:
                items[label.id] = self._item(label)
            for label in self._scheme:
                if label.parent is None:
                    self.tree.addTopLevelItem(items[label.id])
                else:
                    items[label.parent].addChild(items[label.id])
            self.tree.expandAll()
            if current in items:
                self.tree.setCurrentItem(items[current])

    @staticmethod
    def _item(label: LabelClass) -> QTreeWidgetItem:
        item = QTreeWidgetItem([label.name, label.hotkey or "", str(label.grade)])
        item.setData(_NAME, _ID_ROLE, label.id)
        item.setIcon(_NAME, swatch(label.color))
        item.setFlags(item.flags() | Qt.ItemFlag.ItemIsEditable)
        if label.background:
            item.setToolTip(_NAME, "Background: what unlabelled tissue inside a fully annotated region becomes")
        return item

    def _current_id(self) -> int | None:
        item = self.tree.currentItem()
        return None if item is None else int(item.data(_NAME, _ID_ROLE))

    def _announce_current(self) -> None:
        current = self._current_id()
        if current is not None:
            self.classActivated.emit(current)

    def _replace(self, scheme: LabelScheme) -> None:
        self._scheme = scheme
        self._rebuild()
        self.valueChanged.emit(scheme)

    def _try(self, class_id: int, **changes: object) -> None:
        try:
            scheme = self._scheme.with_changed(class_id, **changes)
        except ValueError as error:
            QMessageBox.warning(self, "Label scheme", str(error))
            self._rebuild()
            return
        self._replace(scheme)

    def _read_item(self, item: QTreeWidgetItem, column: int) -> None:
        class_id, text = int(item.data(_NAME, _ID_ROLE)), item.text(column).strip()
        if column == _NAME:
            self._try(class_id, name=text)
        elif column == _HOTKEY:
            if text and text not in "123456789":
                QMessageBox.warning(self, "Label scheme", "A key is one of 1 … 9.")
                self._rebuild()
                return
            self._take_hotkey(class_id, text or None)
        else:
            try:
                grade = int(text)
            except ValueError:
                QMessageBox.warning(self, "Label scheme", "A grade is a whole number; higher is worse.")
                self._rebuild()
                return
            self._try(class_id, grade=grade)

    def _take_hotkey(self, class_id: int, hotkey: str | None) -> None:
        freed = tuple(
            replace(c, hotkey=None) if hotkey and c.hotkey == hotkey and c.id != class_id else c for c in self._scheme
        )
        self._scheme = LabelScheme(freed)
        self._try(class_id, hotkey=hotkey)

    def _add(self) -> None:
        name, accepted = QInputDialog.getText(self, "Add a class", "Name of the new class:")
        if accepted and name.strip():
            try:
                scheme = self._scheme.with_class(name.strip())
            except ValueError as error:
                QMessageBox.warning(self, "Label scheme", str(error))
                return
            self._replace(scheme)

    def _remove(self) -> None:
        current = self._current_id()
        if current is None:
            return
        label = self._scheme[current]
        answer = QMessageBox.question(
            self,
            "Remove a class",
            f"Remove {label.name!r} from the scheme? What was annotated as {label.name!r} stays in the project, "
            "but is left out of training until the class is back (undo).",
        )
        if answer == QMessageBox.StandardButton.Yes:
            self._replace(self._scheme.without(current))

    def _recolor(self) -> None:
        current = self._current_id()
        if current is None:
            return
        color = QColorDialog.getColor(QColor(*self._scheme[current].color), self, "Colour of the class")
        if color.isValid():
            self._try(current, color=(color.red(), color.green(), color.blue()))

    def _show_menu(self, position: object) -> None:
        current = self._current_id()
        if current is None:
            return
        label = self._scheme[current]
        menu = QMenu(self)
        menu.addAction("Colour…", self._recolor)
        background = menu.addAction("Is the background")
        background.setCheckable(True)
        background.setChecked(label.background)
        background.triggered.connect(lambda on: self._set_background(current, on))
        parents = menu.addMenu("Refines")
        parents.addAction("nothing (top level)", lambda: self._try(current, parent=None))
        for other in self._scheme:
            if other.id != current:
                parents.addAction(swatch(other.color), other.name, lambda i=other.id: self._try(current, parent=i))
        menu.addAction("Remove", self._remove)
        menu.exec(self.tree.viewport().mapToGlobal(position))

    def _set_background(self, class_id: int, on: bool) -> None:
        self._replace(LabelScheme(tuple(replace(c, background=on and c.id == class_id) for c in self._scheme)))
