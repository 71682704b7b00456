"""Patches anywhere around the labelled pixels of a cell, those that are worth learning from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_histoanno.datasets.extras import LABELS
from napari_histoanno.datasets.rules import class_order, highest_class, tile_kinds
from napari_histoanno.datasets.samples import Drawn, alignment

if TYPE_CHECKING:
    from napari_histoanno.annotation import LabelScheme
    from napari_histoanno.datasets.cells import AnnotatedCells
    from napari_histoanno.datasets.holdout import HeldOut
    from napari_histoanno.datasets.rules import Admission
    from napari_histoanno.datasets.spec import SamplingSpec

_ATTEMPTS = 20


class Roamer:
    """Draws patches around labelled pixels.

    Parameters
    ----------
    index : AnnotatedCells
        What is annotated.
    spec : SamplingSpec
        What a patch shall be.
    scheme : LabelScheme
        For the class order.
    admission : Admission
        Which patches are taken.
    held : HeldOut
        What no patch may touch.
    """

    def __init__(
        self, index: AnnotatedCells, spec: SamplingSpec, scheme: LabelScheme, admission: Admission, held: HeldOut
    ) -> None:
        self._index = index
        self._spec = spec
        self._order = class_order(scheme)
        self._admission = admission
        self._held = held

    @property
    def takes_all(self) -> bool:
        """Whether any patch with a labelled pixel will do."""
        return self._admission.takes_all and self._spec.sampling.patch_label == "drawn"

    def find(self, cell: tuple[int, int, int], class_id: int, rng: np.random.Generator) -> Drawn | None:
        """A patch around a pixel of a cell (slide number, top, left) that shows a class, or any if that is 0.

        None where none of twenty patches was worth learning from.
        """
        for _ in range(_ATTEMPTS):
            found = self.judged(*self._around(cell, class_id, rng))
            if found is not None:
                return found
        return None

    def judged(self, slide: int, top: int, left: int) -> Drawn | None:
        """A patch that was drawn freely, with its class; None where it is not one to learn from."""
        asked = self._spec.sampling
        if self.takes_all:
            return Drawn(slide, top, left)
        labels = self._index.labels_of(slide, top, left)[LABELS]
        counts = np.bincount(labels.ravel(), minlength=self._index.counts.shape[1])[None]
        corners = np.array([[top, left]])
        if not self._admission.admits(self._index.labels[slide], self._index.grids[slide], corners, counts)[0]:
            return None
        class_id, segments = 0, True
        if asked.patch_label == "single-or-highest":
            class_id = int(highest_class(counts, self._order)[0])
        elif asked.patch_label == "dominant":
            classes, segmenting = tile_kinds(counts, asked.dominant)
            class_id, segments = int(classes[0]), bool(segmenting[0])
        wanted = (class_id and self._spec.wants_patch_classes) or (segments and self._spec.teaches != {"patches"})
        useful = bool(wanted) or asked.patch_label == "drawn"
        return Drawn(slide, top, left, class_id, segments) if useful else None

    def _around(self, cell: tuple[int, int, int], class_id: int, rng: np.random.Generator) -> tuple[int, int, int]:
        """Slide number, top and left of a patch around a pixel of a cell that shows a class, or any if it is 0."""
        side, step = self._spec.patch_size, alignment(self._spec.magnifications)
        slide, top, left = cell
        shown = self._index.label_tile(slide, top // side, left // side)[0]
        pixels = np.flatnonzero(shown == class_id if class_id else shown)
        # Erased in the other process since the index was read: the cell itself is as good a place as any.
        attempts = _ATTEMPTS if len(pixels) else 0
        grid, name = self._index.grids[slide], self._index.records[slide].id
        width, height = grid.pixels
        for _ in range(attempts):
            y, x = divmod(int(pixels[rng.integers(len(pixels))]), side)
            shift = (rng.uniform(-1, 1, 2) * self._spec.jitter - 1) * side / 2
            corner = (
                _within(top + y + shift[0], height - side, step, side),
                _within(left + x + shift[1], width - side, step, side),
            )
            if not self._held.lost(name, np.array([corner[::-1]]) * grid.downsample, grid.side)[0]:
                return slide, *corner
        return slide, top, left


def _within(value: float, last: int, step: int, side: int) -> int:
    """A corner inside the slide such that the centre is a multiple of the step."""
    corner = round(min(max(value, 0), max(last, 0)))
    return corner if step == 1 else round((corner + side // 2) / step) * step - side // 2
