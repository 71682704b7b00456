"""What one gesture paints, as a shape that any level can be asked for.

A stroke is previewed at the level on screen and committed at level 0. Both come from the same shape by the same
pixel-centre rule, so that what was seen is what is stored, and an edit that is still waiting for the disk can
be drawn over whatever the screen shows meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np
import numpy.typing as npt
import shapely

from napari_histoanno.annotation.geometry import Area, Bounds, Geometry, Scribble
from napari_histoanno.annotation.rasterize import rasterize

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Mask = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.uint8]


class Reader(Protocol):
    """Reads labels of level 0: (y0, y1, x0, x1) -> uint8."""

    def __call__(self, y0: int, y1: int, x0: int, x1: int) -> Labels: ...


class Edit(Protocol):
    """A change of labels that is previewed now and committed soon."""

    label: int
    action: str
    done: bool
    looks_around: bool
    """Whether a block's mask depends on the labels of the blocks beside it."""

    @property
    def bounds(self) -> Bounds:
        """Level-0 (x0, y0, x1, y1) outside of which nothing changes."""
        ...

    def preview(self, labels: Labels, x0: float, y0: float, step: float) -> None:
        """Draw over labels of a level whose pixels are ``step`` level-0 pixels wide, from level-0 corner (x0, y0)."""
        ...

    def covers(self, x0: int, y0: int, x1: int, y1: int) -> bool:
        """Whether a level-0 rectangle becomes ``label`` as a whole (False if unsure)."""
        ...

    def mask(self, labels: Labels, x0: int, y0: int, read: Reader) -> Mask:
        """Which of the level-0 pixels from (x0, y0) change, given their labels now."""
        ...


@dataclass(slots=True)
class Painted:
    """Brush strokes and polygons of one gesture.

    Parameters
    ----------
    shapes : list of Geometry
        Level-0 coordinates.
    label : int
        Value to paint; 0 erases.
    only : int, optional
        The one value that may be overwritten; None for any.
    """

    label: int
    shapes: list[Geometry] = field(default_factory=list)
    only: int | None = None
    action: str = "paint"
    done: bool = False
    looks_around: bool = False

    @property
    def bounds(self) -> Bounds:
        return union_bounds(shape.bounds for shape in self.shapes)

    def preview(self, labels: Labels, x0: float, y0: float, step: float) -> None:
        height, width = labels.shape
        shown = [(_as_seen(shape, step, erases=self.label == 0), 1) for shape in self.shapes]
        mask = rasterize(shown, (width, height), origin=(x0, y0), downsample=step).view(bool)
        _paint(labels, mask, self.label, self.only)

    def covers(self, x0: int, y0: int, x1: int, y1: int) -> bool:
        if self.only is not None:
            return False
        box = shapely.box(x0, y0, x1, y1)
        return any(_contains(shape, box) for shape in self.shapes)

    def mask(self, labels: Labels, x0: int, y0: int, read: Reader) -> Mask:
        height, width = labels.shape
        near = shapely.box(x0, y0, x0 + width, y0 + height)
        shapes = [(piece, 1) for shape in self.shapes for piece in _near(shape, near.bounds)]
        mask: Mask = rasterize(shapes, (width, height), origin=(x0, y0)).view(bool)
        return mask if self.only is None else mask & (labels == self.only)


def _as_seen(shape: Geometry, step: float, *, erases: bool) -> Geometry:
    """A stroke as the coarser levels show it: a pixel there is labelled if any pixel below it is."""
    if not isinstance(shape, Scribble) or step <= 1:
        return shape
    grow = 1 - step if erases else step - 1
    return Scribble(shape.points, max(shape.width + grow, 0.1))


def _contains(shape: Geometry, box: shapely.Polygon) -> bool:
    if isinstance(shape, Scribble):
        # The discs and the bars between them are convex: one that holds the corners holds the box.
        reach = shape.width / 2
        corners = np.asarray(box.exterior.coords)[:4]
        points = np.asarray(shape.points)
        starts, ends = (points[:-1], points[1:]) if len(points) > 1 else (points, points)
        return bool((_distances(corners, starts, ends) <= reach).all(axis=1).any())
    prepared = shape.shape
    shapely.prepare(prepared)
    return bool(shapely.contains(prepared, box))


