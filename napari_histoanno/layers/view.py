"""The session's current slide on screen: layers, tools, keys.

A `ProjectView` makes the layers of the current slide and keeps them equal to the project. It holds no state of
its own that matters: what is drawn goes to the session, and what the session says is shown. The session may
speak from any thread; the view listens in the window's.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_histoanno.annotation.tools import Tool
from napari_histoanno.layers._napari_private import CloseWatch, is_closing
from napari_histoanno.layers.gui_thread import GuiThread
from napari_histoanno.layers.keys import bind_keys
from napari_histoanno.layers.labels import SAVED, PyramidLabels
from napari_histoanno.layers.predictions import PredictionLayers
from napari_histoanno.layers.session_commit import SessionCommit
from napari_histoanno.layers.slide import add_slide, effective_mpp, raster_placement
from napari_histoanno.layers.stack import LayerName, add_in_order, take_out
from napari_histoanno.layers.toolbox import Toolbox
from napari_histoanno.layers.vectors import VectorLayers
from napari_histoanno.layers.viewport import Viewport
from napari_histoanno.session import USER_ERRORS

if TYPE_CHECKING:
    from collections.abc import Callable

    from psygnal import SignalInstance

    from napari_histoanno.annotation.geometry import Bounds
    from napari_histoanno.annotation.model import Annotation
    from napari_histoanno.project import Change, SlideRecord
    from napari_histoanno.session import Session
    from napari_histoanno.slides import Slide

log = logging.getLogger(__name__)


class ProjectView:
    """Shows the current slide of a session in a viewer and lets the user annotate it.

    Parameters
    ----------
    viewer : napari.Viewer
        Where.
    session : Session
        What. The view follows its project, slide, class, tool and scheme.

    Attributes
    ----------
    opened : Signal(str)
        A slide's layers are on screen; its id. Empty when there is none any more.
    closed : Signal()
        The viewer's window has closed; what was drawn is stored.
    save_state_changed : Signal(str)
        "saved" or "saving…".
    viewport_changed : Signal(tuple)
        Level-0 (x0, y0, x1, y1) on screen, once the view has come to rest.
    labels : PyramidLabels or None
        The pixel layer; None while no slide is shown. So are ``slide_layer``, ``vectors``, ``predictions`` and
        ``viewport``.
    """

    opened = Signal(str)
    closed = Signal()
    save_state_changed = Signal(str)
    viewport_changed = Signal(tuple)

    def __init__(self, viewer: Any, session: Session) -> None:
        # Widgets get a proxy that hides what the layers need.
        self.viewer = getattr(viewer, "__wrapped__", viewer)
        self.session = session
        self.slide: Slide | None = None
        self.slide_layer: Any = None
        self.labels: PyramidLabels | None = None
        self.vectors: VectorLayers | None = None
        self.predictions: PredictionLayers | None = None
        self.viewport: Viewport | None = None
        self.toolbox = Toolbox(self)
        self.save_state = SAVED
        self._places: dict[str, tuple[Any, float]] = {}
        self._shown: str | None = None
        self._project: Any = None
        self._building = False
        self._closed = False
        self._gui = GuiThread()
        self._listened: list[tuple[SignalInstance, Callable[..., None]]] = []
        self._listen(session.project_changed, self._on_project)
        self._listen(session.slide_changed, self._on_slide)
        self._listen(session.class_changed, self._on_class)
        self._listen(session.tool_changed, self._on_tool)
        self._listen(session.brush_changed, self._on_brush)
        self._listen(session.scheme_changed, self._on_scheme)
        self._listen(session.selection_changed, self._on_selection)
        session.about_to_read.connect(self._before_read)
        self.viewer.layers.events.removed.connect(self._on_layer_removed)
        self._window = CloseWatch(self.viewer, self.flush, self._on_window_gone)
        bind_keys(self, self.viewer)
        self._on_project()

    def _listen(self, signal: SignalInstance, slot: Callable[..., None]) -> None:
        def hear(*_: object) -> None:
            self._gui.now(slot)

        signal.connect(hear)
        self._listened.append((signal, hear))

    # --- following the session --------------------------------------------------------------------

    def _on_project(self) -> None:
        project = self.session.project
        if project is not self._project:
            if self._project is not None:
                self._project.changed.disconnect(self._hear_change, missing_ok=True)
            self._project = project
            if project is not None:
                project.changed.connect(self._hear_change)
            self.show_slide()

    def _hear_change(self, change: Change) -> None:
        # Always later: a change may be heard while napari is still handling the shape that caused it.
        self._gui(self._on_change, change)

    def _on_change(self, change: Change) -> None:
        if change.kind == "settings" and self.labels is not None and not self._is_mine():
            self.show_slide()
        if change.slide != self._shown or self.labels is None or self.vectors is None:
            return
        if change.kind == "raster" and change.annotator == self.labels.raster.annotator:
            self.labels.reread_chunks(change.chunks)
        elif change.kind == "annotations":
            self.vectors.on_changed(change.annotations)
        elif change.kind == "slides":
            self._on_slide_record()

    def _is_mine(self) -> bool:
        """Whether the mask on screen is the current annotator's."""
        return bool(self.labels is None or self.labels.raster.annotator == self.session.annotator)

    def _on_slide_record(self) -> None:
        record = self.session.slide_record
        if record is None or effective_mpp(record.mpp) != self._mpp:
            self.show_slide()

    def _on_slide(self) -> None:
        if self._shown != self.session.slide_id or self.session.project is None or self.labels is None:
            self.show_slide()

    def _on_class(self) -> None:
        self.toolbox.take_pen()

    def _on_brush(self) -> None:
        size = max(1, round(self.session.brush_size))
        if self.labels is not None and self.labels.brush_size != size:
            self.labels.brush_size = size
        self.toolbox.take_pen()

    def _on_selection(self) -> None:
        if self.vectors is not None and {record.id for record in self.selected} != set(self.session.selection):
            self.vectors.select(set(self.session.selection))

    def _before_read(self) -> None:
        # Whoever is about to read waits here, in whatever thread, until all strokes are stored.
        if self._gui.is_here:
            self.flush()
        elif self.labels is not None:
            self.labels.wait()

    def _on_tool(self) -> None:
        self.toolbox.take(Tool(self.session.tool))

    def _on_scheme(self) -> None:
        project = self.session.project
        if project is None:
            return
        for shown in (self.labels, self.vectors, self.predictions):
            if shown is not None:
                shown.scheme = project.scheme
        self.toolbox.take_pen()

    # --- layers -----------------------------------------------------------------------------------

    def show_slide(self) -> None:
        """Show the session's current slide, or nothing if it has none; what was shown before is saved and closed."""
        self._clear()
        record = self.session.slide_record
        if record is None:
            self.opened.emit("")
            return
        try:
            self._build(record)
        except USER_ERRORS as error:
            log.warning("slide %s cannot be shown", record.name, exc_info=error)
            self._clear()
            self.session.error.emit(str(error))
            self.opened.emit("")
            return
        self.opened.emit(record.id)

    def _build(self, record: SlideRecord) -> None:
        project = self.session.open_project_or_fail()
        self._building = True
        try:
            self.slide = project.open_slide(record.id)
            self._mpp = effective_mpp(record.mpp or self.slide.mpp)
            self._shown = record.id
            self.slide_layer = add_slide(self.viewer, self.slide, LayerName.SLIDE, mpp=self._mpp)
            self.labels = self._make_labels(record)
            self.predictions = PredictionLayers(self.viewer, self._mpp, project.scheme)
            commit = SessionCommit(self.session)
            self.vectors = VectorLayers(self.viewer, project.annotations, record, commit, project.scheme, self._mpp)
            self.vectors.selection_changed.connect(self._on_selected)
        finally:
            self._building = False
        for layer in self.layers:
            bind_keys(self, layer)
        self.viewport = Viewport(self.viewer, self._mpp)
        self.viewport.changed.connect(self._on_view)
        self._go_to_last_place(record)
        self._on_view(self.viewport.bounds, self.viewport.zoom)
        self.toolbox.connect(self.labels, self.vectors)
        self.toolbox.take(Tool(self.session.tool))

    def _make_labels(self, record: SlideRecord) -> PyramidLabels:
        project = self.session.open_project_or_fail()
        labels = PyramidLabels(
            project.raster(record.id),
            project.scheme,
            editable=not project.read_only,
            name=LayerName.LABELS,
            opacity=0.5,
            **raster_placement(self._mpp),
        )
        labels.brush_size = max(1, round(self.session.brush_size))
        labels.save_state.connect(self._on_save_state)
        labels.failed.connect(self._on_failed)
        labels.undo_requested.connect(self.undo)
        labels.redo_requested.connect(self.redo)
        add_in_order(self.viewer, labels, LayerName.LABELS)
        return labels

    @property
    def layers(self) -> tuple[Any, ...]:
        """The napari layers that show the slide and its annotations, from the bottom to the top."""
        if self.labels is None or self.vectors is None:
            return ()
        return (self.slide_layer, self.labels, *self.vectors.layers)

    def _clear(self, *, window_gone: bool = False) -> None:
        self.toolbox.disconnect()
        if self.viewport is not None:
            if self._shown is not None:
                camera = self.viewer.scene.camera
                self._places[self._shown] = (camera.center, camera.zoom)
            self.viewport.close()
        layers = (*self.layers, *(self.predictions.layers if self.predictions is not None else ()))
        if self.labels is not None:
            self.labels.close()
        self._building = True
        try:
            for part in (self.vectors, self.predictions):
                if part is not None:
                    part.close()
            for layer in () if window_gone else layers:
                take_out(self.viewer, layer)
        finally:
            self._building = False
        if self.slide is not None:
            self.slide.close()
        self.viewport = self.labels = self.vectors = self.predictions = self.slide = self.slide_layer = None
        self._shown = None

    def _on_layer_removed(self, event: Any) -> None:
        if self._building or event.value not in self.layers:
            return
        self.flush()
        if is_closing(self.viewer):
            return
        # The user deleted a layer that belongs to the project: its content is safe, and it comes back.
        self._gui(self.show_slide)
        self.session.status.emit(f"{event.value.name}: layers of the project can be hidden, not deleted")

    # --- the view ---------------------------------------------------------------------------------

    def _go_to_last_place(self, record: SlideRecord) -> None:
        place = self._places.get(record.id)
        if place is not None:
            self.viewer.scene.camera.center, self.viewer.scene.camera.zoom = place
            return
        x, y, w, h = (self.slide.bounds if self.slide is not None else None) or (0, 0, record.width, record.height)
        self.fly_to((x, y, x + w, y + h))

    def _on_view(self, bounds: Bounds, zoom: float) -> None:
        if self.vectors is not None:
            self.vectors.set_view(bounds, zoom)
        self.viewport_changed.emit(bounds)

    def fly_to(self, bounds: Bounds) -> None:
        """Move and zoom so that a level-0 box (x0, y0, x1, y1) fills the view."""
        if self.viewport is not None:
            self.viewport.fly_to(bounds)

    @property
    def bounds(self) -> Bounds | None:
        """Level-0 (x0, y0, x1, y1) on screen; None while no slide is shown."""
        return None if self.viewport is None else self.viewport.bounds

    # --- editing ----------------------------------------------------------------------------------

    def undo(self) -> None:
        """Undo the project's last action, or drop a polygon in the making; what was just drawn is stored first."""
        self._step_history(self.session.undo)

    def redo(self) -> None:
        """Do the project's last undone action again."""
        self._step_history(self.session.redo)

    def _step_history(self, step: Callable[[], Any]) -> None:
        if self.toolbox.drop_unfinished():
            return
        self.flush()
        step()

    def assign_class(self, class_id: int) -> int:
        """Give the selected shapes and points another class; how many were changed."""
        return 0 if self.vectors is None else self.vectors.assign_class(class_id)

    @property
    def selected(self) -> tuple[Annotation, ...]:
        """Records of the selected shapes and points."""
        return () if self.vectors is None else self.vectors.selected

    def _on_selected(self) -> None:
        self.session.set_selection(record.id for record in self.selected)

    def flush(self) -> None:
        """Wait until everything drawn so far is stored."""
        if self.labels is not None:
            self.labels.flush()

    def _on_save_state(self, state: str) -> None:
        self.save_state = state
        self.save_state_changed.emit(state)
        self.session.set_saving(state != SAVED)

    def _on_failed(self, error: Exception) -> None:
        self.session.error.emit(f"The last stroke was not stored: {error}")

    def _on_window_gone(self) -> None:
        self.close(window_gone=True)
        self.closed.emit()

    def close(self, *, window_gone: bool = False) -> None:
        """Store what is drawn, take the layers off the screen and stop listening.

        Parameters
        ----------
        window_gone : bool
            The window has closed already: its layers are left alone.
        """
        if self._closed:
            return
        self._closed = True
        for signal, slot in self._listened:
            signal.disconnect(slot, missing_ok=True)
        self._listened.clear()
        self.session.about_to_read.disconnect(self._before_read, missing_ok=True)
        if self._project is not None:
            self._project.changed.disconnect(self._hear_change, missing_ok=True)
            self._project = None
        self.viewer.layers.events.removed.disconnect(self._on_layer_removed)
        self._clear(window_gone=window_gone or is_closing(self.viewer))
        self._window.close()
        self._gui.close()
