"""What the stains of a slide are measured from, the same for training patches and for predictions.

A thumbnail of a whole slide mixes the colours of nuclei with those around them, and more so the larger the slide is:
the same tissue would be given another look on a larger slide. So the sample is read at one resolution for all slides,
from places spread evenly over the tissue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from histotrain.stain_use import SlideNormaliser, slide_normaliser
from napari_histoanno.slides.tissue import FALLBACK_MPP, tissue_mask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from napari_histoanno.slides import Slide

SAMPLE_MPP = 1.0
_TILES = 24
_SIDE = 192


def stain_sample(slide: Slide) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Tiles of tissue at 1 µm per pixel, from which the stains of a slide are measured.

    Parameters
    ----------
    slide : Slide
        Any; where it does not say its resolution, 0.5 µm per pixel is assumed.

    Returns
    -------
    pixels : uint8 array, shape (N * 192, 192, 3)
        At most 24 tiles below each other; none where there is no tissue.
    tissue : bool array, shape (N * 192, 192)
        Where they show tissue.

    Raises
    ------
    SlideError
        If the slide cannot be decoded.
    """
    found = tissue_mask(slide)
    downsample = max(1.0, SAMPLE_MPP / (slide.mpp or FALLBACK_MPP))
    side = _SIDE * downsample
    places = np.argwhere(found.mask)
    chosen = places[np.unique(np.linspace(0, len(places) - 1, _TILES).round().astype(int))] if len(places) else places
    corners = (chosen[:, ::-1] + 0.5) * found.downsample - side / 2
    width, height = slide.dimensions
    pixels = np.empty((len(corners) * _SIDE, _SIDE, 3), np.uint8)
    tissue = np.zeros(pixels.shape[:2], bool)
    for number, (x, y) in enumerate(corners.tolist()):
        rows = slice(number * _SIDE, (number + 1) * _SIDE)
        pixels[rows] = slide.read_scaled((x, y), downsample, (_SIDE, _SIDE))
        xs, ys = (np.floor(start + (np.arange(_SIDE) + 0.5) * downsample).astype(int) for start in (x, y))
        inside = ((ys >= 0) & (ys < height))[:, None] & ((xs >= 0) & (xs < width))
        coarse_y = np.clip(ys / found.downsample, 0, found.mask.shape[0] - 1).astype(int)
        coarse_x = np.clip(xs / found.downsample, 0, found.mask.shape[1] - 1).astype(int)
        tissue[rows] = found.mask[np.ix_(coarse_y, coarse_x)] & inside
    return pixels, tissue


def normaliser_of(slide: Slide, target: Mapping[str, Any]) -> SlideNormaliser:
    """The change that brings all tiles of a slide into a target look.

    Parameters
    ----------
    slide : Slide
        Whose tiles they are.
    target : mapping
        A look as ``StainLook.to_dict`` gives it, such as the ``target`` of a model card's ``stain``.

    Returns
    -------
    SlideNormaliser
        It changes nothing, and says why, where the slide has no stains to measure.
    """
    return slide_normaliser(str(target["method"]), target, *stain_sample(slide))
