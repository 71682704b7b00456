"""Every private name of napari that the layers need, in one place.

napari 0.9 has no public way to refresh part of a multiscale tile, to say that the levels of a pyramid are
exactly 2^n apart, or to know whether a shape is being drawn at this moment. What is used of its inside stands
here and nowhere else, so that a new napari version means reading one file. The version range in
``pyproject.toml`` is pinned to what this file was written for.

Two facts of napari that shape the code:

- It takes the scale of a level from the ratio of the shapes. For odd shapes that is not exactly the downsample
  factor, and the far end of a slide shifts by up to a pixel of that level. ``downsample_factors`` is therefore
  given, not derived.
- It reads the coarsest level whole for a thumbnail, with every view or once for all. What changes (labels,
  predictions) may be neither read that often nor kept, so the thumbnail is drawn apart, when it is wanted.
"""

# ruff: noqa: SLF001  (this is the file for private names)

from __future__ import annotations

import weakref
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from napari._vispy.overlays.labels_brush_stroke import VispyLabelsBrushStrokeOverlay
from napari._vispy.overlays.labels_polygon import VispyLabelsPolygonOverlay
from napari._vispy.utils.visual import overlay_to_visual
from napari.components.overlays.labels_brush_stroke import LabelsBrushStrokeOverlay
from napari.components.overlays.labels_polygon import LabelsPolygonOverlay
from napari.layers import Image, Labels, Shapes
from napari.layers.labels._labels_constants import Mode as LabelsMode
from napari.layers.labels._labels_utils import expand_slice, mouse_event_to_labels_coordinate
from qtpy.QtCore import QEvent, QObject, QTimer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Viewer: TypeAlias = Any
Rect: TypeAlias = tuple[int, int, int, int]


class ExactImage(Image):
    """Multiscale image whose levels have the given downsample factors.

    Parameters
    ----------
    levels : sequence of array-like
        From level 0 to the coarsest.
    factors : sequence of float
        Level-0 pixels per pixel of each level.
    **kwargs
        As for :class:`napari.layers.Image`.
    """

    def __init__(self, levels: Sequence[Any], factors: Sequence[float], **kwargs: Any) -> None:
        self._factors = np.repeat(np.asarray(factors, float)[:, None], 2, axis=1)
        super().__init__(levels, multiscale=True, **kwargs)

    @property
    def downsample_factors(self) -> npt.NDArray[np.float64]:
        return self._factors

    @property
    def _type_string(self) -> str:
        return "image"


