"""Second step: draw, undo, convert."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QComboBox, QFileDialog, QLabel, QToolButton, QVBoxLayout, QWidget
from superqt import QLabeledSlider

from napari_histoanno.annotation import Granularity
from napari_histoanno.annotation.tools import Tool
from napari_histoanno.widgets.form import button, form, group, row
from napari_histoanno.widgets.pickers import ClassPicker, ToolPicker
from napari_histoanno.widgets.relay import listen

if TYPE_CHECKING:
    from napari_histoanno.session import Session

_TARGETS = {
    "pixels (outline)": Granularity.PIXEL,
    "ellipse": Granularity.ELLIPSE,
    "box": Granularity.BOX,
    "point": Granularity.POINT,
}
_METHODS = {"contour": "contour", "watershed": "watershed", "GrabCut": "grabcut"}
_SOURCES = (
    {"selected shapes": None}
    | {f"all {g.value}s": g for g in _TARGETS.values()}
    | {"all scribbles": Granularity.SPARSE}
)
_MAX_BRUSH = 500
_RECOUNT_MS = 300
ANNOTATION_FILTER = "QuPath GeoJSON (*.geojson *.json *.gz);;All files (*)"


class AnnotatePage(QWidget):
    """Tools, classes, undo and conversion of a session."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.tools = ToolPicker()
        self.tools.valueChanged.connect(self._choose_tool)
        self.classes = ClassPicker()
        self.classes.valueChanged.connect(session.set_class)
        self.brush = QLabeledSlider(Qt.Orientation.Horizontal)
        self.brush.setRange(1, _MAX_BRUSH)
        self.brush.setToolTip("Brush and scribble width in slide pixels; keys [ and ]")
        self.brush.valueChanged.connect(session.set_brush_size)
        self._undo, self._redo = QToolButton(), QToolButton()
        for tool_button, text, action in ((self._undo, "↶ Undo", session.undo), (self._redo, "↷ Redo", session.redo)):
            tool_button.setText(text)
            tool_button.clicked.connect(lambda _=False, act=action: act())
        self._count = QLabel()
        self._count.setWordWrap(True)
        self.convert_from, self.convert_to, self.method = QComboBox(), QComboBox(), QComboBox()
        for box, names, tip in (
            (self.convert_from, _SOURCES, "What to convert"),
            (self.convert_to, _TARGETS, "What to make of it; the originals stay"),
            (self.method, _METHODS, "How a click or box becomes a mask"),
        ):
            box.addItems(list(names))
            box.setToolTip(tip)
        layout = QVBoxLayout(self)
        layout.addWidget(group("Tool", self.tools, form(("Width (px)", self.brush))))
        layout.addWidget(group("Class", self.classes))
        layout.addWidget(group("History", row(self._undo, self._redo, stretch=True), self._count))
        layout.addWidget(
            group(
                "Convert",
                form(("From", self.convert_from), ("To", self.convert_to), ("Clicks by", self.method)),
                button("Convert", "Make derived annotations; undo takes them back", self.convert),
            )
        )
        layout.addWidget(
            group(
                "Exchange",
                row(
                    button("Import…", "Read annotations of another tool into this slide", self.ask_import),
                    button("Export…", "Write this slide's annotations as GeoJSON for QuPath", self.ask_export),
                ),
            )
        )
        layout.addStretch()
        self._recount = QTimer(self)
        self._recount.setSingleShot(True)
        self._recount.setInterval(_RECOUNT_MS)
        self._recount.timeout.connect(self._show_counts)
        for signal in (session.project_changed, session.scheme_changed, session.slide_changed):
            listen(self, signal, self.refresh)
        for signal in (session.class_changed, session.tool_changed, session.brush_changed):
            listen(self, signal, self._show_state)
        listen(self, session.annotations_changed, self._after_change)
        self.refresh()

    def refresh(self, *_: object) -> None:
        """Show the session as it is now."""
        project = self._session.project
        self.setEnabled(project is not None)
        if project is not None:
            self.classes.set_scheme(project.scheme)
        self._show_state()
        self._after_change()

    def _show_state(self, *_: object) -> None:
        self.tools.setValue(self._session.tool)
        self.classes.setValue(self._session.class_id)
        self.brush.blockSignals(True)
        self.brush.setValue(round(self._session.brush_size))
        self.brush.blockSignals(False)

    def _after_change(self, *_: object) -> None:
        project = self._session.project
        history = project.history if project is not None else None
        for tool_button, what, possible, key in (
            (self._undo, history.undo_text if history else None, history and history.can_undo, "Ctrl+Z"),
            (self._redo, history.redo_text if history else None, history and history.can_redo, "Ctrl+Shift+Z"),
        ):
            tool_button.setEnabled(bool(possible))
            tool_button.setToolTip(f"{what or 'nothing'} ({key})")
        self._recount.start()

    def _show_counts(self) -> None:
        counts = self._session.counts()
        self._count.setText(", ".join(f"{number} {name}" for name, number in counts.items()) or "nothing annotated yet")

    # -- what the user does ----------------------------------------------------------------------------------------

    def _choose_tool(self, tool: Tool) -> None:
        if tool is Tool.IMAGE:
            self._session.label_slide()
            self._show_state()
        else:
            self._session.set_tool(tool)

    def convert(self) -> None:
        """Convert what is chosen, in one undoable action."""
        source = _SOURCES[self.convert_from.currentText()]
        target = _TARGETS[self.convert_to.currentText()]
        self._session.convert(source, target, method=_METHODS[self.method.currentText()])

    def ask_import(self) -> None:
        """Read annotations from a file that the user picks."""
        path, _ = QFileDialog.getOpenFileName(self, "Import annotations", filter=ANNOTATION_FILTER)
        if path:
            self._session.import_annotations(path)

    def ask_export(self) -> None:
        """Write the slide's annotations to a file that the user names."""
        path, _ = QFileDialog.getSaveFileName(self, "Export annotations", "annotations.geojson", ANNOTATION_FILTER)
        if path:
            self._session.export_annotations(path)
