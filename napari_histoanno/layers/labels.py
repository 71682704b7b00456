"""The pixel layer: labels of a whole slide that can be painted at every zoom.

napari's own multiscale labels cannot be edited. Here each gesture is drawn at once into the tile on screen and
committed as one action of the project, at level 0, by a single worker thread; when the project says what
changed, the touched chunks are read again, so that the screen always ends up showing what is stored. An edit
that waits for its commit is drawn over whatever is read meanwhile, so panning does not make it blink.

Undo and redo are the project's: the layer only makes sure that what was drawn before is committed before.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from napari.utils.colormaps import DirectLabelColormap
from psygnal import Signal
from superqt.utils import qthrottled

from napari_histoanno.annotation.geometry import Geometry, Scribble
from napari_histoanno.layers._napari_private import EditableTiledLabels
from napari_histoanno.layers.edits import Edit, Filled, Painted, enclosed_area, flood
from napari_histoanno.layers.gui_thread import GuiThread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from napari_histoanno.annotation.scheme import LabelScheme
    from napari_histoanno.project import LabelRaster

log = logging.getLogger(__name__)

SAVED, SAVING = "saved", "saving…"
THUMBNAIL_INTERVAL_MS = 1000


class RasterLevel:
    """One level of a label raster as the duck array that napari slices, with the waiting edits drawn over it."""

    ndim = 2
    dtype = np.dtype(np.uint8)

    def __init__(self, raster: LabelRaster, level: int, waiting: Callable[[], Iterable[Edit]]) -> None:
        self._raster, self._level, self._waiting = raster, level, waiting
        height, width = raster.level_shape(level)
        self.shape = (int(height), int(width))
        self.size = self.shape[0] * self.shape[1]
        self.chunks = (raster.chunk, raster.chunk)
        self.downsample = 2**level

    def __getitem__(self, key: Any) -> npt.NDArray[np.uint8]:
        rows, columns = key if isinstance(key, tuple) and len(key) == 2 else (key, slice(None))
        y0, y1, _ = _as_slice(rows).indices(self.shape[0])
        x0, x1, _ = _as_slice(columns).indices(self.shape[1])
        block = np.array(self._raster.read(self._level, y0, y1, x0, x1), copy=True)
        step = self.downsample
        for edit in self._waiting():
            edit.preview(block, x0 * step, y0 * step, step)
        return block

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return self[:, :].astype(dtype or self.dtype, copy=False)


def _as_slice(key: Any) -> slice:
    return key if isinstance(key, slice) else slice(int(key), int(key) + 1)


def scheme_colormap(scheme: LabelScheme) -> DirectLabelColormap:
    """Colours of a label scheme; unlabelled is transparent and unknown values are magenta, to be seen."""
    colors: dict[int | None, Any] = {None: (1.0, 0.0, 1.0, 1.0), 0: (0.0, 0.0, 0.0, 0.0)}
    for label in scheme:
        red, green, blue = (channel / 255 for channel in label.color)
        colors[label.id] = (red, green, blue, 1.0)
    return DirectLabelColormap(color_dict=colors)


def class_name(scheme: LabelScheme, value: int) -> str:
    """What a mask value means: the class's name, or "unlabelled"."""
    if value == 0:
        return "unlabelled"
    found = scheme.find(value)
    return found.name if found else f"unknown class {value}"