class TiledLabels(Labels):
    """Multiscale labels of which a part can be read again when the data behind them change.

    Parameters
    ----------
    levels : sequence of array-like
        uint8 duck arrays from level 0 to the coarsest; level l is ``factors[l]`` times smaller.
    factors : sequence of float
        Level-0 pixels per pixel of each level.
    name_of : callable, optional
        Class id -> name, for the status bar.
    thumbnail : bool
        Whether to draw a thumbnail; it reads the coarsest level.
    **kwargs
        As for :class:`napari.layers.Labels`.
    """

    def __init__(
        self,
        levels: Sequence[Any],
        factors: Sequence[float],
        *,
        name_of: Callable[[int], str] | None = None,
        thumbnail: bool = True,
        **kwargs: Any,
    ) -> None:
        self._has_thumbnail = thumbnail
        self._factors = np.repeat(np.asarray(factors, float)[:, None], 2, axis=1)
        self._name_of = name_of
        super().__init__(levels, multiscale=True, **kwargs)

    @property
    def downsample_factors(self) -> npt.NDArray[np.float64]:
        return self._factors

    @property
    def _type_string(self) -> str:
        return "labels"

    def _ensure_int_labels(self, data: Any) -> Any:
        return data

    def _reset_thumbnail_level_data(self) -> None:
        # A level that no view has: what is sliced for the thumbnail is one blank pixel, whatever is displayed.
        self._thumbnail_level = -1
        self._level_materializer = lambda _: np.zeros((1, 1), np.uint8)

    def displayed_tile(self) -> tuple[float, tuple[int, int], npt.NDArray[np.uint8]]:
        """Level-0 pixels per displayed pixel, (row, column) of the tile's corner in its level, and the tile itself."""
        tile = self._slice.image.raw
        corner = self.corner_pixels[0]
        return float(self._factors[self.data_level, 0]), (int(corner[0]), int(corner[1])), tile

    def refresh_rect(self, y0: float, x0: float, y1: float, x1: float) -> None:
        """Read the displayed part of a level-0 rectangle again and show it."""
        if not self._shows_tile():
            self.refresh(extent=False, thumbnail=False)
            return
        rect = self._tile_rect(y0, x0, y1, x1)
        if rect is None:
            return
        top, left, bottom, right = rect
        _, (cy, cx), tile = self.displayed_tile()
        tile[top:bottom, left:right] = self.data[self.data_level][cy + top : cy + bottom, cx + left : cx + right]
        self.show_changed(rect)

    def _shows_tile(self) -> bool:
        return (
            self.loaded
            and not self._slice.empty
            and list(self._slice_input.displayed) == [0, 1]
            and self._slice.image.raw.flags.writeable
        )

    def _tile_rect(self, y0: float, x0: float, y1: float, x1: float) -> Rect | None:
        step, (cy, cx), tile = self.displayed_tile()
        top, left = max(int(np.floor(y0 / step)) - cy, 0), max(int(np.floor(x0 / step)) - cx, 0)
        bottom = min(int(np.ceil(y1 / step)) - cy, tile.shape[0])
        right = min(int(np.ceil(x1 / step)) - cx, tile.shape[1])
        return (top, left, bottom, right) if bottom > top and right > left else None

    def show_changed(self, rect: Rect) -> None:
        """Send one rectangle (top, left, bottom, right) of the displayed tile to the screen."""
        part: tuple[slice, ...] = (slice(rect[0], rect[2]), slice(rect[1], rect[3]))
        raw, view = self._slice.image.raw, self._slice.image.view
        if self.contour > 0:
            part = expand_slice(part, raw.shape, self.contour + 1)
        shown = self._raw_to_displayed(raw, data_slice=part)
        if not np.shares_memory(view, raw):
            view[part] = shown
        self.events.labels_update(data=np.ascontiguousarray(shown), offset=[axis.start for axis in part])

    def refresh_thumbnail(self) -> None:
        """Draw the thumbnail from the data as they are now."""
        if self._slice.empty or not self._has_thumbnail:
            return
        coarse = np.asarray(self.data[-1])
        stride = max(1, int(np.ceil(max(coarse.shape) / max(self._thumbnail_shape[:2]))))
        colors = self.colormap.map(coarse[::stride, ::stride][: self._thumbnail_shape[0], : self._thumbnail_shape[1]])
        colors[..., 3] *= self.opacity
        self.thumbnail = colors

    def _update_thumbnail(self) -> None:
        self.refresh_thumbnail()

    def _get_value(self, position: npt.ArrayLike) -> tuple[int, int | None]:
        """Exact value under a position (napari gives that of the displayed level)."""
        row, col = (int(np.floor(value + 0.5)) for value in np.asarray(position, float)[-2:])
        height, width = self.data[0].shape
        if not (0 <= row < height and 0 <= col < width):
            return 0, None
        return 0, int(self.data[0][row : row + 1, col : col + 1][0, 0])

    def get_status(self, position: Any = None, **kwargs: Any) -> dict[str, str]:
        """Status bar entry: coordinates, and the name of the class under the cursor."""
        status: dict[str, str] = super().get_status(position, **kwargs)
        if self._name_of is None or position is None:
            return status
        found = self.get_value(position, **kwargs)
        value = found[1] if isinstance(found, tuple) else None
        if value is not None:
            name = self._name_of(value)
            status["value"] = name
            status["coordinates"] = f"{status['coordinates'].rsplit(':', 1)[0]}: {name}"
        return status


