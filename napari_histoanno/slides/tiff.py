"""Tiled and stripped TIFF, SVS and OME-TIFF pyramids.

tifffile reads the structure, then every tile is fetched with one positioned read and decoded by imagecodecs straight
into an array: no intermediate zarr or dask graph, no lock, one shared cache. Pyramids in SubIFDs (OME-TIFF), of which
OpenSlide sees level 0 only, are read in full.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import tifffile

from napari_histoanno.slides.errors import SlideError
from napari_histoanno.slides.mosaic import Mosaic
from napari_histoanno.slides.rgb import MIN_IS_BLACK, PALETTE, RGB, YCBCR, ColourModel, white_of
from napari_histoanno.slides.slide import Slide, SlideInfo, levels_of
from napari_histoanno.slides.tiff_chain import check_pages
from napari_histoanno.slides.tiff_metadata import mpp_of, number, properties_of
from napari_histoanno.slides.tiff_segments import (
    APERIO_YCBCR,
    JPEG,
    WEBP,
    PositionedFile,
    Segments,
    segments_of,
)

if TYPE_CHECKING:
    from pathlib import Path

    from napari_histoanno.slides.cache import Pixels
    from napari_histoanno.slides.rgb import Samples

ASSOCIATED = {"thumbnail", "label", "macro", "overview"}
ASPECT_TOLERANCE = 0.02
MAX_ASSOCIATED_PIXELS = 1 << 27
PROBED_TILES = 16


@dataclass(frozen=True)
class _Image:
    """One picture of the file, ready to be read."""

    width: int
    height: int
    planes: tuple[Segments, ...]
    separate: int
    colour: ColourModel
    dtype: np.dtype[Any]
    bits: int

    @property
    def columns(self) -> int:
        return -(-self.width // self.planes[0].width)

    @property
    def rows(self) -> int:
        return -(-self.height // self.planes[0].height)


class TiffSlide(Slide):
    """A TIFF, SVS or OME-TIFF; see `Slide`."""

    def __init__(self, path: Path) -> None:
        try:
            self._file: PositionedFile | None = PositionedFile(path)
            self._identity = self._file.identity
            check_pages(self._file)
            with tifffile.TiffFile(path) as tiff:
                series = tiff.series
                images = [_image(path, level) for level in _levels(tiff)]
                self._associated_images = _associated(path, series)
                properties = properties_of(tiff)
        except SlideError:
            raise
        except (Exception, MemoryError) as error:
            reason = f"it is not a TIFF that can be read, or it is damaged ({error})"
            raise SlideError(path, reason, "copy the file again, or check that it opens in another program") from error
        self._images = self._with_white(_believable(images))
        self._mosaics = [
            Mosaic(
                image.height,
                image.width,
                image.planes[0].height,
                image.planes[0].width,
                (*self._identity, level),
                partial(self._load, level),
            )
            for level, image in enumerate(self._images)
        ]
        info = SlideInfo(
            levels=levels_of([(image.width, image.height) for image in self._images]),
            vendor=properties["openslide.vendor"],
            mpp_xy=mpp_of(properties),
            objective_power=number(properties.get("openslide.objective-power")),
            properties=properties,
        )
        super().__init__(path, info)

    def _with_white(self, images: list[_Image]) -> list[_Image]:
        """The images, with 16-bit and float samples scaled by the brightest sample of the coarsest one."""
        coarsest = images[-1]
        if coarsest.colour.palette is not None or coarsest.bits <= 8:
            return images
        tiles = coarsest.rows * coarsest.columns
        brightest = 0.0
        for index in range(0, tiles, max(1, tiles // PROBED_TILES)):
            samples = _decode(self._open_file(), coarsest, *divmod(index, coarsest.columns))
            if samples is not None:
                brightest = max(brightest, float(np.nanmax(samples)))
        white = white_of(coarsest.dtype, coarsest.bits, brightest)
        return [replace(image, colour=replace(image.colour, white=white)) for image in images]

    @property
    def cache_key(self) -> tuple[Any, ...]:
        """Path, size and modification time."""
        return self._identity

    def close(self) -> None:
        """Let go of the file."""
        self._file = None

    @property
    def tile_size(self) -> tuple[int, int]:
        first = self._images[0].planes[0]
        return first.height, min(first.width, self._images[0].width)

    def read_inside(self, level: int, x: int, y: int, w: int, h: int) -> Pixels:
        self._open_file()
        return self._mosaics[level].read(x, y, w, h)

    def _load(self, level: int, row: int, column: int) -> Pixels:
        samples = _decode(self._open_file(), self._images[level], row, column)
        if samples is None:
            return self._invent(level, row, column)
        return self._images[level].colour.to_rgb(samples)

    def _invent(self, level: int, row: int, column: int) -> Pixels:
        """What a tile that was never written shows: the finer level, shrunk, as scanners mean it, or glass."""
        mosaic = self._mosaics[level]
        top, left, h, w = mosaic.box(row, column)
        if level == 0:
            return np.full((h, w, 3), 255, np.uint8)
        finer = self._mosaics[level - 1]
        fy, fx = finer.height / mosaic.height, finer.width / mosaic.width
        y0, x0 = math.floor(top * fy), math.floor(left * fx)
        y1, x1 = min(finer.height, math.ceil((top + h) * fy)), min(finer.width, math.ceil((left + w) * fx))
        below = finer.read(x0, y0, x1 - x0, y1 - y0, parallel=False)
        return np.asarray(cv2.resize(below, (w, h), interpolation=cv2.INTER_AREA), np.uint8)

    def _open_file(self) -> PositionedFile:
        if self._file is None:
            raise SlideError(self.path, "the slide has been closed", "open it again")
        return self._file

    def associated_names(self) -> tuple[str, ...]:
        return tuple(self._associated_images)

    def read_associated(self, name: str) -> Pixels:
        image = self._associated_images[name]
        if image.width * image.height > MAX_ASSOCIATED_PIXELS:
            raise SlideError(self.path, f"its {name} image claims {image.width} × {image.height} px")
        file = self._open_file()

        def load(row: int, column: int) -> Pixels:
            samples = _decode(file, image, row, column)
            return np.full((th, tw, 3), 255, np.uint8) if samples is None else image.colour.to_rgb(samples)

        th, tw = image.planes[0].height, image.planes[0].width
        mosaic = Mosaic(image.height, image.width, th, tw, (*self._identity, name), load)
        return mosaic.read(0, 0, image.width, image.height)


def _decode(file: PositionedFile, image: _Image, row: int, column: int) -> Samples | None:
    """Samples (h, w, s) of a tile, None if it was never written."""
    index = row * image.columns + column
    channels = []
    for plane in image.planes:
        for i in range(index, index + image.rows * image.columns * image.separate, image.rows * image.columns):
            offset, count = int(plane.offsets[i]), int(plane.counts[i])
            if count == 0:
                return None
            data = file.read(offset, count)
            try:
                channels.append(plane.decode(data, i))
            except (Exception, MemoryError) as error:
                where = f"tile {row}, {column} of the {image.width} × {image.height} px image"
                raise SlideError(
                    file.path,
                    f"the file is damaged: {where} cannot be decoded ({error})",
                    "copy it again from its source",
                ) from error
    samples = channels[0] if len(channels) == 1 else np.concatenate(channels, axis=-1)
    height = min(image.planes[0].height, image.height - row * image.planes[0].height)
    width = min(image.planes[0].width, image.width - column * image.planes[0].width)
    if samples.shape[0] < height or samples.shape[1] < width or samples.shape[2] != image.colour.samples:
        raise SlideError(file.path, f"the file is damaged: tile {row}, {column} has the shape {samples.shape}")
    return samples


def _image(path: Path, series: Any) -> _Image:
    """Planes and colours of one level of a tifffile series: a page, or three pages that are the colours."""
    pages = _pages(path, series)
    page = pages[0]
    planes = tuple(segments_of(path, p) for p in pages)
    if len({(p.height, p.width, len(p.counts)) for p in planes}) > 1:
        raise SlideError(path, "its colour planes have different tiles", "save it again as an RGB TIFF")
    extra = tuple(page.extrasamples or ())
    palette = None
    if page.photometric == PALETTE and page.colormap is not None:
        palette = (np.asarray(page.colormap).T >> 8).astype(np.uint8)
    per_page = int(page.samplesperpixel)
    photometric = RGB if len(pages) == 3 or (page.photometric == MIN_IS_BLACK and per_page > 2) else _photometric(page)
    colour = ColourModel(
        photometric=photometric,
        samples=per_page * len(pages),
        white=white_of(page.dtype, int(page.bitspersample), 0),
        alpha=int(extra[-1]) if extra and extra[-1] in {1, 2} else 0,
        palette=palette,
    )
    if colour.problem():
        raise SlideError(path, colour.problem(), "convert it to an 8-bit RGB TIFF")
    separate = per_page if page.planarconfig != 1 else 1
    size = int(page.imagewidth), int(page.imagelength)
    return _Image(*size, planes, separate, colour, page.dtype, int(page.bitspersample))


def _levels(tiff: tifffile.TiffFile) -> list[Any]:
    """The main series' levels, and the pages that OpenSlide takes for levels and tifffile for other pictures."""
    main, *others = tiff.series
    tiled = bool(main.keyframe.is_tiled)
    levels = list(main.levels)
    for other in others:
        page = other.keyframe
        if page.subifds is None and bool(page.is_tiled) is tiled and (page.is_reduced or (tiff.is_svs and tiled)):
            levels.extend(other.levels)
    return levels


