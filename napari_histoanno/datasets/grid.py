"""Where the patches of a slide lie, and what is annotated in each.

Patches lie on a grid that starts at the slide's corner and covers it; the last row and column may reach beyond the
edge, where the image is white and nothing is labelled. Only places that something annotated touches are looked at, in
blocks, so that an outline around half a slide is rasterized a few hundred times and not once for each of ten thousand
patches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from napari_histoanno.datasets.errors import ExportCancelled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from napari_histoanno.datasets.labels import SlideLabels

_BLOCK_PIXELS = 2048


@dataclass(frozen=True, slots=True)
class Grid:
    """Square patches over a slide.

    Parameters
    ----------
    patch, stride : int
        In pixels of the patch.
    downsample : float
        Level-0 pixels per pixel of the patch.
    extent : (width, height)
        Of the slide, in level-0 pixels.
    """

    patch: int
    stride: int
    downsample: float
    extent: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        columns, rows = (self._count(length) for length in self.pixels)
        return (rows, columns)

    @property
    def side(self) -> float:
        """Side of a patch in level-0 pixels."""
        return self.patch * self.downsample

    @property
    def pixels(self) -> tuple[int, int]:
        """Width and height of the slide in pixels of the patches."""
        width, height = (math.ceil(length / self.downsample) for length in self.extent)
        return (width, height)

    def location(self, row: int, column: int) -> tuple[float, float]:
        """Level-0 (x, y) of a patch's top-left corner."""
        step = self.stride * self.downsample
        return (column * step, row * step)

    def touching(self, boxes: NDArray[np.float64]) -> NDArray[np.int64]:
        """Places (row, column) whose patch touches one of the level-0 boxes (x0, y0, x1, y1), sorted, shape (N, 2)."""
        if not len(boxes):
            return np.zeros((0, 2), np.int64)
        rows, columns = self.shape
        step = self.stride * self.downsample
        first = np.floor((boxes[:, :2] - self.side) / step).astype(np.int64) + 1
        last = np.ceil(boxes[:, 2:] / step).astype(np.int64) - 1
        np.clip(first, 0, None, out=first)
        np.clip(last, None, (columns - 1, rows - 1), out=last)
        wanted = np.zeros((rows, columns), bool)
        for (c0, r0), (c1, r1) in zip(first, last, strict=True):
            wanted[r0 : r1 + 1, c0 : c1 + 1] = True
        return np.argwhere(wanted)

    def _count(self, pixels: int) -> int:
        return max(1, math.ceil((pixels - self.patch) / self.stride) + 1)


def count_labels(
    labels: SlideLabels, grid: Grid, *, cancelled: Callable[[], bool] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Annotated pixels of each class in each patch.

    Parameters
    ----------
    labels : SlideLabels
        What is annotated.
    grid : Grid
        Where the patches lie.
    cancelled : callable, optional
        Asked now and then; True ends the work.

    Returns
    -------
    places : int64 array, shape (N, 2)
        Row and column of every patch with at least one labelled pixel, sorted.
    counts : int64 array, shape (N, C)
        Pixels of each class id up to the highest that is shown; column 0 is the unlabelled ones.

    Raises
    ------
    ExportCancelled
        If ``cancelled`` said so.
    """
    width = labels.highest_class + 1
    places = [np.zeros((0, 2), np.int64)]
    counts = [np.zeros((0, width), np.int64)]
    for block, origin, size in _blocks(grid, grid.touching(labels.annotated_boxes())):
        if cancelled is not None and cancelled():
            raise ExportCancelled("Stopped while looking for annotated places.")
        classes = labels.render(grid.location(*origin), grid.downsample, size)
        if not classes.any():
            continue
        places.append(block)
        counts.append(_count_patches(classes, (block - origin) * grid.stride, grid.patch, width))
    every, tally = np.concatenate(places), np.concatenate(counts)
    order = np.lexsort((every[:, 1], every[:, 0]))
    order = order[tally[order, 1:].any(axis=1)]
    return every[order], tally[order]


@njit(cache=True, nogil=True)
def _count_patches(classes: NDArray[np.uint8], corners: NDArray[np.int64], patch: int, width: int) -> NDArray[np.int64]:
    """Pixels of each value below ``width`` in square patches at (top, left) corners, shape (N, width)."""
    counts = np.zeros((len(corners), width), np.int64)
    for number in range(len(corners)):
        top, left = corners[number]
        for y in range(top, top + patch):
            for x in range(left, left + patch):
                counts[number, classes[y, x]] += 1
    return counts


def _blocks(
    grid: Grid, places: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], tuple[int, int], tuple[int, int]]]:
    """Neighbouring places together: the places, row and column of the block's corner, (width, height) in pixels."""
    if not len(places):
        return
    per_side = max(1, (_BLOCK_PIXELS - grid.patch) // grid.stride + 1)
    blocks, member = np.unique(places // per_side, axis=0, return_inverse=True)
    for number in range(len(blocks)):
        block = places[member.ravel() == number]
        corner, last = block.min(0), block.max(0)
        height, width = (last - corner) * grid.stride + grid.patch
        yield block, (int(corner[0]), int(corner[1])), (int(width), int(height))