class EditableTiledLabels(TiledLabels):
    """Tiled labels in which napari's brush, eraser, bucket and polygon are handed on as whole gestures.

    A subclass says what a gesture means: ``stroke_to`` for each mouse move, ``end_stroke`` on release,
    ``drop_stroke`` if it is aborted, ``fill`` and ``paint_polygon``. napari's own history is not used.
    """

    def __init__(self, levels: Sequence[Any], factors: Sequence[float], **kwargs: Any) -> None:
        super().__init__(levels, factors, **kwargs)
        # Popped first: the evented dict ignores a replacement that compares equal.
        for key, overlay in (("polygon", _ExactPolygon(visible=True)), ("brush_stroke", _ExactEncircle(visible=True))):
            self._overlays.pop(key)
            self._overlays[key] = overlay

    def _reset_editable(self) -> None:
        self.editable = True

    def _draw(self, new_label: int, last_cursor_coord: Any, coordinates: Any) -> None:
        if coordinates is None:
            return
        if self._mode == LabelsMode.FILL:
            # Dragging with the bucket must not fill once per move.
            if last_cursor_coord is coordinates:
                self.fill(coordinates, new_label)
        elif self._mode in (LabelsMode.PAINT, LabelsMode.ERASE):
            start = coordinates if last_cursor_coord is None else last_cursor_coord
            self.stroke_to(np.asarray(start, float)[-2:], np.asarray(coordinates, float)[-2:], int(new_label))
            if not self._block_history:
                self.end_stroke()

    def _commit_staged_history(self) -> None:
        self.end_stroke()

    def _abort_stroke(self) -> None:
        self._block_history = False
        self.drop_stroke()

    @property
    def in_stroke(self) -> bool:
        """Whether an encircling stroke is open (its outline and its inside are one gesture)."""
        return bool(self._overlays["brush_stroke"].active)

    @property
    def preserved_label(self) -> int | None:
        """The only value that may be overwritten when labels are preserved, else None."""
        return 0 if self.preserve_labels else None

    def drop_polygon(self) -> bool:
        """Forget a polygon or an encircling stroke that is being drawn; whether there was one."""
        encircle, polygon = self._overlays["brush_stroke"], self._overlays["polygon"]
        if encircle.active:
            encircle.abort(self)
            return True
        had_points = bool(polygon.points)
        polygon.points = []
        return had_points

    def finish_polygon(self) -> None:
        """Paint the polygon that is being drawn."""
        self._overlays["polygon"].add_polygon_to_labels(self)

    def stroke_to(self, start: npt.NDArray[np.float64], end: npt.NDArray[np.float64], label: int) -> None:
        raise NotImplementedError

    def end_stroke(self) -> None:
        raise NotImplementedError

    def drop_stroke(self) -> None:
        raise NotImplementedError


class _ExactPolygon(LabelsPolygonOverlay):
    """Marks the overlay that is drawn by :class:`_VispyExactPolygon`."""


class _ExactEncircle(LabelsBrushStrokeOverlay):
    """Marks the overlay that is drawn by :class:`_VispyExactEncircle`."""


