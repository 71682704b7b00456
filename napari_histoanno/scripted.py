"""An annotator that follows a script: what a person would do on an unknown H&E slide in a few minutes.

It clicks on nuclei in a few fields rich in them, draws short lines through stroma, through plain cytoplasm and over
empty glass, and leaves the rest unlabelled. The demonstration and the end-to-end tests use it on slides of which nobody
has the truth, so it marks only what is clear and keeps its distance from what is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from scipy import ndimage
from skimage.color import rgb2hed
from skimage.filters import threshold_otsu
from skimage.measure import label, regionprops

from napari_histoanno.annotation import Granularity, LabelScheme, Point, Scribble

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from napari_histoanno.annotation import Geometry
    from napari_histoanno.slides import Slide

NUCLEUS, CYTOPLASM, STROMA, GLASS = "Nucleus", "Cytoplasm", "Stroma", "Background"

_OVERVIEW_MPP = 4.0
_FIELD_UM = 256.0
_FIELD_MPP = 0.5
_FIELDS_LOOKED_AT = 32
_LEAST_TISSUE = 0.3
_SMOOTH_UM = 0.7
_SURROUNDINGS_UM = 32.0
_NUCLEUS_UM2 = (14.0, 130.0)
_COMPACT = 0.88
_ROUND = 0.9
_CLEAR_UM = 1.0
_PINK = 0.48
_LEAST_EOSIN = 0.15
_INK = 1.1
_PURPLE = 0.52
_DENSE = 1.4
_STROKE_UM = 4.0
_FINE_STROKE_UM = 2.5
_GLASS_SATURATION = 18
_DEFAULT_MPP = 0.5


@dataclass(frozen=True, slots=True)
class Mark:
    """One thing the annotator does: a native shape of one class."""

    geometry: Geometry
    granularity: Granularity
    class_name: str


def scheme() -> LabelScheme:
    """The classes this annotator knows."""
    named = LabelScheme.from_names([NUCLEUS, CYTOPLASM, STROMA, GLASS], background=GLASS)
    colors = {NUCLEUS: (70, 50, 220), CYTOPLASM: (255, 170, 30), STROMA: (60, 180, 90), GLASS: (150, 160, 170)}
    for entry in named:
        named = named.with_changed(entry.id, color=colors[entry.name])
    return named


def annotate(slide: Slide, *, fields: int = 3, clicks: int = 25, strokes: int = 10, seed: int = 0) -> list[Mark]:
    """Marks for a slide that nobody has annotated.

    Parameters
    ----------
    slide : Slide
        Any H&E slide; without a pixel size 0.5 µm is taken.
    fields : int
        Fields of view in which nuclei are clicked, and as many in which stroma is marked.
    clicks, strokes : int
        Most nuclei clicked and most lines drawn in each field.
    seed : int
        Decides which of the clear places are taken.

    Returns
    -------
    list of Mark
        Level-0 pixels. Empty if the slide shows no tissue.
    """
    rng = np.random.default_rng(seed)
    looked_at = [_look(slide, corner) for corner in _tissue_fields(slide, _FIELDS_LOOKED_AT, rng)]
    marks: list[Mark] = []
    for field in sorted(looked_at, key=lambda field: len(field.nuclei), reverse=True)[:fields]:
        marks += [Mark(Point(*field.to_level0(xy)), Granularity.POINT, NUCLEUS) for xy in field.nuclei[:clicks]]
    for name, pen_um in ((STROMA, _STROKE_UM), (CYTOPLASM, _FINE_STROKE_UM)):
        for field in sorted(looked_at, key=lambda field: int(field.plain[name].sum()), reverse=True)[: 2 * fields]:
            lines = _lines_inside(field.plain[name], pen_um / field.mpp, strokes, rng)
            marks += _scribbles([[field.to_level0(xy) for xy in line] for line in lines], pen_um / _mpp(slide), name)
    return marks + _glass_marks(slide, strokes, rng)


@dataclass(frozen=True, slots=True)
class _Field:
    """What one field of view shows clearly: centres of nuclei, the clearest first, and where there is plain tissue."""

    corner: tuple[float, float]
    downsample: float
    mpp: float
    nuclei: list[tuple[float, float]]
    plain: dict[str, NDArray[np.bool_]]

    def to_level0(self, xy: Sequence[float]) -> tuple[float, float]:
        return (self.corner[0] + xy[0] * self.downsample, self.corner[1] + xy[1] * self.downsample)


def _mpp(slide: Slide) -> float:
    return slide.mpp or _DEFAULT_MPP


def _tissue_fields(slide: Slide, count: int, rng: np.random.Generator) -> list[tuple[float, float]]:
    """Level-0 corners of fields that hold tissue, on a grid without overlap, in random order."""
    mpp = _mpp(slide)
    coarse = max(_OVERVIEW_MPP, mpp)
    width, height = (max(1, int(side * mpp / coarse)) for side in slide.dimensions)
    tissue = _tissue(slide.read_mpp((0, 0), coarse, (width, height)))
    side = max(1, int(_FIELD_UM / coarse))
    corners = [
        (x * coarse / mpp, y * coarse / mpp)
        for y in range(0, max(1, height - side // 2), side)
        for x in range(0, max(1, width - side // 2), side)
        if tissue[y : y + side, x : x + side].mean() > _LEAST_TISSUE
    ]
    return [corners[i] for i in rng.permutation(len(corners))[:count]]


def _tissue(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    saturation = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2HSV)[..., 1], (0, 0), 2)
    threshold = max(_GLASS_SATURATION, 0.6 * float(threshold_otsu(saturation))) if np.ptp(saturation) else 255
    return np.asarray(saturation > threshold)


def _look(slide: Slide, corner: tuple[float, float]) -> _Field:
    mpp = _mpp(slide)
    shown = max(_FIELD_MPP, mpp)
    downsample = shown / mpp
    side = int(_FIELD_UM / shown)
    size = [
        max(1, int(min(side, (whole - start) / downsample)))
        for whole, start in zip(slide.dimensions, corner, strict=True)
    ]
    image = slide.read_mpp(corner, shown, (size[0], size[1]))
    haematoxylin = ndimage.gaussian_filter(rgb2hed(image)[..., 0], _SMOOTH_UM / shown)
    dark = _darker_than_surroundings(haematoxylin, shown) & _tissue(image) & ~_ink(image, shown)
    clear = ~ndimage.binary_dilation(dark, iterations=max(1, int(_CLEAR_UM / shown)))
    plain = {name: where & clear for name, where in _plain_tissue(image, shown).items()}
    return _Field(corner, downsample, shown, _clear_nuclei(dark, shown), plain)


def _darker_than_surroundings(haematoxylin: NDArray[np.float64], mpp: float) -> NDArray[np.bool_]:
    window = int(_SURROUNDINGS_UM / mpp) | 1
    mean = cv2.blur(haematoxylin, (window, window))
    spread = np.sqrt(np.maximum(cv2.blur(haematoxylin**2, (window, window)) - mean**2, 0))
    dark = haematoxylin > mean + 0.7 * spread
    return np.asarray(ndimage.binary_opening(dark, iterations=max(1, int(1.0 / mpp))))


def _clear_nuclei(dark: NDArray[np.bool_], mpp: float) -> list[tuple[float, float]]:
    """Centres (x, y) of round, compact spots of a nucleus's size, the most compact first."""
    found = []
    for spot in regionprops(label(dark)):
        area = spot.area * mpp**2
        if _NUCLEUS_UM2[0] < area < _NUCLEUS_UM2[1] and spot.solidity > _COMPACT and spot.eccentricity < _ROUND:
            row, col = spot.centroid
            found.append((float(spot.solidity), (float(col) + 0.5, float(row) + 0.5)))
    return [center for _, center in sorted(found, reverse=True)]


