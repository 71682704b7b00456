"""First step: a project, its slides and its label scheme."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHeaderView,
    QInputDialog,
    QLabel,
    QLineEdit,
    QMenu,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_histoanno.annotation import LabelScheme
from napari_histoanno.project import LockOwner
from napari_histoanno.widgets.form import SLIDE_FILTER, button, choose_folder, form, group, row
from napari_histoanno.widgets.relay import listen
from napari_histoanno.widgets.scheme_editor import SchemeEditor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtCore import QPoint

    from napari_histoanno.project import SlideRecord
    from napari_histoanno.session import Session

_NAME, _PATIENT, _MPP, _SPLIT = range(4)
_SPLITS = {"": "automatic", "train": "training", "validation": "validation", "test": "test"}
_ID_ROLE = Qt.ItemDataRole.UserRole


class SlidesPage(QWidget):
    """Project, annotator, slides and classes of a session."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._path = QLabel()
        self._path.setWordWrap(True)
        self._annotator = QLineEdit()
        self._annotator.setPlaceholderText("your name")
        self._annotator.setToolTip("Stored with everything you annotate")
        self._annotator.editingFinished.connect(lambda: session.set_annotator(self._annotator.text().strip()))
        self._table = self._make_table()
        self._shown: list[str] = []
        self._scheme = SchemeEditor()
        self._scheme.valueChanged.connect(self._change_scheme)
        self._scheme.classActivated.connect(session.set_class)
        project_box = group(
            "Project",
            row(
                button("New…", "Create a project: a folder that holds all annotations and models", self.ask_new),
                button("Open…", "Open a project folder", self.ask_open),
                button("Sample", "Open a copy of the sample project with two synthetic slides", self.ask_sample),
            ),
            self._path,
            form(("Annotator", self._annotator)),
        )
        self.add_button = button("Add slides…", "Add slide files; they stay where they are", self.ask_slides)
        self.locate_button = button("Locate…", "Tell where a moved slide file is now", self.ask_locate)
        self.remove_button = button(
            "Remove",
            "Take the selected slide and its annotations out of the project; undo brings them back",
            self.remove_slide,
        )
        self._slides_box = group("Slides", self._table, row(self.add_button, self.locate_button, self.remove_button))
        self._scheme_box = group("Label classes", self._scheme)
        layout = QVBoxLayout(self)
        for box in (project_box, self._slides_box, self._scheme_box):
            layout.addWidget(box)
        layout.addStretch()
        for signal in (session.project_changed, session.slide_changed, session.slides_changed):
            listen(self, signal, self.refresh)
        listen(self, session.scheme_changed, self.refresh)
        self.refresh()

    def _make_table(self) -> QTableWidget:
        table = QTableWidget(0, 4)
        table.setHorizontalHeaderLabels(["Slide", "Patient", "µm/px", "Use for"])
        header = table.horizontalHeader()
        header.setSectionResizeMode(_NAME, QHeaderView.ResizeMode.Stretch)
        for column in (_PATIENT, _MPP, _SPLIT):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        table.verticalHeader().setVisible(False)
        table.setSelectionBehavior(QTableWidget.SelectionBehavior.SelectRows)
        table.setSelectionMode(QTableWidget.SelectionMode.SingleSelection)
        table.setMinimumHeight(110)
        table.setToolTip("Click a slide to open it; double-click the patient or pixel size to change it")
        table.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        table.customContextMenuRequested.connect(self._show_menu)
        table.currentCellChanged.connect(self._open_current)
        table.cellChanged.connect(self._edit_cell)
        return table

    # -- the session's state on screen -----------------------------------------------------------------------------

    def refresh(self, *_: object) -> None:
        """Show the project as it is now."""
        project = self._session.project
        writable = project is not None and not project.read_only
        for part in (self._annotator, self.add_button, self._scheme):
            part.setEnabled(writable)
        for part in (self._slides_box, self._scheme_box):
            part.setEnabled(project is not None)
        self._path.setText("No project is open." if project is None else f"<b>{project.path.name}</b>")
        self._path.setToolTip("" if project is None else str(project.path))
        if project is not None and project.read_only:
            owner = f": in use by {project.lock_owner}" if project.lock_owner else ""
            self._path.setText(f"<b>{project.path.name}</b><br><b>Read only</b>{owner}")
        self._annotator.setText(project.annotator if project is not None else "")
        self._scheme.setValue(project.scheme if project is not None else LabelScheme())
        self._show_slides(project.slides if project is not None else (), editable=writable)

    def _show_slides(self, records: Sequence[SlideRecord], *, editable: bool) -> None:
        current = self._session.slide_id
        with QSignalBlocker(self._table):
            if [record.id for record in records] != self._shown:
                self._shown = [record.id for record in records]
                self._table.setRowCount(0)
                self._table.setRowCount(len(records))
                for place, record in enumerate(records):
                    self._make_row(place, record.id)
            for place, record in enumerate(records):
                self._fill_row(place, record, editable=editable)
            if current in self._shown:
                self._table.setCurrentCell(self._shown.index(current), max(0, self._table.currentColumn()))
            else:
                self._table.clearSelection()
        for part in (self.locate_button, self.remove_button):
            part.setEnabled(editable and current is not None)

    def _make_row(self, place: int, slide: str) -> None:
        for column in (_NAME, _PATIENT, _MPP):
            self._table.setItem(place, column, QTableWidgetItem())
        self._table.item(place, _NAME).setData(_ID_ROLE, slide)
        split = QComboBox()
        for value, text in _SPLITS.items():
            split.addItem(text, value)
        split.setToolTip("Slides for validation or test are never trained on; automatic keeps some places aside")
        split.activated.connect(lambda _: self._session.update_slide(slide, split=split.currentData()))
        self._table.setCellWidget(place, _SPLIT, split)

    def _fill_row(self, place: int, record: SlideRecord, *, editable: bool) -> None:
        texts = {_NAME: record.name, _PATIENT: record.patient, _MPP: f"{record.mpp:.4g}" if record.mpp else "?"}
        tips = {
            _NAME: f"{record.path}\n{record.width} × {record.height} px",
            _PATIENT: "Slides of one patient are never split between training and validation",
            _MPP: "Size of a pixel in µm" if record.mpp else "The file does not say how large a pixel is: 0.5 is taken",
        }
        for column, text in texts.items():
            item = self._table.item(place, column)
            item.setText(text)
            item.setToolTip(tips[column])
            flags = item.flags()
            item.setFlags(flags | Qt.ItemFlag.ItemIsEditable if editable else flags & ~Qt.ItemFlag.ItemIsEditable)
        split = self._table.cellWidget(place, _SPLIT)
        split.setCurrentIndex(list(_SPLITS).index(record.split))
        split.setEnabled(editable)

    def _slide_at(self, place: int) -> str | None:
        item = self._table.item(place, _NAME) if place >= 0 else None
        return None if item is None else str(item.data(_ID_ROLE))

    # -- what the user does ----------------------------------------------------------------------------------------

    def _open_current(self, place: int, *_: int) -> None:
        slide = self._slide_at(place)
        if slide is not None and slide != self._session.slide_id:
            self._session.set_slide(slide)

    def _edit_cell(self, place: int, column: int) -> None:
        slide, text = self._slide_at(place), self._table.item(place, column).text().strip()
        if slide is None:
            return
        if column == _NAME and text:
            self._session.update_slide(slide, name=text)
        elif column == _PATIENT:
            self._session.update_slide(slide, patient=text)
        elif column == _MPP:
            try:
                mpp = float(text.replace(",", "."))
            except ValueError:
                mpp = 0.0
            if mpp > 0:
                self._session.update_slide(slide, mpp=mpp)
            else:
                self._session.error.emit("A pixel size is a positive number of µm, for example 0.25.")
        self.refresh()

    def _change_scheme(self, scheme: LabelScheme) -> None:
        self._session.set_scheme(scheme)
        if self._session.project is not None:
            self._scheme.setValue(self._session.project.scheme)  # as it was, where the change was refused

    def _show_menu(self, position: QPoint) -> None:
        place = self._table.rowAt(position.y())
        if self._slide_at(place) is None:
            return
        self._table.selectRow(place)
        menu = QMenu(self)
        for each in (self.locate_button, self.remove_button):
            menu.addAction(each.text(), each.click).setEnabled(each.isEnabled())
        menu.exec(self._table.viewport().mapToGlobal(position))

    def ask_new(self) -> None:
        """Create a project in a folder that the user names."""
        parent = choose_folder(self, "Where to create the project")
        if not parent:
            return
        name, accepted = QInputDialog.getText(self, "New project", "Name of the project:", text="my-project")
        if accepted and name.strip():
            self._session.create_project(Path(parent) / name.strip(), annotator=LockOwner.current().owner)

    def ask_open(self) -> None:
        """Open a project that the user picks."""
        folder = choose_folder(self, "Open a project folder")
        if folder:
            self._session.open_project(Path(folder))

    def ask_sample(self) -> None:
        """Open a fresh copy of the sample project in a folder that the user names."""
        parent = choose_folder(self, "Where to put the copy of the sample project")
        if parent:
            self._session.open_sample(Path(parent) / "histoanno-sample")

    def ask_slides(self) -> None:
        """Add slide files that the user picks."""
        paths, _ = QFileDialog.getOpenFileNames(self, "Add slides", filter=SLIDE_FILTER)
        if paths:
            self._session.add_slides([Path(path) for path in paths])

    def ask_locate(self) -> None:
        """Tell where the selected slide's file is now."""
        slide = self._slide_at(self._table.currentRow())
        if slide is None:
            return
        path, _ = QFileDialog.getOpenFileName(self, "Where is this slide now?", filter=SLIDE_FILTER)
        if path:
            self._session.locate_slide(slide, Path(path))

    def remove_slide(self) -> None:
        """Take the selected slide out of the project (undo brings it back)."""
        slide = self._slide_at(self._table.currentRow())
        if slide is not None:
            self._session.remove_slide(slide)
