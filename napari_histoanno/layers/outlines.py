"""Outlines of any number of annotations, drawn into tiles in the background.

napari needs seconds and gigabytes to hold 100,000 shapes, and nobody edits them while they are that small. So
while many are in view they are shown as a read-only label image whose tiles are drawn when they come on screen:
the records of a tile's place are asked from the project, their outlines drawn with their class id, and coarser
tiles put together from finer ones. The window never waits: a tile that is not there yet is blank and appears
when it is done.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
import shapely
from superqt.utils import qthrottled

from napari_histoanno.annotation.geometry import Point
from napari_histoanno.layers._napari_private import TiledLabels
from napari_histoanno.layers.gui_thread import GuiThread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from uuid import UUID

    from napari_histoanno.annotation.geometry import Bounds
    from napari_histoanno.annotation.model import Annotation

Tile: TypeAlias = npt.NDArray[np.uint8]
TileKey: TypeAlias = tuple[int, int, int]
"""(level, row, column) of a tile."""

TILE = 512
BASE_LEVEL = 3
"""The coarsest level whose tiles are drawn from records; 4096 level-0 pixels a tile."""
CACHED_TILES = 1024
REFRESH_MS = 200
NO_CLASS = 255
"""Value of records without a class (exhaustive regions)."""

_SUBPIXEL_BITS = 4


class OutlineTiles:
    """Tiles of outlines at every level, drawn by one thread in the order in which they were last asked for.

    Parameters
    ----------
    shape : tuple of int
        (height, width) of the slide at level 0.
    query : callable
        Level-0 bounds -> records that touch them. Called in the drawing thread.
    done : callable
        Told the level-0 bounds of each new tile, in the drawing thread.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        query: Callable[[Bounds], Sequence[Annotation]],
        done: Callable[[Bounds], None],
    ) -> None:
        self.shape = shape
        self.levels = max(1, math.ceil(math.log2(max(max(shape) / TILE, 1))) + 1)
        self._query, self._done = query, done
        self._tiles: OrderedDict[TileKey, Tile | None] = OrderedDict()
        self._ids: dict[TileKey, frozenset[UUID]] = {}
        self._wanted: OrderedDict[TileKey, None] = OrderedDict()
        self._stamp = 0
        self._lock = threading.RLock()
        self._drawing = False
        self._open = True
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="outlines")

    def read(self, level: int, y0: int, y1: int, x0: int, x1: int) -> Tile:
        """What is drawn of a region already; the rest of it is blank and will be drawn."""
        out = np.zeros((max(y1 - y0, 0), max(x1 - x0, 0)), np.uint8)
        for row in range(max(y0, 0) // TILE, -(-y1 // TILE)):
            for column in range(max(x0, 0) // TILE, -(-x1 // TILE)):
                tile = self._tile_or_want((level, row, column))
                if tile is None:
                    continue
                top, left = row * TILE, column * TILE
                a, b, c, d = max(y0, top), min(y1, top + TILE), max(x0, left), min(x1, left + TILE)
                out[a - y0 : b - y0, c - x0 : d - x0] = tile[a - top : b - top, c - left : d - left]
        return out

    def _tile_or_want(self, key: TileKey) -> Tile | None:
        with self._lock:
            if key in self._tiles:
                self._tiles.move_to_end(key)
                return self._tiles[key]
            self._wanted[key] = None
            self._wanted.move_to_end(key)
            if not self._drawing and self._open:
                self._drawing = True
                self._worker.submit(self._draw_wanted)
        return None

    def _draw_wanted(self) -> None:
        while True:
            with self._lock:
                if not self._wanted or not self._open:
                    self._drawing = False
                    return
                key, _ = self._wanted.popitem()
            try:
                self._make(key)
            except Exception:
                with self._lock:
                    self._drawing = False
                raise
            self._done(tile_bounds(key))

    def _make(self, key: TileKey) -> Tile | None:
        with self._lock:
            if key in self._tiles:
                return self._tiles[key]
            stamp = self._stamp
        ids: frozenset[UUID] = frozenset()
        if key[0] <= BASE_LEVEL:
            records = self._query(tile_bounds(key))
            tile = draw_outlines(records, tile_bounds(key), TILE) if records else None
            ids = frozenset(record.id for record in records)
        else:
            tile = self._assemble(key)
        with self._lock:
            if stamp == self._stamp:
                self._tiles[key] = tile
                self._ids[key] = ids
                while len(self._tiles) > CACHED_TILES:
                    old, _ = self._tiles.popitem(last=False)
                    self._ids.pop(old, None)
        return tile

    def _assemble(self, key: TileKey) -> Tile | None:
        level, row, column = key
        whole = np.zeros((2 * TILE, 2 * TILE), np.uint8)
        height, width = (-(-size // (TILE << (level - 1))) for size in self.shape)
        empty = True
        for y, x in ((0, 0), (0, 1), (1, 0), (1, 1)):
            child = (level - 1, 2 * row + y, 2 * column + x)
            if child[1] < height and child[2] < width and self._open:
                part = self._make(child)
                if part is not None:
                    empty = False
                    whole[y * TILE : (y + 1) * TILE, x * TILE : (x + 1) * TILE] = part
        if empty:
            return None
        rows = np.maximum(whole[::2], whole[1::2])
        return np.maximum(rows[:, ::2], rows[:, 1::2])

    @property
    def busy(self) -> bool:
        """Whether tiles are being drawn."""
        return self._drawing

    def forget(self, ids: Iterable[UUID], boxes: Iterable[Bounds]) -> None:
        """Drop tiles on which changed records were drawn or are to be drawn now.

        Parameters
        ----------
        ids : iterable of UUID
            Records that were there before.
        boxes : iterable of Bounds
            Where records are now.
        """
        changed, places = set(ids), list(boxes)
        with self._lock:
            self._stamp += 1
            stale = {
                key
                for key in self._tiles
                if not changed.isdisjoint(self._ids.get(key, frozenset()))
                or any(_overlap(tile_bounds(key), box) for box in places)
            }
            above = {
                (level, row >> (level - start), column >> (level - start))
                for start, row, column in stale
                for level in range(start + 1, self.levels)
            }
            for key in stale | above:
                self._tiles.pop(key, None)
                self._ids.pop(key, None)

    def forget_all(self) -> None:
        """Drop all tiles."""
        with self._lock:
            self._stamp += 1
            self._tiles.clear()
            self._ids.clear()

    def close(self) -> None:
        """Stop drawing and forget everything."""
        with self._lock:
            self._open = False
            self._wanted.clear()
        self._worker.shutdown(wait=True)


def tile_bounds(key: TileKey) -> Bounds:
    """Level-0 (x0, y0, x1, y1) of a tile."""
    level, row, column = key
    size = TILE << level
    return (column * size, row * size, (column + 1) * size, (row + 1) * size)


def _overlap(a: Bounds, b: Bounds) -> bool:
    return a[0] <= b[2] and b[0] <= a[2] and a[1] <= b[3] and b[1] <= a[3]


def draw_outlines(records: Iterable[Annotation], bounds: Bounds, pixels: int) -> Tile:
    """One-pixel outlines of records in a square tile.

    Parameters
    ----------
    records : iterable of Annotation
        Drawn in order, with their class id.
    bounds : Bounds
        Level-0 place of the tile.
    pixels : int
        Its width and height.

    Returns
    -------
    uint8 array, shape (pixels, pixels)
        0 where there is no outline.
    """
    tile = np.zeros((pixels, pixels), np.uint8)
    x0, y0, x1, _ = bounds
    scale = pixels / (x1 - x0)
    by_class: dict[int, list[Annotation]] = {}
    for record in records:
        by_class.setdefault(record.class_id or NO_CLASS, []).append(record)
    # Regions without a class last: they would drown in what is drawn inside them.
    for value, group in sorted(by_class.items()):
        cv2.polylines(tile, _lines(group, (x0, y0), scale), False, value, 1, cv2.LINE_8, _SUBPIXEL_BITS)
    return tile


def _lines(records: Sequence[Annotation], origin: tuple[float, float], scale: float) -> list[npt.NDArray[np.int32]]:
    """Outlines and crosses of records in the fixed-point pixels of cv2, which counts from the centre of a pixel."""
    points = [geometry for record in records if isinstance(geometry := record.geometry, Point)]
    shapes = np.array([record.geometry.shape for record in records if not isinstance(record.geometry, Point)], object)
    rings: Any = shapely.get_rings(shapely.get_parts(shapes)) if len(shapes) else []
    corners, ring = shapely.get_coordinates(rings, return_index=True)
    reach = max(2.0 / scale, 1.0)
    arms = [((p.x - reach, p.y), (p.x + reach, p.y), (p.x, p.y - reach), (p.x, p.y + reach)) for p in points]
    crosses = np.array(arms, float).reshape(-1, 2)
    placed = (np.concatenate([corners, crosses]) - origin) * scale - 0.5
    fixed = np.round(placed * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    starts = np.flatnonzero(np.diff(ring)) + 1
    lines = np.split(fixed[: len(corners)], starts) if len(corners) else []
    return [*lines, *fixed[len(corners) :].reshape(-1, 2, 2)]


class OutlineLevel:
    """One level of outline tiles as the duck array that napari slices."""

    ndim = 2
    dtype = np.dtype(np.uint8)
    chunks = (TILE, TILE)

    def __init__(self, tiles: OutlineTiles, level: int) -> None:
        self._tiles, self._level = tiles, level
        height, width = tiles.shape
        self.shape = (-(-height >> level), -(-width >> level))
        self.size = self.shape[0] * self.shape[1]

    def __getitem__(self, key: tuple[slice, slice]) -> Tile:
        y0, y1, _ = key[0].indices(self.shape[0])
        x0, x1, _ = key[1].indices(self.shape[1])
        return self._tiles.read(self._level, y0, y1, x0, x1)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return self[:, :].astype(dtype or self.dtype, copy=False)


class OutlineLabels(TiledLabels):
    """Outlines of all records of a slide as a read-only layer.

    Parameters
    ----------
    shape : tuple of int
        (height, width) of the slide at level 0.
    query : callable
        Level-0 bounds -> records that touch them; called in another thread.
    **kwargs
        As for :class:`napari.layers.Labels`.
    """

    def __init__(self, shape: tuple[int, int], query: Callable[[Bounds], Sequence[Annotation]], **kwargs: Any) -> None:
        self._gui = GuiThread()
        self._fresh: list[Bounds] = []
        self.tiles = OutlineTiles(shape, query, lambda bounds: self._gui(self._on_tile, bounds))
        levels = [OutlineLevel(self.tiles, level) for level in range(self.tiles.levels)]
        super().__init__(levels, [2**level for level in range(self.tiles.levels)], thumbnail=False, **kwargs)
        self.editable = False
        self._later = qthrottled(self._show_fresh, timeout=REFRESH_MS)

    def _on_tile(self, bounds: Bounds) -> None:
        self._fresh.append(bounds)
        self._later()

    def _show_fresh(self) -> None:
        fresh, self._fresh = self._fresh, []
        for x0, y0, x1, y1 in fresh:
            self.refresh_rect(y0, x0, y1, x1)

    def forget(self, ids: Iterable[UUID], boxes: Iterable[Bounds] | None) -> None:
        """Draw tiles with changed records again (all tiles if ``boxes`` is None); see :meth:`OutlineTiles.forget`."""
        if boxes is None:
            self.tiles.forget_all()
        else:
            self.tiles.forget(ids, boxes)
        self.refresh(extent=False, thumbnail=False)

    def close(self) -> None:
        """Stop the drawing thread; the layer can then be dropped."""
        self._later.cancel()
        self._gui.close()
        self.tiles.close()
