"""Where on a slide there is tissue, so that glass is neither predicted nor sampled.

Stain makes tissue colourful and darker than glass. One score says both, measured against the glass's own colour,
since lamps and mounting media tint it; Otsu's threshold splits the score, but only within limits that tissue and
glass keep everywhere: a slide that is all tissue, or all glass, has no valley to find. Missing tissue costs more than
looking at some glass, so doubtful places count as tissue, except smooth blobs in the colour of ink, which are pen
marks and not tissue.

The other way, by saturation alone, is that of Ciga and Martel (2021), appendix B.1, for studies that follow them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from napari_histoanno.slides.cache import Pixels
    from napari_histoanno.slides.slide import Slide

FALLBACK_MPP = 0.5
MAX_SIDE = 4096
SCORE_LIMITS = (16.0, 40.0)
GLASS_BRIGHTNESS = 190
GLASS_CHROMA = 40
GAP_UM = 24.0
SPECK_UM = 6.0
SMALLEST_TISSUE_MM2 = 0.01
LARGEST_HOLE_MM2 = 4.0
INK_SHARE = 0.15
INK_ROUGHNESS = 3.0
SATURATION = 0.1

TissueMethod = Literal["otsu", "hsv"]

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class TissueMask:
    """Tissue of a slide on a coarse grid.

    Parameters
    ----------
    mask : ndarray, bool, shape (h, w)
        True where there is tissue.
    downsample : float
        Level-0 pixels per mask pixel.
    """

    mask: Mask
    downsample: float

    def fraction(self, x: float, y: float, w: float, h: float) -> float:
        """Share (0 … 1) of a level-0 box that is tissue; what lies outside the slide is not."""
        if w <= 0 or h <= 0:
            return 0.0
        x0, x1 = x / self.downsample, (x + w) / self.downsample
        y0, y1 = y / self.downsample, (y + h) / self.downsample
        tissue = self._sum(x1, y1) - self._sum(x0, y1) - self._sum(x1, y0) + self._sum(x0, y0)
        return min(1.0, max(0.0, tissue / ((x1 - x0) * (y1 - y0))))

    @property
    def bounds(self) -> tuple[int, int, int, int] | None:
        """Level-0 box (x, y, w, h) around all tissue, None if there is none."""
        rows, columns = np.flatnonzero(self.mask.any(1)), np.flatnonzero(self.mask.any(0))
        if not len(rows):
            return None
        x0, y0 = math.floor(columns[0] * self.downsample), math.floor(rows[0] * self.downsample)
        x1, y1 = math.ceil((columns[-1] + 1) * self.downsample), math.ceil((rows[-1] + 1) * self.downsample)
        return x0, y0, x1 - x0, y1 - y0

    @cached_property
    def _integral(self) -> npt.NDArray[np.float64]:
        return np.pad(np.cumsum(np.cumsum(self.mask, 0, dtype=np.float64), 1), ((1, 0), (1, 0)))

    def _sum(self, x: float, y: float) -> float:
        """Tissue in [0, x) × [0, y) of the mask: linear between the corners of a pixel, hence exact for fractions."""
        height, width = self.mask.shape
        x, y = min(max(x, 0.0), width), min(max(y, 0.0), height)
        column, row = min(int(x), width - 1), min(int(y), height - 1)
        fx, fy = x - column, y - row
        corner = self._integral[row : row + 2, column : column + 2]
        return float(np.array([1 - fy, fy]) @ corner @ np.array([1 - fx, fx]))


def tissue_mask(slide: Slide, *, mpp: float = 8.0, method: TissueMethod = "otsu") -> TissueMask:
    """Find the tissue of a slide.

    Parameters
    ----------
    slide : Slide
        Where it does not say its resolution, 0.5 µm per pixel is assumed.
    mpp : float
        Micrometres per pixel to look at; made coarser for slides that would measure more than 4096 px there.
    method : "otsu" or "hsv"
        By `tissue_of` or by `saturated`.

    Returns
    -------
    TissueMask
        Covering the whole slide.

    Raises
    ------
    SlideError
        If the slide cannot be decoded.
    """
    width, height = slide.dimensions
    native = slide.mpp or FALLBACK_MPP
    downsample = max(1.0, mpp / native, max(width, height) / MAX_SIDE)
    size = math.ceil(width / downsample), math.ceil(height / downsample)
    image = slide.read_scaled((0, 0), downsample, size)
    found = tissue_of if method == "otsu" else saturated
    return TissueMask(found(image, mpp=native * downsample), downsample)


def tissue_of(image: Pixels, *, mpp: float) -> Mask:
    """Tissue in a picture.

    Parameters
    ----------
    image : ndarray, uint8, shape (h, w, 3)
        RGB.
    mpp : float
        Micrometres per pixel; decides how large a gap is closed and how small a speck is dropped.

    Returns
    -------
    ndarray, bool, shape (h, w)
    """
    score = _stain_score(cv2.GaussianBlur(image, (3, 3), 0))
    threshold, _ = cv2.threshold(np.clip(score, 0, 255).astype(np.uint8), 0, 255, cv2.THRESH_OTSU)
    mask = (score > min(max(threshold, SCORE_LIMITS[0]), SCORE_LIMITS[1])).astype(np.uint8)
    radius = max(1, min(round(GAP_UM / mpp), min(mask.shape) // 16))
    mask = _morph(mask, cv2.MORPH_CLOSE, radius)
    mask = _morph(mask, cv2.MORPH_OPEN, max(1, round(SPECK_UM / mpp)))
    square_mm = 1e6 / (mpp * mpp)
    smallest = min(SMALLEST_TISSUE_MM2 * square_mm, mask.size / 100)
    tissue = _keep(mask, smallest) & ~_ink(image, mask)
    holes = ~tissue & ~_keep((~tissue).astype(np.uint8), LARGEST_HOLE_MM2 * square_mm, touching_border=True)
    return np.asarray(tissue | holes, np.bool_)


def saturated(image: Pixels, *, mpp: float) -> Mask:
    """Foreground by saturation (Ciga and Martel 2021, appendix B.1).

    Pixels with more than 10 % of the largest possible saturation, with all holes filled, opened by a disc. The paper
    gives no size for that; here it is the radius below which `tissue_of` drops specks.

    Parameters
    ----------
    image : ndarray, uint8, shape (h, w, 3)
        RGB.
    mpp : float
        Micrometres per pixel; decides how small a speck is dropped.

    Returns
    -------
    ndarray, bool, shape (h, w)
    """
    values = image.astype(np.int32)
    high, low = values.max(-1), values.min(-1)
    mask = high - low > SATURATION * high
    filled = ~_keep((~mask).astype(np.uint8), math.inf, touching_border=True)
    opened = _morph(filled.astype(np.uint8), cv2.MORPH_OPEN, max(1, round(SPECK_UM / mpp)))
    return np.asarray(opened > 0, np.bool_)


def _stain_score(image: Pixels) -> npt.NDArray[np.float32]:
    """Colourfulness plus half the darkness of each pixel, relative to the glass; 0 … 382."""
    values = image.astype(np.float32)
    high, low = values.max(-1), values.min(-1)
    glass = (low > GLASS_BRIGHTNESS) & (high - low < GLASS_CHROMA)
    white = np.median(values[glass], axis=0) if glass.mean() > 0.005 else np.full(3, 245, np.float32)
    values = np.minimum(values * (255 / white).astype(np.float32), 255)
    high, low = values.max(-1), values.min(-1)
    return np.asarray(high - low + 0.5 * (255 - values.mean(-1)), np.float32)


def _ink(image: Pixels, mask: npt.NDArray[np.uint8]) -> Mask:
    """Blobs that are smooth and in the colour of ink: haematoxylin and eosin absorb green most, inks seldom do."""
    density = -np.log(np.maximum(image, 1).astype(np.float32) / 255)
    ink = (density[..., 1] < 0.9 * density[..., 0]) | (density[..., 1] < 1.15 * density[..., 2])
    smooth = np.abs(cv2.Laplacian(image[..., 1], cv2.CV_32F)) <= INK_ROUGHNESS
    count, labels = cv2.connectedComponents(mask)
    pixels = np.maximum(np.bincount(labels.ravel(), minlength=count), 1)
    share = np.bincount(labels.ravel(), weights=ink.ravel(), minlength=count) / pixels
    smoothness = np.bincount(labels.ravel(), weights=smooth.ravel(), minlength=count) / pixels
    is_ink = (share > INK_SHARE) & (smoothness > 0.5)
    is_ink[0] = False
    return np.asarray(is_ink[labels], np.bool_)


def _morph(mask: npt.NDArray[np.uint8], operation: int, radius: int) -> npt.NDArray[np.uint8]:
    """Morphology with a disc; beyond the picture it goes on as at its edge, so that edges are not eaten."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    padded = cv2.copyMakeBorder(mask, radius, radius, radius, radius, cv2.BORDER_REPLICATE)
    return np.asarray(cv2.morphologyEx(padded, operation, disc)[radius:-radius, radius:-radius], np.uint8)


def _keep(mask: npt.NDArray[np.uint8], smallest: float, *, touching_border: bool = False) -> Mask:
    """The connected parts with at least ``smallest`` pixels, and those at the picture's border if asked for."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    keep = stats[:count, cv2.CC_STAT_AREA] >= smallest
    if touching_border:
        keep[np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))] = True
    keep[0] = False
    return np.asarray(keep[labels], np.bool_)
