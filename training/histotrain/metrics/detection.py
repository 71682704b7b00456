"""Agreement of points: was each object found, and as what?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import KDTree

from histotrain.metrics.matching import best_matching

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True)
class Detection:
    """Counts of found, invented and missed objects; precision, recall and F1 are NaN where undefined.

    ``per_class`` has the same of each class, if classes were given: an object found as another class is missed in its
    own and invented in the other.
    """

    tp: int
    fp: int
    fn: int
    per_class: dict[int, Detection] = field(default_factory=dict)

    @property
    def precision(self) -> float:
        return _share(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        return _share(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float:
        return _share(2 * self.tp, 2 * self.tp + self.fp + self.fn)


def detection_f1(
    truth: ArrayLike,
    predicted: ArrayLike,
    *,
    radius: float = 12.0,
    true_classes: ArrayLike | None = None,
    predicted_classes: ArrayLike | None = None,
) -> Detection:
    """Match detected points to true ones, at most one to one and within a radius.

    Parameters
    ----------
    truth, predicted : float, shapes (N, 2) and (M, 2)
        Centres, pixels.
    radius : float
        Largest distance of a match, pixels; PanNuke's is 12 at 0.25 µm per pixel.
    true_classes, predicted_classes : int, shapes (N,) and (M,), optional
        Class of each point, both or neither.

    Returns
    -------
    Detection
        Of the matchings with the most pairs, the one with the smallest total distance.

    Raises
    ------
    ValueError
        If classes do not fit the points.

    Examples
    --------
    >>> found = detection_f1([[0, 0], [50, 50]], [[3, 4]])
    >>> found.precision, found.recall
    (1.0, 0.5)
    """
    t, p = (np.asarray(a, dtype=np.float64).reshape(-1, 2) for a in (truth, predicted))
    pairs = _matched(t, p, radius)
    counts = Detection(tp=len(pairs), fp=len(p) - len(pairs), fn=len(t) - len(pairs))
    if true_classes is None and predicted_classes is None:
        return counts
    if true_classes is None or predicted_classes is None:
        raise ValueError("give the classes of both the true and the predicted points, or of neither")
    ct, cp = (np.asarray(a).ravel() for a in (true_classes, predicted_classes))
    if (len(ct), len(cp)) != (len(t), len(p)):
        raise ValueError(f"{len(ct)} and {len(cp)} classes do not fit {len(t)} and {len(p)} points")
    same = ct[pairs[:, 0]][ct[pairs[:, 0]] == cp[pairs[:, 1]]]
    per_class = {}
    for label in np.union1d(ct, cp).tolist():
        tp = int((same == label).sum())
        per_class[label] = Detection(tp=tp, fp=int((cp == label).sum()) - tp, fn=int((ct == label).sum()) - tp)
    return Detection(counts.tp, counts.fp, counts.fn, per_class)


def _matched(truth: NDArray[np.float64], predicted: NDArray[np.float64], radius: float) -> NDArray[np.int64]:
    if not len(truth) or not len(predicted):
        return np.empty((0, 2), dtype=np.int64)
    near = KDTree(truth).sparse_distance_matrix(KDTree(predicted), radius, output_type="ndarray")
    pairs = np.stack([near["i"], near["j"]], axis=1).astype(np.int64)
    # A pair more is worth more than any saving of distance, hence the large constant.
    gains = (radius + 1.0) * (min(len(truth), len(predicted)) + 1) - near["v"]
    return pairs[best_matching(pairs, gains, sizes=(len(truth), len(predicted)))]


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