def _associated(path: Path, series: Any) -> dict[str, _Image]:
    """Label, macro and thumbnail; one that cannot be read must not keep the slide from opening."""
    found = {}
    for other in series[1:]:
        name = str(other.name).lower().split(" ")[0]
        if name in ASSOCIATED and not (series[0].keyframe.is_tiled and other.keyframe.is_tiled):
            with contextlib.suppress(SlideError):
                found[name] = _image(path, other)
    return found


def _pages(path: Path, series: Any) -> list[Any]:
    """The page or pages that hold the colours of the first time point and the middle of a focus stack."""
    keyframe = series.keyframe
    leading = len(series.shape) - len(keyframe.shape)
    axes, shape = series.axes[: max(0, leading)], series.shape[: max(0, leading)]
    channels = 3 if "C" in axes and shape[axes.index("C")] == 3 and keyframe.samplesperpixel == 1 else 1
    if "C" in axes and shape[axes.index("C")] not in {1, 3}:
        reason = f"it holds {shape[axes.index('C')]} channels, not the three colours of a brightfield image"
        raise SlideError(path, reason, "convert it to an 8-bit RGB TIFF")
    chosen = []
    for channel in range(channels):
        index = [channel if a == "C" else n // 2 if a == "Z" else 0 for a, n in zip(axes, shape, strict=True)]
        flat = int(np.ravel_multi_index(index, shape)) if index else 0
        page = series.pages[flat] if flat < len(series.pages) else None
        if page is None or page.parent is not series.keyframe.parent:
            raise SlideError(path, "some of its planes are missing or in other files", "save it as one RGB TIFF")
        chosen.append(page.aspage())
    return chosen


def _photometric(page: Any) -> int:
    """The colour model after decoding."""
    if page.compression == APERIO_YCBCR:
        return YCBCR
    decodes_to_rgb = page.compression in JPEG or page.compression == WEBP
    return RGB if page.photometric == YCBCR and decodes_to_rgb else int(page.photometric)


def _believable(images: list[_Image]) -> list[_Image]:
    """Level 0 and those that look like smaller versions of it, finest first."""
    first = images[0]
    kept = [first]
    for image in sorted(images[1:], key=lambda i: -i.width):
        fx, fy = first.width / image.width, first.height / image.height
        rounding = 1 / min(image.width, image.height)
        if image.width < kept[-1].width and abs(fx / fy - 1) <= ASPECT_TOLERANCE + rounding:
            kept.append(image)
    return kept
