"""An annotator who knows the truth and draws like a person: a few strokes and clicks, well inside of what they mark.

Its drawings begin the sample project, and serve wherever annotations of known quality are needed. It keeps away
from borders as a careful annotator does, and leaves most of the slide unlabelled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np

from napari_histoanno.annotation import Annotation, Box, Ellipse, Granularity, Point, Scribble, rasterize

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_histoanno.annotation import Geometry

    Block = tuple[int, int, NDArray[np.uint8]]

COARSE = 4
STEP = 14.0
MARGIN = 5.0
REGION = (560, 420)
_NUCLEI_OF = {1: 1, 2: 2, 3: 4, 4: 3}


class Truth(Protocol):
    """What the annotator must know; see :class:`napari_histoanno.samples.SampleTruth`."""

    @property
    def regions(self) -> NDArray[np.uint8]: ...

    @property
    def classes(self) -> NDArray[np.uint8]: ...

    @property
    def ellipses(self) -> NDArray[np.float64]: ...

    @property
    def boxes(self) -> NDArray[np.int64]: ...

    @property
    def points(self) -> NDArray[np.float64]: ...


class SimulatedAnnotator:
    """Draws from the truth of one slide; the same random numbers give the same drawings.

    Parameters
    ----------
    truth : Truth
        Region map and nuclei of the slide.
    rng : numpy.random.Generator
        Where it draws, and how its hand moves.
    """

    def __init__(self, truth: Truth, rng: np.random.Generator) -> None:
        self._truth = truth
        self._rng = rng
        coarse = truth.regions[::COARSE, ::COARSE]
        self._room = {int(region): _depth(coarse == region) for region in np.unique(coarse)}

    def strokes(self, region: int, count: int, width: float, length: int) -> list[Scribble]:
        """Up to ``count`` strokes of a pen through one region class, nowhere nearer than 5 px to its border.

        Parameters
        ----------
        region : int
            Class id in the region map.
        count : int
            Number of strokes; fewer where the region is too small.
        width : float
            Of the pen, in level-0 pixels.
        length : int
            Steps of 14 px that a stroke has at most.
        """
        room = self._room.get(region)
        if room is None:
            return []
        starts = np.argwhere(room > width / 2 + MARGIN)
        if len(starts) == 0:
            return []
        chosen = starts[self._rng.integers(0, len(starts), count)]
        return [
            Scribble(self._wander(room, ((column + 0.5) * COARSE, (row + 0.5) * COARSE), width, length), width)
            for row, column in chosen
        ]

    def _wander(
        self, room: NDArray[np.float32], start: tuple[float, float], width: float, length: int
    ) -> tuple[tuple[float, float], ...]:
        """Path of a hand that turns away from borders and stops where it is stuck."""
        x, y = start
        path = [(round(x, 1), round(y, 1))]
        direction = self._rng.uniform(0, 2 * np.pi)
        for _ in range(length):
            turns = direction + self._rng.normal(0, 0.25) + np.array([0, 0.5, -0.5, 1.0, -1.0])
            there = np.stack([x + STEP * np.cos(turns), y + STEP * np.sin(turns)], 1)
            columns, rows = (there // COARSE).astype(int).T
            inside = (rows >= 0) & (columns >= 0) & (rows < room.shape[0]) & (columns < room.shape[1])
            free = inside.copy()
            free[inside] = room[rows[inside], columns[inside]] > width / 2 + MARGIN
            if not free.any():
                break
            best = int(np.argmax(free))
            direction, (x, y) = float(turns[best]), there[best]
            path.append((round(float(x), 1), round(float(y), 1)))
        return tuple(path)

    def brush_strokes(self) -> Iterator[Block]:
        """Strokes of a broad brush as (x, y, block of class ids) for the pixel mask, two for each class."""
        for region in self._room:
            for stroke in self.strokes(region, 2, 26.0, 16):
                x0, y0, x1, y1 = (int(v) for v in np.floor(stroke.bounds))
                size = (x1 - x0 + 1, y1 - y0 + 1)
                yield x0, y0, np.asarray(rasterize([(stroke, region)], size, origin=(x0, y0)), np.uint8)

    def marks(self, slide: str, annotator: str) -> list[Annotation]:
        """Scribbles in all classes, and nuclei as ellipses, boxes and points."""
        marks: list[tuple[Geometry, Granularity, int]] = []
        for region in self._room:
            marks += [(stroke, Granularity.SPARSE, region) for stroke in self.strokes(region, 1, 8.0, 22)]
        for region, kind in _NUCLEI_OF.items():
            marks += [(*shape, region) for shape in self._nuclei(kind)]
        return [Annotation(slide, granularity, shape, region, annotator) for shape, granularity, region in marks]

    def _nuclei(self, kind: int) -> Iterator[tuple[Geometry, Granularity]]:
        """Neighbours of one class, as somebody would mark them who looks at one field: ellipses, boxes, points."""
        truth = self._truth
        members = np.flatnonzero(truth.classes == kind)
        if len(members) == 0:
            return
        centre = truth.points[self._rng.choice(members)]
        nearest = members[np.argsort(((truth.points[members] - centre) ** 2).sum(1))]
        for i in nearest[:6]:
            cx, cy, a, b, angle = (float(value) for value in truth.ellipses[i])
            yield Ellipse(cx, cy, a, b, angle), Granularity.ELLIPSE
        for i in nearest[6:10]:
            x, y, width, height = (float(value) for value in truth.boxes[i])
            yield Box(x, y, width, height), Granularity.BOX
        for i in nearest[10:20]:
            x, y = (float(value) for value in truth.points[i])
            yield Point(x, y), Granularity.POINT

    def exhaustive_region(self, slide: str, annotator: str, size: tuple[int, int] = REGION) -> tuple[Annotation, Block]:
        """A rectangle in which everything is annotated, and the class ids that it holds as (x, y, block).

        It is put where many classes meet; borders are smoothed as a hand smooths them. ``size`` is its width and
        height in level-0 pixels.
        """
        width, height = size
        regions = self._truth.regions
        places = self._rng.random((200, 2)) * (np.subtract(regions.shape[::-1], size))
        x, y = max(((int(x), int(y)) for x, y in places), key=lambda place: self._variety(place[0], place[1], size))
        block = np.asarray(cv2.medianBlur(np.ascontiguousarray(regions[y : y + height, x : x + width]), 9), np.uint8)
        box = Box(float(x), float(y), float(width), float(height))
        return Annotation(slide, Granularity.EXHAUSTIVE, box, 0, annotator), (x, y, block)

    def _variety(self, x: int, y: int, size: tuple[int, int]) -> float:
        width, height = size
        window = self._truth.regions[y : y + height : 8, x : x + width : 8]
        shares = np.bincount(window.ravel(), minlength=8) / window.size
        shares = shares[shares > 0]
        return float(-(shares * np.log(shares)).sum())


def _depth(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Distance of each coarse pixel of a mask to its border or the slide's, in level-0 pixels."""
    padded = np.pad(mask.astype(np.uint8), 1)
    return np.asarray(cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1] * COARSE, np.float32)
