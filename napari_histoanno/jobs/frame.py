"""A slide seen as a model sees it: in its pixels, its colours and its magnifications."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_histoanno.datasets.stains import normaliser_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_histoanno.annotation import Bounds
    from napari_histoanno.slides import Slide, TissueMask

    UInt8 = NDArray[np.uint8]

FALLBACK_MPP = 0.5


class SlideFrame:
    """A slide in a model's pixels.

    Parameters
    ----------
    slide : Slide
        Open.
    downsample : float
        Level-0 pixels per pixel of the model.
    stain : mapping, optional
        Look to bring the slide's colours into, as in a model card; the slide is measured now.

    Attributes
    ----------
    size : (int, int)
        Width and height in the model's pixels.
    dimensions : (int, int)
        Width and height in level-0 pixels.
    notice : str
        What a person should know of the slide's colours; "" for nothing.
    """

    def __init__(self, slide: Slide, downsample: float, stain: Mapping[str, Any] | None = None) -> None:
        self._slide = slide
        self.downsample = downsample
        self.dimensions = width, height = slide.dimensions
        self.size = (max(1, math.ceil(width / downsample)), max(1, math.ceil(height / downsample)))
        self._normalise = None if stain is None else normaliser_of(slide, stain)
        self.notice = self._normalise.reason if self._normalise is not None else ""

    def read(self, x: int, y: int, w: int, h: int) -> UInt8:
        """Pixels uint8 (h, w, 3) of the model at (x, y)."""
        return self.read_scaled(x, y, w, h, 1.0)

    def read_scaled(self, x: int, y: int, w: int, h: int, factor: float) -> UInt8:
        """The same at a lower magnification, in pixels that are ``factor`` times larger."""
        scale = self.downsample * factor
        return self._at((x * scale, y * scale), scale, (w, h))

    def _at(self, location: tuple[float, float], scale: float, size: tuple[int, int]) -> UInt8:
        pixels = self._slide.read_scaled(location, scale, size)
        return pixels if self._normalise is None else self._normalise(pixels)

    def view(self, location: tuple[float, float], size: tuple[int, int]) -> UInt8:
        """Pixels uint8 (h, w, 3) of the model from a level-0 (x, y) on."""
        return self._at(location, self.downsample, size)

    def contexts(self, location: tuple[float, float], size: tuple[int, int], factors: Sequence[float]) -> UInt8:
        """What surrounds a `view` at lower magnifications, uint8 (M, h, w, 3), black beyond the slide."""
        return np.stack([self._context(location, size, factor) for factor in factors])

    def _context(self, location: tuple[float, float], size: tuple[int, int], factor: float) -> UInt8:
        scale = self.downsample * factor
        x, y = (start + side * self.downsample * (1 - factor) / 2 for start, side in zip(location, size, strict=True))
        pixels = self._at((x, y), scale, size)
        columns, rows = (start + (np.arange(n) + 0.5) * scale for start, n in zip((x, y), size, strict=True))
        width, height = self.dimensions
        inside = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))
        return pixels if inside.all() else pixels * inside[..., None]

    def holds(self, tissue: TissueMask) -> Callable[[int, int, int, int], bool]:
        """Whether there is tissue in a part of the model's frame."""

        def holds_tissue(x: int, y: int, w: int, h: int) -> bool:
            return tissue.fraction(*(value * self.downsample for value in (x, y, w, h))) > 0

        return holds_tissue

    def region(self, bounds: Bounds | None) -> tuple[int, int, int, int] | None:
        """A level-0 box in model pixels, as (x, y, w, h)."""
        if bounds is None:
            return None
        x0, y0, x1, y1 = (value / self.downsample for value in bounds)
        left, top = math.floor(x0), math.floor(y0)
        return left, top, math.ceil(x1) - left, math.ceil(y1) - top
