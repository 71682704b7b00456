"""Plain pictures (PNG, JPEG, BMP, …) held in memory, so that a photograph or an exported region is annotated like a
slide.

Pixels are taken as stored: a camera's orientation tag is not applied, since annotations refer to the stored grid.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from napari_histoanno.slides.errors import SlideError
from napari_histoanno.slides.rgb import MIN_IS_BLACK, RGB, UNASSOCIATED_ALPHA, ColourModel, white_of
from napari_histoanno.slides.slide import Slide, SlideInfo, levels_of

if TYPE_CHECKING:
    from pathlib import Path

    from napari_histoanno.slides.cache import Pixels

TOO_LARGE = "convert it to a tiled, pyramidal TIFF (QuPath, Bio-Formats and vips can)"


class RasterSlide(Slide):
    """A picture in memory; see `Slide`."""

    def __init__(self, path: Path) -> None:
        status = path.stat()
        self._identity = (str(path), status.st_size, status.st_mtime_ns)
        kind, pixels = _load(path)
        self._pixels: Pixels | None = pixels
        height, width = pixels.shape[:2]
        super().__init__(path, SlideInfo(levels=levels_of([(width, height)]), vendor=kind))

    @property
    def cache_key(self) -> tuple[Any, ...]:
        """Path, size and modification time."""
        return self._identity

    def close(self) -> None:
        """Free the picture's memory."""
        self._pixels = None

    @property
    def tile_size(self) -> tuple[int, int]:
        return 512, 512

    def read_inside(self, level: int, x: int, y: int, w: int, h: int) -> Pixels:
        pixels = self._pixels
        if pixels is None:
            raise SlideError(self.path, "the slide has been closed", "open it again")
        return pixels[y : y + h, x : x + w].copy()


def _load(path: Path) -> tuple[str, Pixels]:
    """Kind of file and RGB of a picture."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                return (image.format or "picture").lower(), _rgb(image)
    except Image.DecompressionBombError as error:
        raise SlideError(path, f"the picture is too large to hold in memory ({error})", TOO_LARGE) from error
    except UnidentifiedImageError as error:
        hint = "check that it is a slide or a picture, and that it was copied whole"
        raise SlideError(path, "no reader knows this kind of file", hint) from error
    except (Exception, MemoryError) as error:
        reason = f"the picture is truncated or damaged ({error})"
        raise SlideError(path, reason, "copy it again, or save it anew in another program") from error


def _rgb(image: Image.Image) -> Pixels:
    if image.mode in {"I;16", "I;16B", "I;16L", "I", "F"}:
        samples = np.asarray(image)
        samples = samples.astype(np.uint16) if image.mode.startswith("I") and samples.min() >= 0 else samples
        white = white_of(samples.dtype, samples.dtype.itemsize * 8, float(samples.max()))
        return ColourModel(MIN_IS_BLACK, 1, white).to_rgb(samples[..., None])
    if "A" in image.getbands() or "transparency" in image.info:
        return ColourModel(RGB, 4, alpha=UNASSOCIATED_ALPHA).to_rgb(np.asarray(image.convert("RGBA")))
    return np.array(image.convert("RGB"))