def _distances(
    points: npt.NDArray[np.float64], starts: npt.NDArray[np.float64], ends: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Distance of each of P points to each of S segments, shape (S, P)."""
    along = ends - starts
    length = np.maximum((along**2).sum(1), 1e-12)
    offset = points[None] - starts[:, None]
    t = np.clip((offset * along[:, None]).sum(2) / length[:, None], 0, 1)
    return np.asarray(np.linalg.norm(offset - t[..., None] * along[:, None], axis=2))


def _near(shape: Geometry, box: Bounds) -> Iterator[Geometry]:
    """The part of a shape that can reach a box: whole shapes, but of a long stroke only its near runs."""
    x0, y0, x1, y1 = box
    if not isinstance(shape, Scribble) or len(shape.points) < 16:
        yield shape
        return
    reach = shape.width / 2
    points = np.asarray(shape.points)
    low, high = np.minimum(points[:-1], points[1:]) - reach, np.maximum(points[:-1], points[1:]) + reach
    hits = (low[:, 0] < x1) & (high[:, 0] > x0) & (low[:, 1] < y1) & (high[:, 1] > y0)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], hits.view(np.int8), [0]])))
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        yield Scribble(shape.points[first : last + 1], shape.width)


def _paint(labels: Labels, mask: Mask, label: int, only: int | None) -> None:
    labels[mask if only is None else mask & (labels == only)] = label


def union_bounds(boxes: Iterator[Bounds]) -> Bounds:
    """Smallest box around all boxes."""
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    return min(x0), min(y0), max(x1), max(y1)


def enclosed_area(points: Sequence[tuple[float, float]]) -> Area | None:
    """Everything that a closed, possibly self-crossing line encloses; None if it encloses nothing.

    Drawing around something twice, or crossing one's own line, must not leave holes, so every face of the line's
    arrangement counts.
    """
    if len(points) < 3:
        return None
    ring = shapely.Polygon(points)
    if ring.is_valid:
        return Area(ring)
    faces = shapely.polygonize([shapely.node(shapely.LineString([*points, points[0]]))])
    whole = shapely.union_all(faces)
    return Area(whole) if isinstance(whole, shapely.Polygon | shapely.MultiPolygon) and whole.area > 0 else None


@dataclass(slots=True)
class Filled:
    """A bucket fill: the connected pixels of one value around a click, as far as the screen shows.

    The flood runs on the displayed tile. On coarse levels its border is then traced exactly: of each block at
    the border only those level-0 pixels change that hang together with the inside of the flood.

    Parameters
    ----------
    region : ndarray of bool
        Flooded pixels of the displayed tile.
    origin : (x, y)
        Level-0 corner of the tile.
    step : int
        Level-0 pixels per pixel of the tile.
    old, label : int
        Value before and after.
    """

    region: Mask
    origin: tuple[int, int]
    step: int
    old: int
    label: int
    connected: bool = True
    action: str = "fill"
    done: bool = False
    looks_around: bool = True
    _wide: Mask | None = None

    @property
    def bounds(self) -> Bounds:
        rows, columns = np.flatnonzero(self.region.any(1)), np.flatnonzero(self.region.any(0))
        x, y, s = *self.origin, self.step
        pad = s if s > 1 else 0
        return (
            x + columns[0] * s - pad,
            y + rows[0] * s - pad,
            x + (columns[-1] + 1) * s + pad,
            y + (rows[-1] + 1) * s + pad,
        )

    def preview(self, labels: Labels, x0: float, y0: float, step: float) -> None:
        height, width = labels.shape
        flooded = self._sample(x0 + step / 2, y0 + step / 2, (height, width), step)
        _paint(labels, flooded, self.label, self.old)

    def _sample(self, x: float, y: float, shape: tuple[int, int], step: float, *, grow: bool = False) -> Mask:
        """The flood at pixel centres, or the flood grown by one tile pixel."""
        region = self._widened() if grow else self.region
        rows = np.floor((y + np.arange(shape[0]) * step - self.origin[1]) / self.step).astype(int)
        columns = np.floor((x + np.arange(shape[1]) * step - self.origin[0]) / self.step).astype(int)
        inside_rows = (rows >= 0) & (rows < region.shape[0])
        inside_columns = (columns >= 0) & (columns < region.shape[1])
        sampled = region[np.clip(rows, 0, region.shape[0] - 1)][:, np.clip(columns, 0, region.shape[1] - 1)]
        return np.asarray(sampled & inside_rows[:, None] & inside_columns)

    def _widened(self) -> Mask:
        if self._wide is None:
            self._wide = np.asarray(cv2.dilate(self.region.view(np.uint8), np.ones((3, 3), np.uint8))).view(bool)
        return self._wide

    def covers(self, x0: int, y0: int, x1: int, y1: int) -> bool:
        # Coarse levels show 0 only where all is 0, so a flooded block of zeros is wholly flooded.
        if self.old != 0:
            return False
        rows = slice((y0 - self.origin[1]) // self.step, -(-(y1 - self.origin[1]) // self.step))
        columns = slice((x0 - self.origin[0]) // self.step, -(-(x1 - self.origin[0]) // self.step))
        if rows.start < 0 or columns.start < 0:
            return False
        block = self.region[rows, columns]
        return block.shape == (rows.stop - rows.start, columns.stop - columns.start) and bool(block.all())

    def mask(self, labels: Labels, x0: int, y0: int, read: Reader) -> Mask:
        height, width = labels.shape
        if self.step == 1 or not self.connected:
            return self._sample(x0 + 0.5, y0 + 0.5, (height, width), 1) & (labels == self.old)
        pad = self.step
        top, left = max(y0 - pad, 0), max(x0 - pad, 0)
        around = read(top, y0 + height + pad, left, x0 + width + pad)
        same = around == self.old
        wide = self._sample(left + 0.5, top + 0.5, around.shape, 1, grow=True) & same
        seed = self._sample(left + 0.5, top + 0.5, around.shape, 1) & same
        joined = _joined(wide, seed)
        return joined[y0 - top : y0 - top + height, x0 - left : x0 - left + width]


def _joined(wide: Mask, seed: Mask) -> Mask:
    """Parts of ``wide`` (4-connected) that touch ``seed``."""
    count, parts = cv2.connectedComponents(wide.view(np.uint8), connectivity=4, ltype=cv2.CV_32S)
    touched = np.zeros(count, bool)
    touched[parts[seed]] = True
    touched[0] = False
    return touched[parts]


def flood(tile: Labels, row: int, column: int, *, connected: bool = True) -> Mask:
    """Pixels of the tile with the value at (row, column), 4-connected to it or all of them."""
    if not connected:
        return np.asarray(tile == tile[row, column])
    mask = np.zeros((tile.shape[0] + 2, tile.shape[1] + 2), np.uint8)
    flags = 4 | cv2.FLOODFILL_MASK_ONLY | (1 << 8)
    cv2.floodFill(np.ascontiguousarray(tile), mask, (column, row), 0, 0, 0, flags)
    return mask[1:-1, 1:-1].view(bool)
