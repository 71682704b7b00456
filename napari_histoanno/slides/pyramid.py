"""The levels of a slide as lazy arrays, with the 2× steps that the file lacks.

Files step by 2, 4 or more, or hold one level only. Viewers then read up to sixteen times the pixels they show, and a
thumbnail reads everything. Each missing level halves the one before it: a pixel is the mean of the 2 × 2 below it,
made tile by tile when asked for and kept in the tile cache. A level drops an odd last row or column, as OpenSlide's
own levels do, so pixel (i, j) always covers exactly [j·d, (j+1)·d) of level 0.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from napari_histoanno.slides.cache import tile_cache

if TYPE_CHECKING:
    from napari_histoanno.slides.cache import Pixels
    from napari_histoanno.slides.slide import Slide

COARSEST = 1024
SYNTHETIC_TILE = 512
WORKING_PIXELS = 1 << 24
NEARLY_ONE = 1.2


class LazyLevel:
    """One level as an array (h, w, 3) uint8 that reads what is sliced; napari and dask take it as an array.

    Attributes
    ----------
    downsample : float
        Level-0 pixels per pixel.
    chunks : (int, int, int)
        Blocks that are cheap to read.
    native : bool
        Whether the file itself stores this level.
    """

    ndim = 3
    dtype = np.dtype(np.uint8)

    def __init__(self, slide: Slide, shape: tuple[int, int], downsample: float, chunks: tuple[int, int]) -> None:
        self.slide = slide
        self.shape = (*shape, 3)
        self.downsample = downsample
        self.chunks = (*chunks, 3)

    @property
    def native(self) -> bool:
        """Whether the file itself stores this level."""
        raise NotImplementedError

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the whole level when read."""
        return self.size

    def __len__(self) -> int:
        """Rows."""
        return self.shape[0]

    def read(self, x: int, y: int, w: int, h: int) -> Pixels:
        """Region inside the level, in the level's own pixels."""
        raise NotImplementedError

    def __getitem__(self, key: Any) -> Any:
        """Pixels of a NumPy index made of integers, slices and an ellipsis."""
        rows, columns, channels = _expand(key)
        (y0, y1, pick_y), (x0, x1, pick_x) = _span(rows, self.shape[0]), _span(columns, self.shape[1])
        if y1 <= y0 or x1 <= x0:
            block = np.empty((max(0, y1 - y0), max(0, x1 - x0), 3), np.uint8)
        else:
            block = self.read(x0, y0, x1 - x0, y1 - y0)
        return block[pick_y][(slice(None), pick_x) if isinstance(pick_y, slice) else (pick_x,)][..., channels]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """Read everything."""
        whole = self.read(0, 0, self.shape[1], self.shape[0])
        return whole if dtype is None else whole.astype(dtype, copy=False)

    def resample(self, location: tuple[float, float], downsample: float, size: tuple[int, int]) -> Pixels:
        """Region with another number of level-0 pixels per pixel; see `Slide.read_scaled`."""
        width, height = size
        if width <= 0 or height <= 0:
            return np.empty((max(0, height), max(0, width), 3), np.uint8)
        scale = downsample / self.downsample
        x, y = location[0] / self.downsample, location[1] / self.downsample
        rows = max(1, int(WORKING_PIXELS / max(1.0, scale * scale * width)))
        if height <= rows:
            return self._resample((x, y), scale, size)
        return np.concatenate(
            [
                self._resample((x, y + first * scale), scale, (width, min(rows, height - first)))
                for first in range(0, height, rows)
            ]
        )

    def _resample(self, location: tuple[float, float], scale: float, size: tuple[int, int]) -> Pixels:
        (x, y), (width, height) = location, size
        x0, y0 = math.floor(x + 1e-6) - 1, math.floor(y + 1e-6) - 1
        x1, y1 = math.ceil(x + width * scale - 1e-6) + 1, math.ceil(y + height * scale - 1e-6) + 1
        source = self.read_padded(x0, y0, x1 - x0, y1 - y0)
        dx, dy = x - x0, y - y0
        if abs(scale - round(scale)) < 1e-6 and abs(dx - 1) < 1e-6 and abs(dy - 1) < 1e-6:
            exact = source[1 : 1 + height * round(scale), 1 : 1 + width * round(scale)]
            return exact if round(scale) == 1 else _shrink(exact, size)
        if scale > NEARLY_ONE:
            # Shift to the corner first (a linear shift by less than a pixel), then average areas: cv2 has no
            # area averaging with an offset, and dropping the fraction would displace labels against pixels.
            span = max(width, math.ceil(width * scale)), max(height, math.ceil(height * scale))
            step = width * scale / span[0], height * scale / span[1]
            return _shrink(_warp(source, (dx, dy), step, span), size)
        return _warp(source, (dx, dy), (scale, scale), size)

    def read_padded(self, x: int, y: int, w: int, h: int) -> Pixels:
        """Region in the level's own pixels that may hang over the edges, which are white."""
        x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + w, self.shape[1]), min(y + h, self.shape[0])
        if (x0, y0, x1, y1) == (x, y, x + w, y + h):
            return self.read(x, y, w, h)
        region = np.full((h, w, 3), 255, np.uint8)
        if x1 > x0 and y1 > y0:
            region[y0 - y : y1 - y, x0 - x : x1 - x] = self.read(x0, y0, x1 - x0, y1 - y0)
        return region

    def __repr__(self) -> str:
        """Shape and origin."""
        return f"<{type(self).__name__} {self.shape} 1:{self.downsample:g} of {self.slide.path.name!r}>"


