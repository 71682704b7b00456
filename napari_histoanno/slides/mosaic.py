"""A level as a grid of tiles that are decoded when needed, kept in the shared cache, and copied together into regions.

Tiles that are missing are decoded by several threads at once, each of which copies its own tile into the region.
Decoding must not wait for other tiles in turn (the threads could then all wait for each other), hence
``parallel=False`` for reads made while decoding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_histoanno.slides.cache import Pixels, decoding_threads, tile_cache

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable


@dataclass(frozen=True)
class Mosaic:
    """One level's tiles.

    Parameters
    ----------
    height, width : int
        Of the level in pixels.
    tile_height, tile_width : int
        Of a tile; those at the right and bottom edge may be larger than what is left of the level, or cut to it.
    key : tuple
        Identity of file and level in the cache.
    load : callable
        (row, column) -> RGB of a tile.
    """

    height: int
    width: int
    tile_height: int
    tile_width: int
    key: tuple[Hashable, ...]
    load: Callable[[int, int], Pixels]

    def read(self, x: int, y: int, w: int, h: int, *, parallel: bool = True) -> Pixels:
        """RGB (h, w, 3) of a region inside the level."""
        region = np.empty((h, w, 3), np.uint8)
        missing = []
        for row in range(y // self.tile_height, (y + h - 1) // self.tile_height + 1):
            for column in range(x // self.tile_width, (x + w - 1) // self.tile_width + 1):
                tile = tile_cache().get((*self.key, row, column))
                if tile is None:
                    missing.append((row, column))
                else:
                    self._copy(tile, row, column, region, (x, y))

        def fetch(place: tuple[int, int]) -> None:
            tile = self.load(*place)
            tile_cache().put((*self.key, *place), tile)
            self._copy(tile, *place, region, (x, y))

        if parallel and len(missing) > 1:
            list(decoding_threads().map(fetch, missing))
        else:
            for place in missing:
                fetch(place)
        return region

    def box(self, row: int, column: int) -> tuple[int, int, int, int]:
        """Top, left, height and width of the part of a tile that lies inside the level."""
        top, left = row * self.tile_height, column * self.tile_width
        return top, left, min(self.tile_height, self.height - top), min(self.tile_width, self.width - left)

    def _copy(self, tile: Pixels, row: int, column: int, region: Pixels, corner: tuple[int, int]) -> None:
        """What a tile and a region with its top left at ``corner`` (x, y) share."""
        (x, y), (top, left, height, width) = corner, self.box(row, column)
        y0, y1 = max(y, top), min(y + region.shape[0], top + height)
        x0, x1 = max(x, left), min(x + region.shape[1], left + width)
        region[y0 - y : y1 - y, x0 - x : x1 - x] = tile[y0 - top : y1 - top, x0 - left : x1 - left]
