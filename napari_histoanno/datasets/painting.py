"""A label map while it is painted, with where each of its pixels comes from and what annotators make of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from histotrain.data import Origin
from napari_histoanno.annotation import UNLABELLED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_histoanno.annotation import Geometry
    from napari_histoanno.datasets.frame import Frame


class Canvas:
    """Class ids of a frame, painted step by step.

    Parameters
    ----------
    frame : Frame
        What is painted.
    table : uint8 array, shape (256,)
        From the class id that was annotated to the one that is shown.
    origins : bool
        Keep where pixels come from.
    class_ids : sequence of int, optional
        Keep what each annotator says, for `shares` of these classes.

    Attributes
    ----------
    labels : uint8 array, shape (height, width)
    origins : uint8 array, shape (height, width), or None
        ``Origin`` of each labelled pixel, NONE elsewhere.
    """

    def __init__(
        self, frame: Frame, table: NDArray[np.uint8], *, origins: bool = False, class_ids: Sequence[int] | None = None
    ) -> None:
        self.frame = frame
        self.labels = np.zeros(frame.size[::-1], np.uint8)
        self.origins = np.zeros_like(self.labels) if origins else None
        self._table = table
        self._ids = class_ids
        self._votes: list[NDArray[np.float32]] = []
        self._contested = np.zeros_like(self.labels) if class_ids is not None else None  # number of the vote, from 1

    def paint(self, shapes: Sequence[tuple[Geometry, int]], origin: Origin) -> None:
        """Level-0 shapes of one annotator with the class they show, later ones over earlier ones."""
        self.frame.paint(self.labels, shapes)
        if self.origins is not None:
            self.frame.paint(self.origins, [(shape, int(origin) if value else 0) for shape, value in shapes])
        if self._contested is not None:
            self.frame.paint(self._contested, [(shape, 0) for shape, _ in shapes])

    def stamp(self, raw: NDArray[np.uint8], origin: Origin) -> None:
        """A mask of one annotator: the classes that were annotated, 0 where nothing was."""
        self._put(self._table[raw], raw != UNLABELLED, origin)

    def forget(self, where: NDArray[np.bool_]) -> None:
        """Unlabelled again."""
        self._put(np.zeros_like(self.labels), where, Origin.NONE)

    def compare(self, raws: Sequence[NDArray[np.uint8]], origin: Origin) -> None:
        """Masks of several annotators: what they agree on, nothing where they name different classes."""
        if not raws:
            return
        said = raws[0] != UNLABELLED
        agreed = self._table[raws[0]]
        for raw in raws[1:]:
            here, shown = raw != UNLABELLED, self._table[raw]
            agreed = np.where(said & here & (agreed != shown), UNLABELLED, np.where(said, agreed, shown))
            said = said | here
        self._put(agreed, said, origin)
        if self._ids is not None and self._contested is not None:
            named = np.stack([raw != UNLABELLED for raw in raws]).sum(0)
            counts = [np.sum([self._table[raw] == c for raw in raws], axis=0) for c in self._ids]
            self._votes.append((np.stack(counts, -1) / np.maximum(named, 1)[..., None]).astype(np.float32))
            self._contested[said & (agreed == UNLABELLED)] = len(self._votes)

    def shares(self) -> NDArray[np.float32]:
        """Share of the annotators that name each class, float32, shape (height, width, C)."""
        assert self._ids is not None
        assert self._contested is not None
        shares = np.stack([self.labels == class_id for class_id in self._ids], -1).astype(np.float32)
        for number, votes in enumerate(self._votes, 1):
            here = self._contested == number
            shares[here] = votes[here]
        return shares

    def _put(self, values: NDArray[np.uint8], where: NDArray[np.bool_], origin: Origin) -> None:
        np.copyto(self.labels, values, where=where)
        if self.origins is not None:
            np.copyto(self.origins, np.where(values == UNLABELLED, 0, origin).astype(np.uint8), where=where)
        if self._contested is not None:
            self._contested[where] = 0
