"""What surrounds a tile at lower magnifications, each pixel of it read once.

Contexts of neighbouring tiles overlap almost entirely: at a quarter of the magnification a pixel is in sixteen of
them. So the image at each lower magnification is read in chunks, and the chunks are kept as long as rows of tiles
still reach into them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    UInt8 = NDArray[np.uint8]
    Read = Callable[[int, int, int, int], UInt8]
    ReadScaled = Callable[[int, int, int, int, float], UInt8]

CHUNK = 256
"""Side of a chunk, pixels of its magnification."""


class Contexts:
    """Cuts contexts of tiles that come in reading order.

    Parameters
    ----------
    size : (int, int)
        Width and height of the image, pixels.
    tile : int
        Side of a tile and of each context, pixels of their own magnification.
    magnifications : sequence of float
        Sizes of a pixel relative to the image's, the target's 1 first.
    read : callable
        As for `histotrain.predict`.
    read_scaled : callable, optional
        ``read_scaled(x, y, w, h, factor)`` gives uint8 (h, w, 3) of the image reduced by the factor, in pixels of the
        reduced image, which has ``ceil(width / factor)`` columns; never called beyond it. Without it ``read`` is asked
        and the areas are averaged.
    """

    def __init__(
        self,
        size: tuple[int, int],
        tile: int,
        magnifications: Sequence[float],
        read: Read,
        read_scaled: ReadScaled | None = None,
    ) -> None:
        self._tile = tile
        self._levels = [_Level(size, factor, read, read_scaled) for factor in magnifications[1:]]

    def around(self, x: int, y: int) -> UInt8:
        """Contexts of the tile at (x, y), uint8 (M - 1, tile, tile, 3), black beyond the image.

        A corner that falls between two pixels of a magnification is moved to the nearer one.
        """
        half = self._tile / 2
        found = [
            level.cut(round((x + half) / level.factor - half), round((y + half) / level.factor - half), self._tile)
            for level in self._levels
        ]
        return np.stack(found)


class _Level:
    """The image at one magnification, in chunks."""

    def __init__(self, size: tuple[int, int], factor: float, read: Read, read_scaled: ReadScaled | None) -> None:
        self.factor = factor
        self._size = size
        self._width, self._height = (math.ceil(side / factor) for side in size)
        self._read, self._read_scaled = read, read_scaled
        self._chunks: dict[tuple[int, int], UInt8] = {}

    def cut(self, x: int, y: int, side: int) -> UInt8:
        result = np.zeros((side, side, 3), np.uint8)
        x0, y0 = max(x, 0), max(y, 0)
        x1, y1 = min(x + side, self._width), min(y + side, self._height)
        if x1 <= x0 or y1 <= y0:
            return result
        first = y0 // CHUNK
        for passed in [key for key in self._chunks if key[0] < first]:
            del self._chunks[passed]
        for row in range(first, (y1 - 1) // CHUNK + 1):
            for column in range(x0 // CHUNK, (x1 - 1) // CHUNK + 1):
                chunk = self._chunk(row, column)
                top, left = row * CHUNK, column * CHUNK
                r0, c0 = max(y0, top), max(x0, left)
                r1, c1 = min(y1, top + chunk.shape[0]), min(x1, left + chunk.shape[1])
                result[r0 - y : r1 - y, c0 - x : c1 - x] = chunk[r0 - top : r1 - top, c0 - left : c1 - left]
        return result

    def _chunk(self, row: int, column: int) -> UInt8:
        key = (row, column)
        if key not in self._chunks:
            x, y = column * CHUNK, row * CHUNK
            w, h = min(CHUNK, self._width - x), min(CHUNK, self._height - y)
            if self._read_scaled is not None:
                self._chunks[key] = self._read_scaled(x, y, w, h, self.factor)
            else:
                self._chunks[key] = self._reduced(x, y, w, h)
        return self._chunks[key]

    def _reduced(self, x: int, y: int, w: int, h: int) -> UInt8:
        width, height = self._size
        left, top = math.floor(x * self.factor), math.floor(y * self.factor)
        right, bottom = min(width, math.ceil((x + w) * self.factor)), min(height, math.ceil((y + h) * self.factor))
        below = self._read(left, top, right - left, bottom - top)
        return np.asarray(cv2.resize(below, (w, h), interpolation=cv2.INTER_AREA), np.uint8)
