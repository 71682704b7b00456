"""Which patches are taken, what class they have as a whole, and how often each is drawn.

These are the rules of the papers, as a recipe names them; what a paper leaves open is said where it is decided.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_histoanno.annotation import Granularity
from napari_histoanno.datasets.frame import Frame
from napari_histoanno.datasets.instances import drawn_objects, render_instances, whole_objects
from napari_histoanno.slides.tissue import tissue_mask

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from histotrain.recipes.settings import SamplingSettings
    from napari_histoanno.annotation import LabelScheme
    from napari_histoanno.datasets.grid import Grid
    from napari_histoanno.datasets.labels import SlideLabels
    from napari_histoanno.slides import Slide
    from napari_histoanno.slides.tissue import TissueMask

DENSE = 0.5
"""Share of labelled pixels from which on a patch counts as densely annotated."""

MOST_COPIES = 63
"""Copies that `copies` gives a class at most: one patch would else fill whole batches."""


def class_order(scheme: LabelScheme) -> tuple[int, ...]:
    """Class ids from the lowest grade to the highest; the background is below all others."""
    return tuple(label.id for label in sorted(scheme.by_grade(), key=lambda label: not label.background))


def highest_class(counts: NDArray[np.int64], order: tuple[int, ...]) -> NDArray[np.uint8]:
    """The class of patches that counts: the only one in a patch, else the last in the class order.

    That is the rule of the granularity study ("the highest grade label") and of Ho et al. (2021), section 2.3 ("a class
    with a higher class order").

    Parameters
    ----------
    counts : int64 array, shape (N, C)
        Pixels of each class id in each patch.
    order : tuple of int
        Class ids, the last one counts most.

    Returns
    -------
    uint8 array, shape (N,)
        0 where nothing is labelled.
    """
    result = np.zeros(len(counts), np.uint8)
    for class_id in order:
        if class_id < counts.shape[1]:
            result[counts[:, class_id] > 0] = class_id
    return result


def tile_kinds(counts: NDArray[np.int64], dominant: float) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Which patches teach classification and which segmentation (Ciga and Martel 2021, section 3.3).

    A patch of which one class covers at least ``dominant`` is a classification patch; any other with exactly two
    classes is a segmentation patch; the rest is neither. Unlabelled pixels are no class.

    Parameters
    ----------
    counts : int64 array, shape (N, C)
        Pixels of each class id in each patch; column 0 is the unlabelled ones.
    dominant : float
        Share of the whole patch.

    Returns
    -------
    classes : uint8 array, shape (N,)
        Class of the classification patches, 0 for the others.
    segments : bool array, shape (N,)
        The segmentation patches.
    """
    labelled = counts.copy()
    labelled[:, 0] = 0
    most = labelled.argmax(1)
    covers = labelled.max(1) >= dominant * counts.sum(1)
    classes = np.where(covers, most, 0).astype(np.uint8)
    return classes, (classes == 0) & ((labelled > 0).sum(1) == 2)


def copies(counts: NDArray[np.int64], classes: NDArray[np.uint8]) -> dict[int, int]:
    """Elastic copies of each patch of a class that even out the labelled pixels: r_c of Ho et al. (2021), section 2.3.

    The paper says that "the rate can be selected based on the number of pixels in each class" and no more. Here
    r_c = round(P_max / P_c) - 1 with P_c the labelled pixels of class c in all training patches, at most 63.

    A patch with r_c copies is drawn 1 + r_c times as often as one without, and in r_c of 1 + r_c draws it is bent (see
    `bending`): the same share of an epoch as in the paper, but bent anew each time, where the paper stores r_c bent
    copies and sees those again and again.

    Parameters
    ----------
    counts : int64 array, shape (N, C)
        Pixels of each class id in each patch.
    classes : uint8 array, shape (N,)
        The class for which each patch counts.

    Returns
    -------
    dict from class id to int
        0 for the commonest class.
    """
    present = sorted({int(class_id) for class_id in classes} - {0})
    pixels = {class_id: int(counts[:, class_id].sum()) for class_id in present}
    most = max(pixels.values(), default=0)
    return {c: min(MOST_COPIES, max(0, round(most / max(1, pixels[c])) - 1)) for c in present}


class Admission:
    """Which places of a slide are taken.

    Parameters
    ----------
    settings : SamplingSettings
        What a patch must show.
    open_slide : callable
        Gives an open slide by its id, to look for tissue.
    """

    def __init__(self, settings: SamplingSettings, open_slide: Callable[[str], Slide]) -> None:
        self._settings = settings
        self._open_slide = open_slide
        self._tissue: dict[str, TissueMask] = {}

    @property
    def takes_all(self) -> bool:
        """Whether every place with something labelled is taken."""
        asked = self._settings
        return asked.min_annotated == 0 and asked.tissue == "none" and not asked.whole_object

    @property
    def asked(self) -> str:
        """What is asked of a patch, in words."""
        wanted = self._settings
        words = [f"more than {wanted.min_annotated:.0%} labelled"] if wanted.min_annotated else []
        words += ["one whole object"] if wanted.whole_object else []
        words += [f"{wanted.min_tissue:.0%} tissue"] if wanted.tissue != "none" else []
        words += [f"a patch class ({wanted.patch_label})"] if wanted.patch_label == "dominant" else []
        return ", ".join(words) or "a class"

    def admits(
        self,
        view: SlideLabels,
        grid: Grid,
        corners: NDArray[np.int64],
        counts: NDArray[np.int64],
        *,
        as_a_whole: bool = False,
    ) -> NDArray[np.bool_]:
        """Which patches are taken.

        Parameters
        ----------
        view : SlideLabels
            What is annotated.
        grid : Grid
            Side of the patches and their resolution.
        corners : int64 array, shape (N, 2)
            Their top and left in pixels of the grid.
        counts : int64 array, shape (N, C)
            Their pixels of each class id; column 0 is the unlabelled ones.
        as_a_whole : bool
            They are labelled as a whole: no labelled pixels or objects are asked of them.

        Returns
        -------
        bool array, shape (N,)
        """
        taken = as_a_whole | (counts[:, 1:].sum(1) > self._settings.min_annotated * grid.patch**2)
        locations = corners[:, ::-1] * grid.downsample
        for number in np.flatnonzero(taken):
            x, y = (float(value) for value in locations[number])
            taken[number] = self._has_tissue(view, grid, x, y) and (as_a_whole or self._has_whole(view, grid, x, y))
        return np.asarray(taken, bool)

    def _has_tissue(self, view: SlideLabels, grid: Grid, x: float, y: float) -> bool:
        method, slide = self._settings.tissue, view.record.id
        if method == "none":
            return True
        if slide not in self._tissue:
            self._tissue[slide] = tissue_mask(self._open_slide(slide), method=method)
        return self._tissue[slide].fraction(x, y, grid.side, grid.side) >= self._settings.min_tissue

    def _has_whole(self, view: SlideLabels, grid: Grid, x: float, y: float) -> bool:
        if not self._settings.whole_object:
            return True
        frame = Frame((x, y), grid.downsample, (grid.patch, grid.patch))
        x0, y0, x1, y1 = frame.bounds
        for record in drawn_objects(view, frame):
            left, top, right, bottom = view.disc(record.geometry).bounds
            if left >= x0 and top >= y0 and right <= x1 and bottom <= y1:
                return True
        if not any(mask.reaches(frame.bounds) for mask in (*view.masks.values(), *view.guesses.values())):
            return False
        labels = view.render(frame.location, frame.downsample, frame.size)
        return bool(len(whole_objects(render_instances(view, frame.location, frame.downsample, labels))))


def is_dense(view: SlideLabels, grid: Grid, corners: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which patches are densely annotated: at least half of their pixels are labelled, or they lie in an exhaustive
    region; parameters and result are those of `Admission.admits`.
    """
    dense = counts[:, 1:].sum(1) >= DENSE * grid.patch**2
    regions = [record for record in view.records if record.granularity is Granularity.EXHAUSTIVE]
    for region in regions:
        x0, y0, x1, y1 = region.bounds
        top, left = (corners * grid.downsample).T
        dense |= (left >= x0) & (top >= y0) & (left + grid.side <= x1) & (top + grid.side <= y1)
    return np.asarray(dense, bool)
