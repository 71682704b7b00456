"""Which objects of two label maps overlap, and by how much: what every object metric is made of.

Label maps are runs of equal pixels, so the pass over the image (numba) only notes runs, and the sorting that finds
equal pairs works on a few per cent of the pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numba
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Overlaps:
    """Objects of a truth and a prediction, and the pairs of them that share pixels.

    Parameters
    ----------
    true_labels, predicted_labels : int64
        Labels of the objects, ascending, without 0.
    true_areas, predicted_areas : int64
        Their areas, pixels.
    pairs : int64, shape (K, 2)
        Indices into the two lists.
    shared : int64, shape (K,)
        Pixels each pair shares.
    """

    true_labels: Ints
    predicted_labels: Ints
    true_areas: Ints
    predicted_areas: Ints
    pairs: Ints
    shared: Ints

    @property
    def unions(self) -> Ints:
        """Pixels in either object of each pair."""
        return self.true_areas[self.pairs[:, 0]] + self.predicted_areas[self.pairs[:, 1]] - self.shared

    @property
    def ious(self) -> NDArray[np.float64]:
        return self.shared / self.unions

    def only(self, true: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> Overlaps:
        """The table of some of the objects, bool (N,) and (M,), as if the others were not there."""
        kept = true[self.pairs[:, 0]] & predicted[self.pairs[:, 1]]
        new_true, new_predicted = np.cumsum(true) - 1, np.cumsum(predicted) - 1
        pairs = np.stack([new_true[self.pairs[kept, 0]], new_predicted[self.pairs[kept, 1]]], axis=1)
        return Overlaps(
            self.true_labels[true],
            self.predicted_labels[predicted],
            self.true_areas[true],
            self.predicted_areas[predicted],
            pairs.astype(np.int64),
            self.shared[kept],
        )


def overlaps(truth: ArrayLike, predicted: ArrayLike, *, valid: ArrayLike | None = None) -> Overlaps:
    """Compare two label maps.

    Parameters
    ----------
    truth, predicted : integer arrays of one shape
        Object number of each pixel, 0 is none; numbers may have gaps.
    valid : bool, the same shape, optional
        Pixels outside are not known and do not count: objects lose them, on both sides.

    Raises
    ------
    ValueError
        If the shapes differ or a label is negative.
    """
    t, p = np.asarray(truth), np.asarray(predicted)
    if t.shape != p.shape or (valid is not None and np.shape(valid) != t.shape):
        raise ValueError(f"truth {t.shape} and prediction {p.shape} must have one shape, and so must the valid pixels")
    flat_t, flat_p = (np.ascontiguousarray(a, dtype=np.int64).ravel() for a in (t, p))
    if valid is not None:
        known = np.asarray(valid, dtype=bool).ravel()
        flat_t, flat_p = flat_t * known, flat_p * known
    if flat_t.size and min(flat_t.min(), flat_p.min()) < 0:
        raise ValueError("object labels must not be negative")
    runs = _runs(flat_t, flat_p)
    joint, inverse = _distinct(runs[:, 0], runs[:, 1])
    counts = np.bincount(inverse, weights=runs[:, 2], minlength=len(joint)).astype(np.int64)
    labels_t, areas_t = _areas(joint[:, 0], counts)
    labels_p, areas_p = _areas(joint[:, 1], counts)
    both = (joint > 0).all(1)
    pairs = np.stack(
        [np.searchsorted(labels_t, joint[both, 0]), np.searchsorted(labels_p, joint[both, 1])], axis=1
    ).astype(np.int64)
    return Overlaps(labels_t, labels_p, areas_t, areas_p, pairs, counts[both])


def _distinct(truth: Ints, predicted: Ints) -> tuple[Ints, Ints]:
    """Distinct pairs, ascending, shape (K, 2), and which of them each pair is."""
    span = int(predicted.max(initial=0)) + 1
    if int(truth.max(initial=0)) >= 2**62 // span:  # both labels do not fit into one number, which sorts faster
        joint, inverse = np.unique(np.stack([truth, predicted], axis=1), axis=0, return_inverse=True)
        return joint, inverse.ravel()
    keys, inverse = np.unique(truth * span + predicted, return_inverse=True)
    return np.stack(np.divmod(keys, span), axis=1), inverse


def _areas(labels: Ints, counts: Ints) -> tuple[Ints, Ints]:
    known, inverse = np.unique(labels, return_inverse=True)
    areas = np.bincount(inverse.ravel(), weights=counts, minlength=len(known)).astype(np.int64)
    objects = known > 0
    return known[objects], areas[objects]


@numba.njit(cache=True, nogil=True)  # pragma: no cover (compiled)
def _runs(truth: Ints, predicted: Ints) -> Ints:
    """Runs of equal (truth, prediction): rows of both labels and the length."""
    count = 0
    for i in range(truth.size):
        if i == 0 or truth[i] != truth[i - 1] or predicted[i] != predicted[i - 1]:
            count += 1
    runs = np.empty((count, 3), dtype=np.int64)
    k = -1
    for i in range(truth.size):
        if i == 0 or truth[i] != truth[i - 1] or predicted[i] != predicted[i - 1]:
            k += 1
            runs[k, 0], runs[k, 1], runs[k, 2] = truth[i], predicted[i], 0
        runs[k, 2] += 1
    return runs