def _to_overlay(layer: Any, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Layer data coordinates -> coordinates of a child node of the tile.

    The child node's own offset undoes the tile's translation, so only the scale and the half pixel are left;
    napari also subtracts the translation here, which displaces its overlays on every level but the one at the
    origin.
    """
    step = float(layer.downsample_factors[layer.data_level, 0])
    return (np.asarray(points, float) + 0.5) / step - 0.5


class _VispyExactPolygon(VispyLabelsPolygonOverlay):
    """Polygon overlay in layer data coordinates, at the place where it is drawn, vertices unsnapped."""

    def _on_points_change(self) -> None:
        drawn = self.overlay.points
        points = _to_overlay(self.layer, drawn)[:, ::-1] if drawn else np.empty((0, 2))
        self._polygon.visible, self._line.visible = len(points) > 2, len(points) == 2
        if self._polygon.visible:
            self._polygon.pos = points
        elif self._line.visible:
            self._line.set_data(pos=points)
        self._nodes.set_data(pos=points, **self._nodes_kwargs)

    def _get_mouse_coordinates(self, event: Any) -> npt.NDArray[np.float64] | None:
        position = mouse_event_to_labels_coordinate(self.layer, event)
        return None if position is None else np.asarray(position, float)

    def _on_mouse_press(self, layer: Any, event: Any) -> None:
        position = self._get_mouse_coordinates(event)
        if not self.overlay.enabled or position is None:
            return
        points = self.overlay.points
        if event.button == 1:
            if not points:
                self._first_point_pos = np.array(event.pos)
            if len(points) < 2 or np.linalg.norm(position - points[-2]) > 0:
                # The last point follows the cursor; it must differ from the one before.
                self.overlay.points = [*points[:-1], position.tolist(), (position + 1e-3).tolist()]
        elif event.button == 2 and points:
            self.overlay.points = [*points[:-2], position.tolist()] if len(points) > 2 else []


class _VispyExactEncircle(VispyLabelsBrushStrokeOverlay):
    """The circle that closes an encircling stroke, drawn around its start."""

    def _on_geometry_change(self, event: Any = None) -> None:
        layer, overlay = self.layer, self.overlay
        if not overlay.active:
            self._circle.visible = False
            return
        row, col = _to_overlay(layer, overlay.center)
        self._circle.center = (col, row)
        self._circle.radius = overlay.radius / float(layer.downsample_factors[layer.data_level, 0])
        self._circle.visible = True


overlay_to_visual[_ExactPolygon] = _VispyExactPolygon
overlay_to_visual[_ExactEncircle] = _VispyExactEncircle


def is_busy(layer: Shapes) -> bool:
    """Whether a shape is being drawn or dragged, so that the layer's shapes must not be touched."""
    return bool(layer._is_creating or layer._is_moving or layer._is_selecting)


def finish_drawing(layer: Shapes) -> None:
    """End the shape that is being drawn, as a double click does."""
    layer._finish_drawing()


def shape_vertices(layer: Shapes, index: int) -> npt.NDArray[np.float64]:
    """Vertices (row, column) of one shape, without copying the others."""
    return np.asarray(layer._data_view.shapes[index].data, float)


def native_canvas(viewer: Any) -> Any:
    """The Qt widget on which the viewer draws, for mouse events and exact screenshots."""
    return viewer.window._qt_viewer.canvas.native


@contextmanager
def pen_only(layer: Any) -> Iterator[None]:
    """Inside, setting a layer's current colour or width is about the next shape and leaves the selected ones alone."""
    before = layer._update_properties
    layer._update_properties = False
    try:
        yield
    finally:
        layer._update_properties = before


def after_drawing(call: Callable[[], None]) -> None:
    """Run a call once napari has returned to the event loop, when it has finished with the shape it tells of."""
    QTimer.singleShot(0, call)


def drop_drawing(layer: Shapes) -> bool:
    """Forget the shape that is being drawn; whether there was one."""
    if not layer._is_creating:
        return False
    index = layer._moving_value[0]
    layer._is_creating = False
    layer._moving_value = (None, None)
    if index is not None and index == layer.nshapes - 1:
        with layer.events.data.blocker(), layer.events.features.blocker():
            layer.remove([index])
    return True


class CloseWatch(QObject):
    """Watches a viewer's window.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose window.
    asked : callable
        Called when the window is asked to close, before napari closes anything; the user may still say no.
    gone : callable
        Called once the window has closed.
    """

    def __init__(self, viewer: Viewer, asked: Callable[[], None], gone: Callable[[], None]) -> None:
        super().__init__()
        window = viewer.window._qt_window
        self._asked, self._gone = asked, gone
        # Only a weak hold: a Python reference keeps a closed window, and all it shows, in memory.
        self._window = weakref.ref(window)
        window.installEventFilter(self)
        window.destroyed.connect(self._on_destroyed)

    def eventFilter(self, watched: Any, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Close:
            self._asked()
        return False

    def _on_destroyed(self, *_: Any) -> None:
        self._gone()

    def close(self) -> None:
        """Stop watching."""
        window = self._window()
        if window is not None:
            with suppress(RuntimeError):  # its Qt half may be gone
                window.removeEventFilter(self)
                window.destroyed.disconnect(self._on_destroyed)
        self._asked = self._gone = _nothing


def _nothing() -> None:
    pass


def is_closing(viewer: Viewer) -> bool:
    """Whether a viewer is being closed (napari then removes its layers one by one)."""
    executor = viewer._layer_slicer._executor
    return bool(executor._shutdown)
