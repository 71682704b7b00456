"""Vendor formats through OpenSlide: MRXS, NDPI, SCN, BIF, VMS, svslide, DICOM and whatever it learns next.

OpenSlide returns premultiplied ARGB; parts that were never scanned are transparent and become white here. A failed
read leaves an OpenSlide handle unusable for good, so the handle is replaced after an error: one damaged tile must not
cost the rest of the slide.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import openslide

from napari_histoanno.slides.cache import decoding_threads
from napari_histoanno.slides.errors import SlideError
from napari_histoanno.slides.rgb import blend_on_white
from napari_histoanno.slides.slide import Level, Slide, SlideInfo
from napari_histoanno.slides.tiff_metadata import mpp_of, number

if TYPE_CHECKING:
    from pathlib import Path

    from napari_histoanno.slides.cache import Pixels

CACHE_BYTES = 256 << 20
BLOCK = 1024

_cache_lock = threading.Lock()
_cache: list[Any] = []


class OpenSlideSlide(Slide):
    """A slide that OpenSlide reads; see `Slide`.

    Parameters
    ----------
    path : Path
        What the user opened: a file, or the folder of a DICOM slide.
    file : Path
        What OpenSlide is given: the file, or one file of the folder.
    """

    def __init__(self, path: Path, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._closed = False
        self._path = path
        self._handle = self._open()
        properties = dict(self._handle.properties)
        status = file.stat()
        self._identity = (str(path), status.st_size, status.st_mtime_ns)
        levels = tuple(
            Level(i, w, h, float(d))
            for i, ((w, h), d) in enumerate(
                zip(self._handle.level_dimensions, self._handle.level_downsamples, strict=True)
            )
        )
        info = SlideInfo(
            levels=levels,
            vendor=properties.get("openslide.vendor", ""),
            mpp_xy=mpp_of(properties),
            objective_power=number(properties.get("openslide.objective-power")),
            properties=properties,
            bounds=_bounds(properties),
        )
        super().__init__(path, info)

    @property
    def cache_key(self) -> tuple[Any, ...]:
        """Path, size and modification time."""
        return self._identity

    def close(self) -> None:
        """Let go of the file once the reads under way are done."""
        self._closed = True
        self._handle = None

    @property
    def tile_size(self) -> tuple[int, int]:
        sides = []
        for side in ("height", "width"):
            text = self.properties.get(f"openslide.level[0].tile-{side}", "")
            sides.append(int(text) if text.isdigit() and 64 <= int(text) <= 2 * BLOCK else 256)
        return sides[0], sides[1]

    def _open(self) -> Any:
        try:
            handle = openslide.OpenSlide(str(self._file))
            handle.set_cache(_shared_cache())
        except (openslide.OpenSlideError, OSError, ValueError) as error:
            raise SlideError(
                self._path,
                f"OpenSlide cannot read it ({error})",
                "copy the slide again, with all its files",
            ) from error
        return handle

    def _current(self) -> Any:
        with self._lock:
            if self._closed:
                raise SlideError(self._path, "the slide has been closed", "open it again")
            if self._handle is None:
                self._handle = self._open()
            return self._handle

    def read_region(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> Pixels:
        """As `Slide.read_region`; small regions exactly as OpenSlide gives them."""
        if max(size) > BLOCK or min(size) <= 0 or not 0 <= level < len(self.levels):
            return super().read_region(location, level, size)
        return self._read(lambda handle: handle.read_region(location, level, size))

    def read_inside(self, level: int, x: int, y: int, w: int, h: int) -> Pixels:
        if w <= BLOCK and h <= BLOCK:
            return self._read_block(level, x, y, w, h)
        region = np.empty((h, w, 3), np.uint8)

        def load(corner: tuple[int, int]) -> None:
            row, column = corner
            block = self._read_block(level, x + column, y + row, min(BLOCK, w - column), min(BLOCK, h - row))
            region[row : row + block.shape[0], column : column + block.shape[1]] = block

        list(decoding_threads().map(load, [(r, c) for r in range(0, h, BLOCK) for c in range(0, w, BLOCK)]))
        return region

    def _read_block(self, level: int, x: int, y: int, w: int, h: int) -> Pixels:
        """Level pixels; OpenSlide wants level-0 coordinates, rounded so that they land on the same pixel."""
        downsample = self.levels[level].downsample
        location = round(x * downsample), round(y * downsample)
        return self._read(lambda handle: handle.read_region(location, level, (w, h)))

    def _read(self, ask: Any) -> Pixels:
        """Ask the shared handle; after an error a private one, as the error may be that of a read in another thread."""
        handle = self._current()
        try:
            return _rgb(ask(handle))
        except (openslide.OpenSlideError, OSError):
            with self._lock:
                if self._handle is handle:
                    self._handle = None
        try:
            return _rgb(ask(self._open()))
        except (openslide.OpenSlideError, OSError) as error:
            reason = f"the file is truncated or damaged: {error}"
            raise SlideError(self._path, reason, "copy it again from its source") from error

    def associated_names(self) -> tuple[str, ...]:
        return tuple(self._current().associated_images)

    def read_associated(self, name: str) -> Pixels:
        return self._read(lambda handle: handle.associated_images[name])

    def _files(self) -> list[Path]:
        """The file and its companions: MRXS keeps its pixels in a folder of the same name, DICOM in sibling files."""
        folder = self.path if self.path.is_dir() else self.path.with_suffix("")
        companions = sorted(p for p in folder.iterdir() if p.is_file()) if folder.is_dir() else []
        return companions if self.path.is_dir() else [self.path, *companions]

    def _main_file(self) -> Path:
        return max(self._files(), key=lambda file: (file.stat().st_size, file.name))


def detect(path: Path) -> str | None:
    """OpenSlide's name of the format, None if it does not know the file."""
    try:
        vendor = openslide.OpenSlide.detect_format(str(path))
    except (openslide.OpenSlideError, OSError, ValueError):
        return None
    return None if vendor is None else str(vendor)


def _rgb(picture: Any) -> Pixels:
    """A PIL picture with alpha, on white."""
    image = np.asarray(picture)
    if image[..., 3].min(initial=255) == 255:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGBA2RGB), np.uint8)
    return blend_on_white(image[..., :3], image[..., 3], premultiplied=False)


def _shared_cache() -> Any:
    """One tile cache for all slides of the process."""
    with _cache_lock:
        if not _cache:
            _cache.append(openslide.OpenSlideCache(CACHE_BYTES))
        return _cache[0]


def _bounds(properties: dict[str, str]) -> tuple[int, int, int, int] | None:
    values = [properties.get(f"openslide.bounds-{name}", "") for name in ("x", "y", "width", "height")]
    if not all(value.lstrip("-").isdigit() for value in values):
        return None
    x, y, w, h = (int(value) for value in values)
    return x, y, w, h
