"""Saying of what a model predicted whether it is right, without drawing it again.

Only what nobody has looked at yet is touched: predicted pixels in the annotator's own mask, and predicted outlines
without a review. Pixels belong to a place by themselves, outlines as wholes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_histoanno.annotation import Annotation, Review, Source
from napari_histoanno.session.errors import SessionError, reported
from napari_histoanno.session.state import SessionState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_histoanno.annotation import Bounds
    from napari_histoanno.project import LabelRaster, Project, RasterEdit


@dataclass(frozen=True, slots=True)
class Reviewed:
    """What a review was about: level-0 pixels, and outlines."""

    pixels: int = 0
    outlines: int = 0


class ReviewingActions(SessionState):
    """What an annotator says of predictions."""

    @reported
    def accept_predictions(self, bounds: Bounds | None = None, classes: Iterable[int] | None = None) -> Reviewed:
        """Make the current slide's predictions the annotator's own, in one undoable action. From any thread.

        Parameters
        ----------
        bounds : (x0, y0, x1, y1), optional
            Only pixels in this level-0 box, and outlines that reach into it.
        classes : iterable of int, optional
            Only these class ids.

        Raises
        ------
        SessionError
            If nothing there waits for a review.
        """
        return self._review(Review.ACCEPTED, bounds, classes)

    @reported
    def reject_predictions(self, bounds: Bounds | None = None, classes: Iterable[int] | None = None) -> Reviewed:
        """Erase predicted pixels of the current slide and reject outlines; otherwise as `accept_predictions`."""
        return self._review(Review.REJECTED, bounds, classes)

    def _review(self, verdict: Review, bounds: Bounds | None, classes: Iterable[int] | None) -> Reviewed:
        self.about_to_read.emit()
        project, slide = self.writable_project(), self.current_slide()
        chosen = None if classes is None else frozenset(classes)
        accept = verdict is Review.ACCEPTED
        said = "accept" if accept else "reject"
        with project.transaction(f"{said} predictions"):
            pixels = _review_pixels(project, slide.id, bounds, chosen, accept=accept)
            outlines = _waiting(project, slide.id, bounds, chosen)
            if outlines:
                project.annotations.update([record.changed(review=verdict) for record in outlines])
        if not (pixels or outlines):
            raise SessionError(f"There is nothing to {said}: no prediction there waits for a review.")
        self.status.emit(f"{said.capitalize()}ed {pixels} pixels and {len(outlines)} outlines")
        return Reviewed(pixels, len(outlines))


def _waiting(project: Project, slide: str, bounds: Bounds | None, classes: frozenset[int] | None) -> list[Annotation]:
    """Predicted records that nobody has reviewed."""
    records = project.annotations.query(slide, bounds=bounds, classes=classes, sources=[Source.PREDICTED])
    return [record for record in records if record.review is Review.UNREVIEWED]


def _review_pixels(
    project: Project, slide: str, bounds: Bounds | None, classes: frozenset[int] | None, *, accept: bool
) -> int:
    """Confirm or erase predicted pixels of the annotator's mask; returns how many."""
    mask = project.raster(slide)
    # What is predicted is forgotten when the mask changes, so erasing takes care of both.
    target = project.predicted_raster(slide) if accept else mask
    found = 0
    with target.edit("accept predictions" if accept else "reject predictions") as edit:
        for cy, cx in sorted(mask.unconfirmed.keys()):
            found += _clear(edit, mask, (cy, cx), bounds, classes, alone=accept)
    return found


def _clear(
    edit: RasterEdit,
    mask: LabelRaster,
    key: tuple[int, int],
    bounds: Bounds | None,
    classes: frozenset[int] | None,
    *,
    alone: bool,
) -> int:
    """Write 0 at the predicted pixels of a chunk that are meant; ``alone`` if the edit holds no others."""
    side = mask.chunk
    y0, x0 = key[0] * side, key[1] * side
    y1, x1 = y0 + side, x0 + side
    if bounds is not None:
        left, top, right, bottom = bounds
        x0, y0 = max(x0, math.floor(left)), max(y0, math.floor(top))
        x1, y1 = min(x1, math.ceil(right)), min(y1, math.ceil(bottom))
        if x0 >= x1 or y0 >= y1:
            return 0
    block = mask.unconfirmed.read(y0, y1, x0, x1)
    meant = block > 0 if classes is None else np.isin(block, [value for value in classes if value])
    number, whole = int(meant.sum()), block.shape == (side, side)
    if whole and number == np.count_nonzero(block) and (alone or not mask.confirmed.read(y0, y1, x0, x1).any()):
        edit.fill(*key, 0)  # a number where an array would have to be kept for each chunk of a slide
    elif number:
        edit.write(y0, x0, np.zeros_like(block), mask=meant)
    return number
