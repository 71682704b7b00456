"""Joining overlapping tile predictions into finished blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from histotrain.tiling import TileGrid

    UInt8 = NDArray[np.uint8]
    Floats = NDArray[np.float32]


class Canvas:
    """Sums weighted tiles in reading order and hands out each block as soon as no later tile can change it.

    Parameters
    ----------
    grid : TileGrid
    columns : range
        Columns of the tiles that will be added in each row.
    channels : int
        K, channels of a tile.
    """

    def __init__(self, grid: TileGrid, columns: range, channels: int) -> None:
        self._grid, self._columns = grid, columns
        self._below = np.zeros((grid.overlap, len(columns) * grid.stride + grid.overlap, channels), dtype=np.float32)
        self._right = np.zeros((grid.tile, grid.overlap, channels), dtype=np.float32)
        self._sums = np.zeros((grid.tile, grid.tile, channels), dtype=np.float32)

    def add(self, row: int, column: int, values: Floats | None) -> Floats | None:
        """Add the next tile, float32 (tile, tile, K), or None for a skipped one.

        Returns
        -------
        float32, shape (h, w, K), or None
            The weighted sums of the block (`TileGrid.block`) that is finished now, valid until the next call; None if
            no tile reached it.
        """
        grid, sums = self._grid, self._sums
        overlap, stride = grid.overlap, grid.stride
        left = (column - self._columns.start) * stride
        if column == self._columns.start:
            self._right[...] = 0
        if values is None:
            sums[...] = 0
        else:
            np.multiply(values, grid.window(row, column)[..., None], out=sums)
        above = self._below[:, left : left + grid.tile]
        sums[:overlap] += above
        above[...] = 0
        sums[:, :overlap] += self._right
        self._right[...] = sums[:, stride:]
        wide = grid.tile if column == self._columns[-1] else stride
        self._below[:, left : left + wide] = sums[stride:, :wide]
        _, _, w, h = grid.block(row, column)
        return None if values is None and not sums[:h, :w].any() else sums[:h, :w]


def decide(sums: Floats, class_ids: UInt8) -> tuple[UInt8, UInt8, UInt8]:
    """The class of each pixel, its confidence and all probabilities, from weighted sums of probabilities.

    Parameters
    ----------
    sums : float32, shape (h, w, C)
        The sum over C is the weight of the tiles that reached the pixel; below a half, the pixel counts as not
        predicted.
    class_ids : uint8, shape (C,)
        Class id of each channel.

    Returns
    -------
    classes, confidence, probabilities
        uint8 (h, w) class ids, uint8 (h, w) and uint8 (C, h, w) where 255 is 1; all 0 where not predicted.
    """
    height, width, channels = sums.shape
    classes = np.zeros((height, width), dtype=np.uint8)
    confidence = np.zeros((height, width), dtype=np.uint8)
    probabilities = np.zeros((channels, height, width), dtype=np.uint8)
    _decide(sums, class_ids, classes, confidence, probabilities)
    return classes, confidence, probabilities


@numba.njit(cache=True, nogil=True)  # pragma: no cover (compiled)
def _decide(sums: Floats, class_ids: UInt8, classes: UInt8, confidence: UInt8, probabilities: UInt8) -> None:
    height, width, channels = sums.shape
    for i in range(height):
        for j in range(width):
            weight = np.float32(0.0)
            best = 0
            for c in range(channels):
                weight += sums[i, j, c]
                if sums[i, j, c] > sums[i, j, best]:
                    best = c
            if weight < 0.5:
                continue
            scale = np.float32(255.0) / weight
            for c in range(channels):
                probabilities[c, i, j] = np.uint8(min(sums[i, j, c] * scale + np.float32(0.5), np.float32(255.0)))
            classes[i, j] = class_ids[best]
            confidence[i, j] = probabilities[best, i, j]
