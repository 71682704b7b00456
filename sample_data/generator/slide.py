"""Making one slide: plan, nuclei, ground, stain, scan."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .chromatin import paint
from .ground import Dyes, Regions, lay_ground, outline_regions
from .nuclei import BENIGN, NEOPLASTIC, Nuclei, place
from .scanner import scan
from .stain import STYLES, StainStyle, transmit
from .tissue import draw_plan
from .truth import SyntheticSlide

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .fields import Mask

SMALLEST = 256
SMALLEST_NUCLEUS = 24


def make_slide(seed: int, size: tuple[int, int] = (4096, 3072), style: str | StainStyle = "harbour") -> SyntheticSlide:
    """Synthetic H&E slide at 0.5 µm/px with exact ground truth.

    Parameters
    ----------
    seed : int
        Equal seeds, sizes and styles give equal slides.
    size : (int, int)
        Width and height in pixels, at least 256. Needs about 170 bytes of memory per pixel.
    style : str or StainStyle
        Laboratory: a name of ``STYLES`` or one of your own.

    Raises
    ------
    ValueError
        If the style is unknown or the slide too small.
    """
    if isinstance(style, str):
        if style not in STYLES:
            raise ValueError(f"no stain style {style!r}; there are {', '.join(STYLES)}")
        style = STYLES[style]
    if min(size) < SMALLEST:
        raise ValueError(f"a slide needs at least {SMALLEST} x {SMALLEST} pixels, not {size[0]} x {size[1]}")
    layout_rng, place_rng, paint_rng, ground_rng, scan_rng = np.random.default_rng(seed).spawn(5)
    style = style.varied(scan_rng)
    shape = (size[1], size[0])
    plan = draw_plan(size, layout_rng)
    regions = outline_regions(plan, shape, layout_rng)
    nuclei = _where_they_belong(place(plan, place_rng), regions)
    painted = paint(nuclei, shape, paint_rng)
    dyes = lay_ground(plan, regions, painted.instances, style.cleft, ground_rng)
    _stain_nuclei(dyes, painted.dye, painted.cover)
    light = transmit(dyes.haematoxylin, dyes.eosin, dyes.red_cells, style)
    image = scan(light, style, scan_rng)
    instances, kinds = _numbered(painted.instances, nuclei)
    return SyntheticSlide(image, regions.classes, instances, kinds, style.name, seed)


def _where_they_belong(nuclei: Nuclei, regions: Regions) -> Nuclei:
    """Without the nuclei whose centre the roughened borders left outside of their tissue."""
    height, width = regions.classes.shape
    inside = (nuclei.x >= 0) & (nuclei.x < width) & (nuclei.y >= 0) & (nuclei.y < height)
    nuclei = nuclei.take(np.flatnonzero(inside))
    here = regions.classes[nuclei.y.astype(int), nuclei.x.astype(int)]
    kept: Mask = (here != 6) & np.where(nuclei.kind == NEOPLASTIC, here == 1, True)
    kept &= np.where(nuclei.kind == BENIGN, here == 2, True)
    return nuclei.take(np.flatnonzero(kept))


def _stain_nuclei(dyes: Dyes, dye: NDArray[np.float32], cover: NDArray[np.float32]) -> None:
    dyes.haematoxylin[...] = dyes.haematoxylin * (1 - 0.8 * cover) + dye
    dyes.eosin[...] *= 1 - 0.1 * cover
    dyes.red_cells[...] *= 1 - cover


def _numbered(instances: NDArray[np.int32], nuclei: Nuclei) -> tuple[NDArray[np.int32], dict[int, int]]:
    """Ids 1 … n in order, without what others cover so far that only a sliver shows."""
    areas = np.bincount(instances.ravel(), minlength=len(nuclei) + 1)
    seen = areas >= SMALLEST_NUCLEUS
    seen[0] = False
    new = np.zeros(len(areas), np.int32)
    new[seen] = np.arange(1, np.count_nonzero(seen) + 1)
    kinds = nuclei.kind[np.flatnonzero(seen) - 1]
    return new[instances], {i: int(kind) for i, kind in enumerate(kinds, 1)}
