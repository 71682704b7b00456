"""Second step: draw, undo, convert."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QFileDialog, QLabel, QToolButton, QVBoxLayout, QWidget
from superqt import QLabeledSlider

from napari_histoanno.annotation import Granularity, LabelScheme
from napari_histoanno.annotation.tools import Tool
from napari_histoanno.widgets.background import Background
from napari_histoanno.widgets.form import button, form, group, row
from napari_histoanno.widgets.guide import FactsWatch
from napari_histoanno.widgets.pickers import ClassPicker, ToolPicker
from napari_histoanno.widgets.relay import listen

if TYPE_CHECKING:
    from napari_histoanno.session import Session

_TARGETS = {
    "outlines (pixels)": Granularity.PIXEL,
    "ellipses": Granularity.ELLIPSE,
    "boxes": Granularity.BOX,
    "points": Granularity.POINT,
}
_METHODS = {"network": "network", "contour": "contour", "watershed": "watershed", "GrabCut": "grabcut"}
_SOURCES = {
    "selected shapes and points": None,
    "all points": Granularity.POINT,
    "all boxes": Granularity.BOX,
    "all ellipses": Granularity.ELLIPSE,
    "all outlines": Granularity.PIXEL,
    "all scribbles": Granularity.SPARSE,
}
_MAX_BRUSH = 500
ANNOTATION_FILTER = "QuPath GeoJSON (*.geojson *.json *.gz);;All files (*)"


class AnnotatePage(QWidget):
    """Tools, classes, undo and conversion of a session."""

    def __init__(self, session: Session, facts: FactsWatch | None = None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._facts = FactsWatch(session, self) if facts is None else facts
        self._background = Background(self)
        self.tools = ToolPicker()
        self.tools.valueChanged.connect(self._choose_tool)
        self.classes = ClassPicker()
        self.classes.valueChanged.connect(session.set_class)
        self.brush = QLabeledSlider(Qt.Orientation.Horizontal)
        self.brush.setRange(1, _MAX_BRUSH)
        self.brush.setToolTip("Brush and scribble width in slide pixels; keys [ and ]")
        self.brush.valueChanged.connect(session.set_brush_size)
        self.undo, self.redo = QToolButton(), QToolButton()
        for tool_button, text, action in ((self.undo, "↶ Undo", session.undo), (self.redo, "↷ Redo", session.redo)):
            tool_button.setText(text)
            tool_button.clicked.connect(lambda _=False, act=action: act())
        self.count = QLabel()
        self.count.setWordWrap(True)
        self.convert_from, self.convert_to, self.method = QComboBox(), QComboBox(), QComboBox()
        for box, names, tip in (
            (self.convert_from, _SOURCES, "What to convert, on this slide"),
            (self.convert_to, _TARGETS, "What to make of it; the originals stay"),
            (self.method, _METHODS, "How a click or box becomes an outline: network for nuclei, the others to try"),
        ):
            box.addItems(list(names))
            box.setToolTip(tip)
            box.currentIndexChanged.connect(self._show_possible)
        self.convert_button = button("Convert", "Make derived annotations; undo takes them back", self.convert)
        self.import_button = button("Import…", "Read annotations of another tool into this slide", self.ask_import)
        self.export_button = button("Export…", "Write this slide's annotations as GeoJSON for QuPath", self.ask_export)
        self._tool_box = group("Tool", self.tools, form(("Width (px)", self.brush)))
        self._class_box = group("Class", self.classes)
        layout = QVBoxLayout(self)
        layout.addWidget(self._tool_box)
        layout.addWidget(self._class_box)
        layout.addWidget(group("On this slide", self.count, row(self.undo, self.redo, stretch=True)))
        layout.addWidget(
            group(
                "Convert",
                form(("From", self.convert_from), ("To", self.convert_to), ("Clicks by", self.method)),
                self.convert_button,
            )
        )
        layout.addWidget(group("Exchange", row(self.import_button, self.export_button)))
        layout.addStretch()
        self._facts.found.connect(self._show_counts)
        self._background.busy_changed.connect(self._show_possible)
        for signal in (session.project_changed, session.scheme_changed, session.slide_changed):
            listen(self, signal, self.refresh)
        for signal in (session.class_changed, session.tool_changed, session.brush_changed):
            listen(self, signal, self._show_state)
        listen(self, session.annotations_changed, self._show_history)
        listen(self, session.slides_changed, self._show_history)
        listen(self, session.selection_changed, self._show_possible)
        self.refresh()

    def refresh(self, *_: object) -> None:
        """Show the session as it is now."""
        project = self._session.project
        self.classes.set_scheme(project.scheme if project is not None else LabelScheme())
        self._show_state()
        self._show_history()
        self._show_possible()
        self._show_counts()

    def _show_state(self, *_: object) -> None:
        self.tools.setValue(self._session.tool)
        self.classes.setValue(self._session.class_id)
        self.brush.blockSignals(True)
        self.brush.setValue(round(self._session.brush_size))
        self.brush.blockSignals(False)

    def _show_history(self, *_: object) -> None:
        project = self._session.project
        history = project.history if project is not None and not project.read_only else None
        for tool_button, what, possible, name, key in (
            (self.undo, history.undo_text if history else None, history and history.can_undo, "Undo", "Ctrl+Z"),
            (self.redo, history.redo_text if history else None, history and history.can_redo, "Redo", "Ctrl+Shift+Z"),
        ):
            tool_button.setEnabled(bool(possible))
            tool_button.setToolTip(f"{name} {what} ({key})" if what else f"There is nothing to {name.lower()} ({key})")

    def _show_possible(self, *_: object) -> None:
        """Offer what can be done now."""
        project = self._session.project
        slide = self._session.slide_id is not None
        writable = slide and project is not None and not project.read_only
        for part in (self._tool_box, self._class_box, self.import_button):
            part.setEnabled(writable)
        self.export_button.setEnabled(slide)
        for box in (self.convert_from, self.convert_to):
            box.setEnabled(writable)
        source, target = self._source(), _TARGETS[self.convert_to.currentText()]
        clicks = target is Granularity.PIXEL and source in (None, Granularity.POINT, Granularity.BOX)
        self.method.setEnabled(writable and clicks)
        possible = writable and (source is not None or bool(self._session.selection)) and source is not target
        self.convert_button.setEnabled(possible and not self._background.busy)
        self.convert_button.setText("Converting…" if self._background.busy else "Convert")

    def _show_counts(self, *_: object) -> None:
        if self._session.slide_id is None:
            self.count.setText("No slide is open.")
            return
        counts = dict(self._facts.facts.counts)
        painted = counts.pop("painted tiles", 0)
        texts = [f"{number} {_one(name) if number == 1 else name}" for name, number in counts.items()]
        if painted:
            texts.append("painted areas")
        self.count.setText(", ".join(texts) or "Nothing is annotated yet.")

    def _source(self) -> Granularity | None:
        return _SOURCES[self.convert_from.currentText()]

    # -- what the user does ----------------------------------------------------------------------------------------

    def _choose_tool(self, tool: Tool) -> None:
        if tool is Tool.IMAGE:
            self._session.label_slide()
            self.tools.setValue(self._session.tool)
        else:
            self._session.set_tool(tool)

    def convert(self) -> None:
        """Convert what is chosen, in one undoable action."""
        source, target = self._source(), _TARGETS[self.convert_to.currentText()]
        chosen = self._session.selection if source is None else source
        method = _METHODS[self.method.currentText()]
        self._background.start(lambda: self._session.convert(chosen, target, method=method))

    def ask_import(self) -> None:
        """Read annotations from a file that the user picks."""
        path, _ = QFileDialog.getOpenFileName(self, "Import annotations", filter=ANNOTATION_FILTER)
        if path:
            slide = self._session.slide_id
            self._background.start(lambda: self._session.import_annotations(path, slide=slide))

    def ask_export(self) -> None:
        """Write the slide's annotations to a file that the user names."""
        path, _ = QFileDialog.getSaveFileName(self, "Export annotations", "annotations.geojson", ANNOTATION_FILTER)
        if path:
            self._session.export_annotations(path)


def _one(name: str) -> str:
    """Singular of what is counted."""
    return name.removesuffix("es") if name == "boxes" else name.removesuffix("s")
