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

from napari_histoanno.widgets.form import SLIDE_FILTER, button, choose_folder, form, group, row
from napari_histoanno.widgets.relay import listen
from napari_histoanno.widgets.scheme_editor import SchemeEditor

if TYPE_CHECKING:
    from qtpy.QtCore import QPoint

    from napari_histoanno.annotation import LabelScheme
    from napari_histoanno.project import SlideRecord
    from napari_histoanno.session import Session

_NAME, _PATIENT, _MPP, _SPLIT = range(4)
_SPLITS = {"": "train or validate", "train": "train", "validation": "validation", "test": "test"}
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
        self._slides_box = group(
            "Slides",
            self._table,
            row(
                button("Add slides…", "Add slide files; they stay where they are", self.ask_slides),
                button("Locate…", "Tell where a moved slide file is now", self.ask_locate),
                button("Remove", "Take the selected slide and its annotations out of the project", self.remove_slide),
            ),
        )
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
        for box in (self._slides_box, self._scheme_box):
            box.setEnabled(project is not None)
        if project is None:
            self._path.setText("Create or open a project to begin.")
            self._table.setRowCount(0)
            return
        note = f"<br><b>Read only</b>: in use by {project.lock_owner}" if project.read_only else ""
        self._path.setText(f"<b>{project.path.name}</b>{note}")
        self._path.setToolTip(str(project.path))
        self._annotator.setText(project.annotator)
        self._scheme.setValue(project.scheme)
        with QSignalBlocker(self._table):
            self._table.setRowCount(len(project.slides))
            for place, record in enumerate(project.slides):
                self._fill_row(place, record)
                if record.id == self._session.slide_id:
                    self._table.selectRow(place)

    def _fill_row(self, place: int, record: SlideRecord) -> None:
        name = QTableWidgetItem(record.name)
        name.setData(_ID_ROLE, record.id)
        name.setToolTip(f"{record.path}\n{record.width} × {record.height} px")
        patient = QTableWidgetItem(record.patient)
        mpp = QTableWidgetItem(f"{record.mpp:.3f}" if record.mpp else "?")
        for column, item in ((_NAME, name), (_PATIENT, patient), (_MPP, mpp)):
            self._table.setItem(place, column, item)
        split = QComboBox()
        for value, text in _SPLITS.items():
            split.addItem(text, value)
        split.setCurrentIndex(list(_SPLITS).index(record.split))
        split.setToolTip("Slides for validation or test are never trained on")
        split.currentIndexChanged.connect(
            lambda _, box=split, slide=record.id: self._session.update_slide(slide, split=box.currentData())
        )
        self._table.setCellWidget(place, _SPLIT, split)

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

    def _show_menu(self, position: QPoint) -> None:
        place = self._table.rowAt(position.y())
        if self._slide_at(place) is None:
            return
        self._table.selectRow(place)
        menu = QMenu(self)
        menu.addAction("Locate…", self.ask_locate)
        menu.addAction("Remove", self.remove_slide)
        menu.exec(self._table.viewport().mapToGlobal(position))

    def ask_new(self) -> None:
        """Create a project in a folder that the user names."""
        parent = choose_folder(self, "Where to create the project")
        if not parent:
            return
        name, accepted = QInputDialog.getText(self, "New project", "Name of the project:", text="my-project")
        if accepted and name.strip():
            self._session.create_project(Path(parent) / name.strip())

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