class NativeLevel(LazyLevel):
    """A level that the file stores."""

    native = True

    def __init__(self, slide: Slide, index: int) -> None:
        level = slide.levels[index]
        super().__init__(slide, (level.height, level.width), level.downsample, slide.tile_size)
        self.index = index

    def read(self, x: int, y: int, w: int, h: int) -> Pixels:
        return self.slide.read_inside(self.index, x, y, w, h)


class HalvedLevel(LazyLevel):
    """A level that is half the one before it."""

    native = False

    def __init__(self, source: LazyLevel) -> None:
        height, width, _ = source.shape
        shape = max(1, height // 2), max(1, width // 2)
        super().__init__(source.slide, shape, source.downsample * 2, (SYNTHETIC_TILE, SYNTHETIC_TILE))
        self.source = source

    def read(self, x: int, y: int, w: int, h: int) -> Pixels:
        region = np.empty((h, w, 3), np.uint8)
        for row in range(y // SYNTHETIC_TILE, -(-(y + h) // SYNTHETIC_TILE)):
            for column in range(x // SYNTHETIC_TILE, -(-(x + w) // SYNTHETIC_TILE)):
                tile = self._tile(row, column)
                top, left = row * SYNTHETIC_TILE, column * SYNTHETIC_TILE
                y0, y1 = max(y, top), min(y + h, top + tile.shape[0])
                x0, x1 = max(x, left), min(x + w, left + tile.shape[1])
                region[y0 - y : y1 - y, x0 - x : x1 - x] = tile[y0 - top : y1 - top, x0 - left : x1 - left]
        return region

    def _tile(self, row: int, column: int) -> Pixels:
        key = (*self.slide.cache_key, "halved", self.downsample, row, column)
        tile = tile_cache().get(key)
        if tile is None:
            top, left = row * SYNTHETIC_TILE, column * SYNTHETIC_TILE
            h, w = min(SYNTHETIC_TILE, self.shape[0] - top), min(SYNTHETIC_TILE, self.shape[1] - left)
            below_h, below_w = min(2 * h, self.source.shape[0]), min(2 * w, self.source.shape[1])
            tile = _shrink(self.source.read(2 * left, 2 * top, below_w, below_h), (w, h))
            tile_cache().put(key, tile)
        return tile


def build_pyramid(slide: Slide) -> list[LazyLevel]:
    """The file's levels, halved ones where the next is much more than 2× away, and more down to `COARSEST`."""
    pyramid: list[LazyLevel] = []
    for index, level in enumerate(slide.levels):
        while pyramid and level.downsample / pyramid[-1].downsample > 3:
            pyramid.append(HalvedLevel(pyramid[-1]))
        pyramid.append(NativeLevel(slide, index))
    while max(pyramid[-1].shape) > COARSEST:
        pyramid.append(HalvedLevel(pyramid[-1]))
    return pyramid


def _shrink(source: Pixels, size: tuple[int, int]) -> Pixels:
    return np.asarray(cv2.resize(source, size, interpolation=cv2.INTER_AREA), np.uint8)


def _warp(source: Pixels, offset: tuple[float, float], step: tuple[float, float], size: tuple[int, int]) -> Pixels:
    """Linear interpolation: pixel (i, j) is the source at ``offset + (j + ½, i + ½) * step`` (corner-based)."""
    matrix = np.array(
        [[step[0], 0, offset[0] + step[0] / 2 - 0.5], [0, step[1], offset[1] + step[1] / 2 - 0.5]], np.float64
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(source, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, np.uint8)


def _expand(key: Any) -> tuple[Any, Any, Any]:
    """An index for rows, columns and channels, whatever was left out."""
    keys = list(key) if isinstance(key, tuple) else [key]
    dots = [i for i, k in enumerate(keys) if k is Ellipsis]
    if dots:
        missing = 3 - (len(keys) - 1)
        keys[dots[0] : dots[0] + 1] = [slice(None)] * missing
    keys += [slice(None)] * (3 - len(keys))
    if len(keys) != 3 or not all(isinstance(k, slice) or hasattr(k, "__index__") for k in keys):
        raise IndexError(f"slides are sliced with up to three integers and slices, not {key!r}")
    return keys[0], keys[1], keys[2]


def _span(key: Any, length: int) -> tuple[int, int, Any]:
    """First and last pixel to read, and the index into what was read."""
    if not isinstance(key, slice):
        index = key.__index__()
        if not -length <= index < length:
            raise IndexError(f"index {index} is outside of {length} pixels")
        index %= length
        return index, index + 1, 0
    wanted = range(*key.indices(length))
    if not wanted:
        return 0, 0, slice(None)
    first, last = min(wanted[0], wanted[-1]), max(wanted[0], wanted[-1])
    return first, last + 1, slice(None, None, wanted.step)
