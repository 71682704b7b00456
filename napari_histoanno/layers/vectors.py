"""The drawn annotations of a slide on screen: editable where few are in view, outlines where many are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Points, Shapes
from psygnal import Signal

from napari_histoanno.annotation.model import Granularity
from napari_histoanno.annotation.tools import Tool
from napari_histoanno.layers.labels import scheme_colormap
from napari_histoanno.layers.outlines import NO_CLASS, OutlineLabels
from napari_histoanno.layers.points_editor import PointsEditor
from napari_histoanno.layers.records import EXHAUSTIVE_COLOR, UNKNOWN_COLOR, Color, Commit
from napari_histoanno.layers.shapes_editor import ShapesEditor
from napari_histoanno.layers.slide import raster_placement, vector_placement
from napari_histoanno.layers.stack import LayerName, add_in_order
from napari_histoanno.project import ProjectError

if TYPE_CHECKING:
    from uuid import UUID

    from napari.utils.colormaps import DirectLabelColormap

    from napari_histoanno.annotation.geometry import Bounds
    from napari_histoanno.annotation.model import Annotation
    from napari_histoanno.annotation.scheme import LabelScheme
    from napari_histoanno.project import AnnotationStore, SlideRecord

EDITABLE_SHAPES = 1000
EDITABLE_POINTS = 5000
MANY_CHANGES = 300

SHAPE_KINDS = (
    Granularity.BOX,
    Granularity.ELLIPSE,
    Granularity.SPARSE,
    Granularity.PIXEL,
    Granularity.EXHAUSTIVE,
)

SHAPE_TOOLS: dict[Tool, tuple[str, Granularity]] = {
    Tool.ELLIPSE: ("add_ellipse", Granularity.ELLIPSE),
    Tool.BOX: ("add_rectangle", Granularity.BOX),
    Tool.POLYGON: ("add_polygon", Granularity.PIXEL),
    Tool.SCRIBBLE: ("add_path", Granularity.SPARSE),
    Tool.REGION: ("add_rectangle", Granularity.EXHAUSTIVE),
}


class VectorLayers:
    """Shapes, points and outlines of one slide.

    Parameters
    ----------
    viewer : napari.Viewer
        Where to show them.
    store : AnnotationStore
        The project's annotations.
    slide : SlideRecord
        Whose annotations to show.
    commit : Commit
        Where the user's changes go.
    scheme : LabelScheme
        Class colours.
    mpp : float
        Micrometres per level-0 pixel.

    Attributes
    ----------
    selection_changed : Signal()
        Other shapes or points are selected.
    """

    selection_changed = Signal()

    def __init__(
        self, viewer: Any, store: AnnotationStore, slide: SlideRecord, commit: Commit, scheme: LabelScheme, mpp: float
    ) -> None:
        self._store, self._slide = store, slide
        self._scheme = scheme
        self._commit = commit
        self._loaded: Bounds | None = None
        self._view: Bounds = (0, 0, slide.width, slide.height)
        self.detailed = True
        place = vector_placement(mpp)
        shapes = Shapes(ndim=2, name=LayerName.SHAPES, opacity=1.0, **place)
        points = Points(ndim=2, name=LayerName.POINTS, opacity=1.0, border_color="white", **place)
        self.outlines = OutlineLabels(
            (slide.height, slide.width),
            self._records_in,
            name=LayerName.OUTLINES,
            opacity=1.0,
            visible=False,
            colormap=_outline_colormap(scheme),
            **raster_placement(mpp),
        )
        self.shapes = ShapesEditor(shapes, commit, scheme)
        self.points = PointsEditor(points, commit, scheme)
        for layer, name in (
            (self.outlines, LayerName.OUTLINES),
            (shapes, LayerName.SHAPES),
            (points, LayerName.POINTS),
        ):
            add_in_order(viewer, layer, name)
        for editor in (self.shapes, self.points):
            editor.layer.selected_data.events.items_changed.connect(self._on_selected)

    @property
    def layers(self) -> tuple[Any, ...]:
        """The napari layers, from the bottom to the top."""
        return (self.outlines, self.shapes.layer, self.points.layer)

    def _records_in(self, bounds: Bounds) -> list[Annotation]:
        return self._store.query(self._slide.id, bounds=bounds)

    # --- what is shown ----------------------------------------------------------------------------

    def set_view(self, bounds: Bounds, zoom: float) -> None:
        """Follow the view: level-0 bounds and screen pixels per level-0 pixel."""
        self._view = bounds
        self.shapes.set_zoom(zoom)
        self.points.set_zoom(zoom)
        if self._loaded is None or not _inside(bounds, self._loaded) or _area(self._loaded) > 16 * _area(bounds):
            self.refresh()
        else:
            self.shapes.settle()

    def refresh(self) -> None:
        """Read what is in view from the project and show it."""
        x0, y0, x1, y1 = self._view
        dx, dy = (x1 - x0) / 2, (y1 - y0) / 2
        loaded = (x0 - dx, y0 - dy, x1 + dx, y1 + dy)
        slide, store = self._slide.id, self._store
        shapes = store.count(slide, bounds=loaded, granularities=SHAPE_KINDS)
        points = store.count(slide, bounds=loaded, granularities=[Granularity.POINT])
        self.detailed = shapes <= EDITABLE_SHAPES and points <= EDITABLE_POINTS
        if self.detailed:
            self.shapes.show(store.query(slide, bounds=loaded, granularities=SHAPE_KINDS))
            self.points.show(store.query(slide, bounds=loaded, granularities=[Granularity.POINT]))
        else:
            self.shapes.show([])
            self.points.show([])
        self._loaded = loaded if self.detailed else None
        if self.outlines.visible == self.detailed:
            self.outlines.visible = not self.detailed

    def on_changed(self, ids: tuple[UUID, ...]) -> None:
        """Records of this slide were added, changed or deleted."""
        if len(ids) > MANY_CHANGES:
            self.outlines.forget(ids, None)
        else:
            self.outlines.forget(ids, [box for key in ids if (box := self._bounds_of(key)) is not None])
        self.refresh()

    def _bounds_of(self, key: UUID) -> Bounds | None:
        try:
            return self._store.get(key).bounds
        except ProjectError:
            return None

    @property
    def scheme(self) -> LabelScheme:
        """Label scheme whose colours are shown."""
        return self._scheme

    @scheme.setter
    def scheme(self, scheme: LabelScheme) -> None:
        self._scheme = self.shapes.scheme = self.points.scheme = scheme
        self.outlines.colormap = _outline_colormap(scheme)
        self.shapes.show([])
        self.points.show([])
        self.refresh()

    # --- drawing and selecting --------------------------------------------------------------------

    def set_pen(self, tool: Tool, class_id: int, width: float) -> None:
        """How the next shape or point is drawn: by tool, class, and width (level-0 pixels) for scribbles."""
        color = self._color(class_id)
        _, granularity = SHAPE_TOOLS.get(tool, ("", Granularity.PIXEL))
        self.shapes.set_pen(granularity, color, width if tool is Tool.SCRIBBLE else None)
        self.points.set_pen(color)

    def _color(self, class_id: int) -> Color:
        found = self._scheme.find(class_id)
        if found is None:
            return UNKNOWN_COLOR
        red, green, blue = (channel / 255 for channel in found.color)
        return (red, green, blue, 1.0)

    @property
    def selected(self) -> tuple[Annotation, ...]:
        """Records of the selected shapes and points."""
        return (*self.shapes.selected, *self.points.selected)

    def select(self, ids: set[UUID]) -> None:
        """Select the shapes and points of these records, as far as they are shown."""
        for editor in (self.shapes, self.points):
            chosen = {i for i, record in enumerate(editor.records) if record.id in ids}
            if chosen != set(editor.layer.selected_data):
                editor.layer.selected_data = chosen

    def _on_selected(self, added: object = None, removed: object = None) -> None:
        if not self.shapes.busy and not self.shapes.muted and not self.points.muted:
            self.selection_changed.emit()

    def assign_class(self, class_id: int) -> int:
        """Give the selected records another class; how many were changed."""
        changed = [
            record.changed(class_id=class_id)
            for record in self.selected
            if record.granularity is not Granularity.EXHAUSTIVE and record.class_id != class_id
        ]
        if changed:
            self._commit.update(changed)
        return len(changed)

    def delete_selected(self) -> int:
        """Delete the selected records; how many there were."""
        ids = [record.id for record in self.selected]
        if ids:
            self._commit.delete(ids)
        return len(ids)

    def close(self) -> None:
        """Stop listening and drawing; the layers can then be dropped."""
        for editor in (self.shapes, self.points):
            editor.layer.selected_data.events.items_changed.disconnect(self._on_selected)
        self.shapes.close()
        self.points.close()
        self.outlines.close()


def _outline_colormap(scheme: LabelScheme) -> DirectLabelColormap:
    colormap = scheme_colormap(scheme)
    return type(colormap)(color_dict={**colormap.color_dict, NO_CLASS: EXHAUSTIVE_COLOR})


def _inside(inner: Bounds, outer: Bounds) -> bool:
    return inner[0] >= outer[0] and inner[1] >= outer[1] and inner[2] <= outer[2] and inner[3] <= outer[3]


def _area(bounds: Bounds) -> float:
    return (bounds[2] - bounds[0]) * (bounds[3] - bounds[1])