class PyramidLabels(EditableTiledLabels):
    """Editable labels of a whole slide over a project's label raster.

    Parameters
    ----------
    raster : LabelRaster
        Where labels are read from and committed to.
    scheme : LabelScheme
        Colours and names.
    editable : bool
        False in a project that is open for reading only.
    **kwargs
        As for :class:`napari.layers.Labels`.

    Attributes
    ----------
    save_state : Signal(str)
        "saving…" when a gesture waits for its commit, "saved" when none does. Emitted in the GUI thread.
    failed : Signal(Exception)
        A commit that failed; the screen shows the stored labels again. Emitted in the GUI thread.
    undo_requested, redo_requested : Signal()
        The user pressed the layer's undo or redo keys; all commits are done by then.
    """

    save_state = Signal(str)
    failed = Signal(object)
    undo_requested = Signal()
    redo_requested = Signal()

    def __init__(self, raster: LabelRaster, scheme: LabelScheme, *, editable: bool = True, **kwargs: Any) -> None:
        self.raster = raster
        self._scheme = scheme
        self._edits: list[Edit] = []
        self._stroke: Painted | None = None
        self._gui = GuiThread()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="label-commits")
        self._futures: set[Future[None]] = set()
        levels = [RasterLevel(raster, level, self._waiting) for level in range(raster.levels)]
        super().__init__(
            levels,
            [level.downsample for level in levels],
            name_of=lambda value: class_name(self._scheme, value),
            colormap=scheme_colormap(scheme),
            **kwargs,
        )
        self.editable = editable
        self._later_thumbnail = qthrottled(self.refresh_thumbnail, timeout=THUMBNAIL_INTERVAL_MS, leading=False)
        # Fills and strokes are compiled on first use; better now, beside the user's first look, than in a stroke.
        self._submit(_warm_up)

    def _waiting(self) -> list[Edit]:
        edits = [edit for edit in self._edits if not edit.done]
        return [*edits, self._stroke] if self._stroke is not None and self._stroke.shapes else edits

    # --- gestures ---------------------------------------------------------------------------------

    def stroke_to(self, start: npt.NDArray[np.float64], end: npt.NDArray[np.float64], label: int) -> None:
        """Draw one move of the brush, layer data coordinates, into the displayed tile."""
        if self._stroke is None:
            self._stroke = Painted(label, only=self._overwritable(label), action="paint" if label else "erase")
        points = [self._brush_point(start), self._brush_point(end)]
        width = float(max(self.brush_size, 1))
        self._show(Painted(label, [_segment(points, width)], self._stroke.only))
        last = self._stroke.shapes[-1] if self._stroke.shapes else None
        if isinstance(last, Scribble) and last.width == width and last.points[-1] == points[0]:
            if points[1] != points[0]:
                self._stroke.shapes[-1] = Scribble((*last.points, points[1]), width)
        else:
            self._stroke.shapes.append(_segment(points, width))

    def _brush_point(self, position: npt.NDArray[np.float64]) -> tuple[float, float]:
        """Level-0 (x, y); the one-pixel brush snaps to pixels, or it would miss every pixel centre at times."""
        row, column = np.round(position) if self.brush_size <= 1 else position
        return float(column) + 0.5, float(row) + 0.5

    def _overwritable(self, label: int) -> int | None:
        if not self.preserve_labels:
            return None
        return self.selected_label if label == 0 else 0

    def end_stroke(self) -> None:
        """Commit the open stroke, if any."""
        stroke, self._stroke = self._stroke, None
        if stroke is not None and stroke.shapes:
            self._queue(stroke)

    def drop_stroke(self) -> None:
        """Forget the open stroke and show what is stored."""
        stroke, self._stroke = self._stroke, None
        if stroke is not None and stroke.shapes:
            self._reread(stroke.bounds)

    def paint(self, coord: Any, new_label: int, refresh: bool = True) -> None:
        """Stamp the brush once at layer data coordinates."""
        position = np.asarray(coord, float)[-2:]
        self.stroke_to(position, position, int(new_label))
        if not self._block_history:
            self.end_stroke()

    def paint_polygon(self, points: Any, new_label: int) -> None:
        """Paint everything that a closed line in layer data coordinates encloses."""
        area = enclosed_area([(float(p[-1]) + 0.5, float(p[-2]) + 0.5) for p in points])
        if area is None:
            return
        label = int(new_label)
        if self._stroke is not None:
            # The inside of an encircling stroke belongs to the stroke: one gesture, one undo.
            self._stroke.shapes.append(area)
            self._show(Painted(label, [area], self._stroke.only))
            return
        edit = Painted(label, [area], self._overwritable(label), action="paint area" if label else "erase area")
        self._show(edit)
        self._queue(edit)

    def fill(self, coord: Any, new_label: int, refresh: bool = True) -> None:
        """Fill the connected pixels of one value around layer data coordinates, as far as the screen shows."""
        self.flush()
        step, (cy, cx), tile = self.displayed_tile()
        row, column = (int(np.floor((value + 0.5) / step)) for value in np.asarray(coord, float)[-2:])
        row, column = row - cy, column - cx
        if not (0 <= row < tile.shape[0] and 0 <= column < tile.shape[1]):
            return
        old = int(tile[row, column])
        if old == int(new_label) or (self.preserve_labels and old != 0):
            return
        region = flood(tile, row, column, connected=self.contiguous)
        size = round(step)
        edit = Filled(region, (cx * size, cy * size), size, old, int(new_label), connected=self.contiguous)
        self._show(edit)
        self._queue(edit)

    def _show(self, edit: Edit) -> None:
        x0, y0, x1, y1 = edit.bounds
        step, (cy, cx), tile = self.displayed_tile()
        margin = 2 * step
        rect = self._tile_rect(y0 - margin, x0 - margin, y1 + margin, x1 + margin)
        if rect is None:
            return
        top, left, bottom, right = rect
        edit.preview(tile[top:bottom, left:right], (cx + left) * step, (cy + top) * step, step)
        self.show_changed(rect)

    # --- commits ----------------------------------------------------------------------------------

    def _queue(self, edit: Edit) -> None:
        self._edits.append(edit)
        self.save_state.emit(SAVING)
        self._submit(self._commit, edit)

    def _submit(self, job: Callable[..., None], *args: Any) -> None:
        future = self._writer.submit(job, *args)
        self._futures.add(future)
        future.add_done_callback(lambda done: self._gui(self._after, done))

    def _commit(self, edit: Edit) -> None:
        try:
            commit(self.raster, edit)
        finally:
            edit.done = True

    def _after(self, future: Future[None]) -> None:
        if future not in self._futures:
            return
        self._futures.discard(future)
        finished = [edit for edit in self._edits if edit.done]
        self._edits = [edit for edit in self._edits if not edit.done]
        error = future.exception()
        if error is not None:
            log.error("labels were not stored", exc_info=error)
            for edit in finished:
                self._reread(edit.bounds)
            self.failed.emit(error)
        if not self._edits:
            self.save_state.emit(SAVED)

    def flush(self) -> None:
        """Wait until everything drawn so far is committed."""
        self.end_stroke()
        while self._futures:
            future = next(iter(self._futures))
            # Wait without raising: a failure is reported in `_after`.
            future.exception()
            self._after(future)

    def wait(self) -> None:
        """Wait until every finished gesture is committed; may be called from any thread."""
        for future in tuple(self._futures):
            future.exception()

    @property
    def saving(self) -> bool:
        """Whether a gesture waits for its commit."""
        return bool(self._edits)

    # --- the project ------------------------------------------------------------------------------

    def undo(self) -> None:
        """Ask for the project's last action to be undone, after what was drawn before is committed."""
        self.flush()
        self.undo_requested.emit()

    def redo(self) -> None:
        """Ask for the project's last undone action to be done again."""
        self.flush()
        self.redo_requested.emit()

    def reread_chunks(self, keys: Iterable[tuple[int, int]]) -> None:
        """Show level-0 chunks (row, column) as they are stored now."""
        found = np.array(sorted(keys), int).reshape(-1, 2)
        if not len(found):
            return
        size = self.raster.chunk
        y0, x0 = found.min(0) * size
        y1, x1 = (found.max(0) + 1) * size
        self._reread((x0, y0, x1, y1))

    def _reread(self, bounds: tuple[float, float, float, float]) -> None:
        x0, y0, x1, y1 = bounds
        margin = float(self.downsample_factors[-1, 0])
        self.refresh_rect(y0 - margin, x0 - margin, y1 + margin, x1 + margin)
        self._later_thumbnail()

    @property
    def scheme(self) -> LabelScheme:
        """Label scheme whose colours and names are shown."""
        return self._scheme

    @scheme.setter
    def scheme(self, scheme: LabelScheme) -> None:
        self._scheme = scheme
        self.colormap = scheme_colormap(scheme)

    def close(self) -> None:
        """Commit what is drawn and end the writer; the layer can then be dropped."""
        self.flush()
        self._writer.shutdown()
        self._later_thumbnail.cancel()
        self._gui.close()


