"""Overlapping tiles over a large image, and the weights that blend them.

Tiles lie on a fixed grid that starts in the image's upper left corner, whatever part of the image is wanted: a region
predicted alone is then the same as the region of the whole. Neighbours share ``overlap`` pixels in which one fades
out as the other fades in, so the weights of every pixel sum to 1 and no pixel next to a tile's border, where the
network sees little, counts for much.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class TileGrid:
    """Tiles of an image.

    Parameters
    ----------
    width, height : int
        Size of the image, pixels.
    tile : int
        Side of a tile; the last ones reach beyond the image.
    overlap : int
        Pixels shared by neighbours, less than half a tile.
    """

    width: int
    height: int
    tile: int
    overlap: int

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"an image has at least one pixel, not {self.width} x {self.height}")
        if not 0 <= 2 * self.overlap < self.tile:
            raise ValueError(f"the overlap {self.overlap} must be less than half the tile {self.tile}")

    @property
    def stride(self) -> int:
        return self.tile - self.overlap

    @property
    def columns(self) -> int:
        return self._count(self.width)

    @property
    def rows(self) -> int:
        return self._count(self.height)

    def _count(self, length: int) -> int:
        return max(1, -(-(length - self.overlap) // self.stride))

    def inside(self, row: int, column: int) -> tuple[int, int, int, int]:
        """The part (x, y, w, h) of a tile that lies in the image."""
        x, y = column * self.stride, row * self.stride
        return x, y, min(self.tile, self.width - x), min(self.tile, self.height - y)

    def block(self, row: int, column: int) -> tuple[int, int, int, int]:
        """What (x, y, w, h) no tile after this one, in reading order, changes; blocks partition the image."""
        x, y, w, h = self.inside(row, column)
        return (
            x,
            y,
            w if column == self.columns - 1 else self.stride,
            h if row == self.rows - 1 else self.stride,
        )

    def window(self, row: int, column: int) -> NDArray[np.float32]:
        """Weight of each pixel of a tile, float32 (tile, tile)."""
        down = self._profiles[(row > 0, row < self.rows - 1)]
        across = self._profiles[(column > 0, column < self.columns - 1)]
        return down[:, None] * across[None, :]

    @cached_property
    def _profiles(self) -> dict[tuple[bool, bool], NDArray[np.float32]]:
        """Weights along one side of a tile, by whether it has a neighbour before and after it."""
        t = (np.arange(self.overlap, dtype=np.float64) + 0.5) / max(1, self.overlap)
        rise = t * t * (3 - 2 * t)
        profiles = {}
        for before in (False, True):
            for after in (False, True):
                profile = np.ones(self.tile)
                if before:
                    profile[: self.overlap] = rise
                if after:
                    profile[self.tile - self.overlap :] = 1 - rise
                profiles[(before, after)] = profile.astype(np.float32)
        return profiles


def window_overlap(window: int) -> int:
    """Pixels that neighbouring windows of a classifier share: half of them."""
    return (window - 1) // 2


def window_tile(window: int, tile: int) -> int:
    """Side of the tile of about ``tile`` pixels in which windows that overlap by half fit without a rest."""
    stride = window - window_overlap(window)
    return window + max(1, (tile - window) // stride) * stride


def padded(image: NDArray[np.uint8], tile: int) -> NDArray[np.uint8]:
    """The tile in full: beyond the image its border is repeated."""
    h, w = image.shape[:2]
    if (h, w) == (tile, tile):
        return image
    return np.pad(image, ((0, tile - h), (0, tile - w), (0, 0)), mode="symmetric" if 2 * min(h, w) >= tile else "edge")