def _densities(image: NDArray[np.uint8], mpp: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Optical density of red and green light, smoothed."""
    smooth = cv2.GaussianBlur(image, (0, 0), _SMOOTH_UM / mpp).astype(np.float32)
    density = -np.log((smooth + 1) / 256)
    return density[..., 0], density[..., 1]


def _ink(image: NDArray[np.uint8], mpp: float) -> NDArray[np.bool_]:
    """Blue and green marker: absorbs more red than green, which no histological stain does."""
    red, green = _densities(image, mpp)
    return np.asarray(red > _INK * green)


def _plain_tissue(image: NDArray[np.uint8], mpp: float) -> dict[str, NDArray[np.bool_]]:
    """Stroma lets red light pass and green not; epithelium absorbs both, though not as densely as keratin."""
    red, green = _densities(image, mpp)
    stained = green > _LEAST_EOSIN
    purple = (red > _PURPLE * green) & (red < green) & (green < _DENSE)
    return {STROMA: stained & (red < _PINK * green), CYTOPLASM: stained & _tissue(image) & purple}


def _glass_marks(slide: Slide, strokes: int, rng: np.random.Generator) -> list[Mark]:
    mpp = _mpp(slide)
    coarse = max(_OVERVIEW_MPP / 2, mpp)
    width, height = (max(1, int(side * mpp / coarse)) for side in slide.dimensions)
    image = slide.read_mpp((0, 0), coarse, (width, height))
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    clear = (cv2.GaussianBlur(hsv[..., 1], (0, 0), 1) < _GLASS_SATURATION) & (hsv[..., 2] > 200)
    distance_um = _STROKE_UM * 2
    lines = _lines_inside(clear, distance_um / coarse, strokes, rng)
    return _scribbles((line * (coarse / mpp) for line in lines), distance_um / mpp, GLASS)


def _lines_inside(
    allowed: NDArray[np.bool_], width: float, count: int, rng: np.random.Generator
) -> list[NDArray[np.float64]]:
    """Straight strokes of this width (px) that stay wholly inside a mask, spread over it, as (x, y) vertices."""
    padded = np.pad(allowed, 1)
    room = cv2.distanceTransform(padded.astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    places = np.argwhere(room > width / 2 + 1)
    lines: list[NDArray[np.float64]] = []
    taken = np.zeros(allowed.shape, bool)
    for _ in range(20 * count):
        if len(lines) == count or not len(places):
            break
        row, col = places[rng.integers(len(places))]
        angle = rng.uniform(0, np.pi)
        length = width * rng.uniform(4, 10)
        steps = np.linspace(-length / 2, length / 2, 12)
        xs, ys = col + 0.5 + steps * np.cos(angle), row + 0.5 + steps * np.sin(angle)
        inside = (xs >= 0) & (ys >= 0) & (xs < allowed.shape[1]) & (ys < allowed.shape[0])
        if not inside.all():
            continue
        at = ys.astype(int), xs.astype(int)
        if (room[at] > width / 2 + 0.5).all() and not taken[at].any():
            lines.append(np.stack([xs, ys], 1))
            reach = int(2 * width)
            taken[max(0, row - reach) : row + reach, max(0, col - reach) : col + reach] = True
    return lines


def _scribbles(lines: Iterable[Iterable[Sequence[float]]], width: float, class_name: str) -> list[Mark]:
    return [
        Mark(Scribble(tuple((float(x), float(y)) for x, y in line), width), Granularity.SPARSE, class_name)
        for line in lines
    ]