def _segment(points: list[tuple[float, float]], width: float) -> Geometry:
    return Scribble(tuple(points) if points[0] != points[1] else (points[0],), width)


def _warm_up() -> None:
    edit = Painted(1, [Scribble(((1.0, 1.0), (2.0, 2.0)), 2.0)])
    area = enclosed_area([(0.0, 0.0), (3.0, 0.0), (0.0, 3.0)])
    edit.shapes += [area] if area else []
    edit.preview(np.zeros((4, 4), np.uint8), 0, 0, 1)


def commit(raster: LabelRaster, edit: Edit) -> None:
    """Write an edit to a raster as one action: only the chunks that it touches, whole ones as a single value."""
    size = raster.chunk
    height, width = raster.shape
    x0, y0, x1, y1 = edit.bounds
    rows = range(max(int(y0), 0) // size, -(-min(int(np.ceil(y1)), height) // size))
    columns = range(max(int(x0), 0) // size, -(-min(int(np.ceil(x1)), width) // size))

    with raster.edit(action=edit.action) as changes:

        def read(top: int, bottom: int, left: int, right: int) -> npt.NDArray[np.uint8]:
            return np.asarray(raster.read(0, top, min(bottom, height), left, min(right, width)))

        cells = ((row, column) for row in rows for column in columns)
        masks: Iterable[tuple[Any, npt.NDArray[np.bool_] | None]]
        masks = ((cell, _chunk_mask(raster, edit, cell, read)) for cell in cells)
        if edit.looks_around:
            # The neighbours must not have changed yet when a block's mask is made.
            masks = [(cell, mask) for cell, mask in masks if mask is None or mask.any()]
        for (row, column), mask in masks:
            if mask is None:
                changes.fill(row, column, edit.label)
            elif mask.any():
                # Written, not assigned: painting the class that was predicted there confirms it.
                block = np.broadcast_to(np.uint8(edit.label), mask.shape)
                changes.write(row * size, column * size, block, mask=mask)


def _chunk_mask(raster: LabelRaster, edit: Edit, cell: tuple[int, int], read: Any) -> npt.NDArray[np.bool_] | None:
    """Pixels of a chunk that change; None if all of them do."""
    size = raster.chunk
    height, width = raster.shape
    y0, x0 = cell[0] * size, cell[1] * size
    y1, x1 = min(y0 + size, height), min(x0 + size, width)
    if (y1 - y0, x1 - x0) == (size, size) and edit.covers(x0, y0, x1, y1):
        return None
    labels = read(y0, y1, x0, x1)
    return edit.mask(labels, x0, y0, read)
