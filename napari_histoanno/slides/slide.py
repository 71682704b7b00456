"""What every slide can do, whatever file it comes from.

A backend says what is in the file and reads pixels that lie inside one of its levels (`read_inside`). Everything else
(regions that hang over the edges, levels the file does not have, resampling to µm/px, napari's and dask's views,
fingerprints) is resolved here once, so that it cannot differ between formats.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

import cv2
import numpy as np

from napari_histoanno.slides.errors import SlideError
from napari_histoanno.slides.pyramid import LazyLevel, build_pyramid

if TYPE_CHECKING:
    from pathlib import Path

    from dask.array import Array

    from napari_histoanno.slides.cache import Pixels

FINGERPRINT_BLOCKS = 16
FINGERPRINT_BLOCK_BYTES = 1 << 16
MAX_REGION_PIXELS = 1 << 31
SNAP = 1 / 256


@dataclass(frozen=True, slots=True)
class Level:
    """One resolution that is stored in the file.

    Parameters
    ----------
    index : int
        Position in ``Slide.levels``; 0 is the finest.
    width, height : int
        Size in pixels of this level.
    downsample : float
        Level-0 pixels per pixel of this level.
    """

    index: int
    width: int
    height: int
    downsample: float


@dataclass(frozen=True, slots=True)
class SlideInfo:
    """What a backend found out about a file when it opened it."""

    levels: tuple[Level, ...]
    vendor: str = ""
    mpp_xy: tuple[float, float] | None = None
    objective_power: float | None = None
    properties: Mapping[str, str] = field(default_factory=dict)
    bounds: tuple[int, int, int, int] | None = None


def levels_of(sizes: list[tuple[int, int]]) -> tuple[Level, ...]:
    """Levels of the given (width, height), the downsample being the mean of both axes, as OpenSlide has it."""
    width, height = sizes[0]
    return tuple(Level(i, w, h, 1.0 if i == 0 else (width / w + height / h) / 2) for i, (w, h) in enumerate(sizes))


class Slide(ABC):
    """A slide, read lazily; open one with `open_slide`.

    Reads are thread-safe. A pickled slide is its path: the other process opens the file by itself.

    Attributes
    ----------
    path : Path
        The file, or the folder of a DICOM slide.
    levels : tuple of Level
        The resolutions stored in the file, finest first.
    mpp_xy : (float, float) or None
        Micrometres per level-0 pixel along x and y.
    objective_power : float or None
        Magnification of the objective, 20 or 40 as a rule.
    vendor : str
        Scanner family as OpenSlide names it, or the file's kind.
    properties : mapping of str to str
        Everything else that the file says.
    bounds : (x, y, w, h) or None
        Level-0 box outside of which the scanner took no picture.
    """

    def __init__(self, path: Path, info: SlideInfo) -> None:
        self.path = path
        self.levels = info.levels
        self.mpp_xy = info.mpp_xy
        self.objective_power = info.objective_power
        self.vendor = info.vendor
        self.properties: Mapping[str, str] = MappingProxyType(dict(info.properties))
        self.bounds = info.bounds

    @property
    def dimensions(self) -> tuple[int, int]:
        """(width, height) of level 0 in pixels."""
        return self.levels[0].width, self.levels[0].height

    @property
    def mpp(self) -> float | None:
        """Micrometres per level-0 pixel, the mean of both axes; None where the file does not say."""
        return None if self.mpp_xy is None else sum(self.mpp_xy) / 2

    @cached_property
    def associated(self) -> Mapping[str, Pixels]:
        """Label, macro, thumbnail … by name, uint8 RGB (h, w, 3), decoded when asked for."""
        return _LazyImages(self)

    @cached_property
    def pyramid(self) -> list[LazyLevel]:
        """Array-likes (h, w, 3) uint8, finest first: the file's levels and the 2× steps it lacks, down to ≤ 1024 px."""
        return build_pyramid(self)

    def read_region(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> Pixels:
        """Pixels of a region of one of the file's levels.

        Parameters
        ----------
        location : (x, y)
            Top left corner in level-0 pixels, whatever the level; may lie outside the slide.
        level : int
            Index into ``levels``.
        size : (width, height)
            In pixels of that level.

        Returns
        -------
        ndarray, uint8, shape (height, width, 3)
            RGB; white outside the slide. Where ``location`` falls between two pixels of the level, the result is
            interpolated linearly, as OpenSlide's is: nothing is displaced by rounding.

        Raises
        ------
        SlideError
            If the file's data there cannot be decoded.
        ValueError
            For a level the file does not have, or a negative or absurd size.
        """
        if not 0 <= level < len(self.levels):
            raise ValueError(f"level {level} is not one of 0 … {len(self.levels) - 1}")
        (x, dx), (y, dy) = (_split(value / self.levels[level].downsample) for value in location)
        if not (dx or dy) or 0 in size:
            return self.read_level(level, (x, y), size)
        wider = self.read_level(level, (x, y), (size[0] + 1, size[1] + 1))
        rows = cv2.addWeighted(wider[:, :-1], 1 - dx, wider[:, 1:], dx, 0) if dx else wider[:, :-1]
        return np.asarray(cv2.addWeighted(rows[:-1], 1 - dy, rows[1:], dy, 0) if dy else rows[:-1], np.uint8)

    def read_level(self, level: int, location: tuple[int, int], size: tuple[int, int]) -> Pixels:
        """As `read_region`, with the location in pixels of the level itself."""
        (x, y), (w, h) = location, size
        if w < 0 or h < 0 or w * h > MAX_REGION_PIXELS:
            raise ValueError(f"cannot read a region of {w} × {h} pixels")
        known = self.levels[level]
        x0, y0 = max(x, 0), max(y, 0)
        x1, y1 = min(x + w, known.width), min(y + h, known.height)
        if x1 <= x0 or y1 <= y0:
            return np.full((h, w, 3), 255, np.uint8)
        inside = self.read_inside(level, x0, y0, x1 - x0, y1 - y0)
        if inside.shape[:2] == (h, w):
            return inside
        region = np.full((h, w, 3), 255, np.uint8)
        region[y0 - y : y1 - y, x0 - x : x1 - x] = inside
        return region

    def read_mpp(self, location: tuple[float, float], mpp: float, size: tuple[int, int]) -> Pixels:
        """Pixels of a region resampled to ``mpp``, from the level that suits best.

        Areas are averaged where pixels shrink, and interpolated linearly where they grow or hardly change (averaging
        0.499 to 0.5 µm would only blur). Fractions count: pixel (i, j) of the result covers
        ``location + (j, i) * mpp / slide.mpp`` onward.

        Parameters
        ----------
        location : (x, y)
            Top left corner in level-0 pixels, fractions allowed.
        mpp : float
            Micrometres per pixel wanted.
        size : (width, height)
            In pixels at ``mpp``.

        Returns
        -------
        ndarray, uint8, shape (height, width, 3)

        Raises
        ------
        SlideError
            If the slide does not say its resolution, or cannot be decoded there.
        """
        if self.mpp is None:
            raise SlideError(
                self.path, "the file does not say how many micrometres a pixel measures", "enter the resolution by hand"
            )
        return self.read_scaled(location, mpp / self.mpp, size)

    def read_scaled(self, location: tuple[float, float], downsample: float, size: tuple[int, int]) -> Pixels:
        """As `read_mpp`, with level-0 pixels per pixel of the result instead of a resolution."""
        if not (math.isfinite(downsample) and downsample > 0):
            raise ValueError(f"cannot read with {downsample} level-0 pixels per pixel")
        finer = [level for level in self.pyramid if level.downsample <= downsample * 1.001]
        source = finer[-1] if finer else self.pyramid[0]
        return source.resample(location, downsample, size)

    def dask(self, level: int) -> Array:
        """Dask array (h, w, 3) uint8 of ``pyramid[level]``, in chunks of whole tiles of about 2048 px."""
        import dask.array as da

        source = self.pyramid[level]
        chunks = tuple(max(1, round(2048 / tile)) * tile for tile in source.chunks[:2])
        name = f"slide-{self.fingerprint()}-{level}"
        return da.from_array(source, chunks=(*chunks, 3), name=name, meta=np.empty((0, 0, 0), np.uint8))

    def thumbnail(self, max_size: tuple[int, int] = (1024, 1024)) -> Pixels:
        """The whole slide, uint8 RGB, as large as fits into ``max_size`` (width, height)."""
        width, height = self.dimensions
        downsample = max(1.0, width / max_size[0], height / max_size[1])
        size = max(1, int(width / downsample)), max(1, int(height / downsample))
        finer = [level for level in self.pyramid if level.shape[1] >= size[0] and level.shape[0] >= size[1]]
        source = finer[-1] if finer else self.pyramid[0]
        return np.asarray(cv2.resize(source[:, :], size, interpolation=cv2.INTER_AREA), np.uint8)

    def fingerprint(self) -> str:
        """Hex SHA-256 of the files' sizes and of blocks sampled over the main file: fast, differs between slides."""
        digest = hashlib.sha256()
        try:
            for file in self._files():
                digest.update(f"{file.name}:{file.stat().st_size};".encode() if file != self.path else b"")
            main = self._main_file()
            size = main.stat().st_size
            digest.update(f"{size};".encode())
            last = max(0, size - FINGERPRINT_BLOCK_BYTES)
            with main.open("rb") as stream:
                for i in range(FINGERPRINT_BLOCKS):
                    stream.seek(last * i // (FINGERPRINT_BLOCKS - 1))
                    digest.update(stream.read(FINGERPRINT_BLOCK_BYTES))
        except OSError as error:
            raise SlideError(self.path, f"the file cannot be read: {error}", "check that it is still there") from error
        return digest.hexdigest()

    @abstractmethod
    def close(self) -> None:
        """Let go of the file; reads under way in other threads still finish. Closing twice is fine."""

    @abstractmethod
    def read_inside(self, level: int, x: int, y: int, w: int, h: int) -> Pixels:
        """RGB (h, w, 3) of a non-empty region inside the level, in the level's own pixels; the caller's to keep."""

    @property
    @abstractmethod
    def tile_size(self) -> tuple[int, int]:
        """(height, width) of the blocks that are cheap to read."""

    def associated_names(self) -> tuple[str, ...]:
        return ()

    def read_associated(self, name: str) -> Pixels:
        raise KeyError(name)

    def _files(self) -> list[Path]:
        """Every file that the slide consists of."""
        return [self.path]

    def _main_file(self) -> Path:
        """The file with the pixels, or most of them."""
        return self.path

    @property
    def cache_key(self) -> tuple[Any, ...]:
        """Identity of the file for the tile cache."""
        return (str(self.path),)

    def __enter__(self) -> Self:
        """Context manager that closes the slide."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close."""
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the path."""
        from napari_histoanno.slides.open import open_slide

        return open_slide, (self.path,)

    def __repr__(self) -> str:
        """Path, size, number of levels and resolution."""
        width, height = self.dimensions
        mpp = f"{self.mpp:.4g} µm/px" if self.mpp else "resolution unknown"
        return f"<{type(self).__name__} {self.path.name!r}: {width} × {height} px, {len(self.levels)} level(s), {mpp}>"


def _split(position: float) -> tuple[int, float]:
    """A position in level pixels as pixel and fraction; left of and above the slide OpenSlide drops the fraction."""
    whole = math.floor(position + SNAP) if position >= 0 else math.ceil(position)
    fraction = max(0.0, position - whole)
    return whole, fraction if fraction > SNAP else 0.0


class _LazyImages(Mapping[str, "Pixels"]):
    """The associated images, each decoded when first asked for."""

    def __init__(self, slide: Slide) -> None:
        self._slide = slide
        self._names = slide.associated_names()
        self._decoded: dict[str, Pixels] = {}

    def __getitem__(self, name: str) -> Pixels:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._decoded:
            self._decoded[name] = self._slide.read_associated(name)
        return self._decoded[name]

    def __iter__(self) -> Any:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
