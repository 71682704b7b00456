"""Agreement of objects: panoptic quality and the aggregated Jaccard index.

Definitions are those of Kirillov et al. (2019), Kumar et al. (2017) and of the published HoVer-Net code (Graham et
al. 2019), which most reported figures come from; it divides SQ by tp + 1e-6, here it is tp.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from histotrain.metrics.matching import best_matching
from histotrain.metrics.overlaps import Overlaps, overlaps

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True)
class PanopticQuality:
    """PQ = DQ x SQ.

    ``dq`` is the F1 of detection, ``sq`` the mean IoU of the matched pairs (0 if there are none). All are NaN where
    there is neither a true nor a predicted object. ``sum_iou`` and the counts add up over images.
    """

    tp: int
    fp: int
    fn: int
    sum_iou: float

    @property
    def dq(self) -> float:
        objects = self.tp + 0.5 * self.fp + 0.5 * self.fn
        return self.tp / objects if objects else float("nan")

    @property
    def sq(self) -> float:
        if self.tp:
            return self.sum_iou / self.tp
        return 0.0 if self.fp or self.fn else float("nan")

    @property
    def pq(self) -> float:
        return self.dq * self.sq

    def __add__(self, other: PanopticQuality) -> PanopticQuality:
        return PanopticQuality(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.sum_iou + other.sum_iou)


def panoptic_quality(
    truth: ArrayLike, predicted: ArrayLike, *, threshold: float = 0.5, valid: ArrayLike | None = None
) -> PanopticQuality:
    """Panoptic quality of two label maps.

    Parameters
    ----------
    truth, predicted : integer arrays of one shape
        Object number of each pixel, 0 is none.
    threshold : float
        Objects match with an IoU strictly above it. From 0.5 on matches are unique; below, the one-to-one matching
        with the largest total IoU is taken first.
    valid : bool, the same shape, optional
        Pixels that are known; the others do not count.

    Examples
    --------
    >>> quality = panoptic_quality([[1, 1, 0, 2]], [[1, 1, 1, 0]])
    >>> quality.tp, quality.fp, quality.fn, round(quality.pq, 3)
    (1, 0, 1, 0.444)
    >>> panoptic_quality([[0, 0]], [[0, 0]]).pq
    nan
    """
    return quality_of(overlaps(truth, predicted, valid=valid), threshold)


def quality_of(table: Overlaps, threshold: float) -> PanopticQuality:
    """`panoptic_quality` of a table of overlaps."""
    ious = table.ious
    if threshold >= 0.5:
        matched = ious[ious > threshold]
    else:
        sizes = (len(table.true_labels), len(table.predicted_labels))
        matched = ious[best_matching(table.pairs, ious, sizes=sizes)]
        matched = matched[matched > threshold]
    tp = len(matched)
    return PanopticQuality(
        tp=tp,
        fp=len(table.predicted_labels) - tp,
        fn=len(table.true_labels) - tp,
        sum_iou=float(matched.sum()),
    )


def multiclass_pq(
    truth: ArrayLike,
    predicted: ArrayLike,
    *,
    true_classes: Mapping[int, int],
    predicted_classes: Mapping[int, int],
    classes: int,
    threshold: float = 0.5,
) -> dict[int, PanopticQuality]:
    """Panoptic quality of each class, with the objects of that class alone on both sides.

    Parameters
    ----------
    truth, predicted : integer arrays of one shape
        Object number of each pixel, 0 is none.
    true_classes, predicted_classes : mapping from object number to class
        Class 1 … ``classes`` of each object; an object that is not in it, or has class 0, belongs to none.
    classes : int
        Number of classes.
    threshold : float
        As in `panoptic_quality`.

    Returns
    -------
    dict from class to PanopticQuality
        Averages over classes and images are in `panoptic_summary`.
    """
    table = overlaps(truth, predicted)
    return quality_by_class(table, true_classes, predicted_classes, classes=classes, threshold=threshold)


def quality_by_class(
    table: Overlaps,
    true_classes: Mapping[int, int],
    predicted_classes: Mapping[int, int],
    *,
    classes: int,
    threshold: float,
) -> dict[int, PanopticQuality]:
    """`multiclass_pq` of a table of overlaps: whole objects drop out, so no overlap has to be counted again."""
    of_true, of_predicted = (
        np.array([of_class.get(label, 0) for label in labels.tolist()], dtype=np.int64)
        for labels, of_class in ((table.true_labels, true_classes), (table.predicted_labels, predicted_classes))
    )
    return {
        label: quality_of(table.only(of_true == label, of_predicted == label), threshold)
        for label in range(1, classes + 1)
    }


def aji(truth: ArrayLike, predicted: ArrayLike, *, valid: ArrayLike | None = None) -> float:
    """Aggregated Jaccard index: each true object takes the predicted one of the largest IoU, also if another took it.

    Shapes as in `panoptic_quality`; NaN where there is neither a true nor a predicted object.
    """
    table = overlaps(truth, predicted, valid=valid)
    ious = table.ious
    order = np.lexsort((table.pairs[:, 1], -ious, table.pairs[:, 0]))
    first = np.flatnonzero(np.diff(table.pairs[order, 0], prepend=-1))
    return _jaccard(table, order[first])


def aji_plus(truth: ArrayLike, predicted: ArrayLike, *, valid: ArrayLike | None = None) -> float:
    """`aji` with the one-to-one matching of the largest total IoU."""
    table = overlaps(truth, predicted, valid=valid)
    sizes = (len(table.true_labels), len(table.predicted_labels))
    return _jaccard(table, best_matching(table.pairs, table.ious, sizes=sizes))


def _jaccard(table: Overlaps, chosen: NDArray[np.intp]) -> float:
    alone_t, alone_p = np.ones(len(table.true_labels), bool), np.ones(len(table.predicted_labels), bool)
    alone_t[table.pairs[chosen, 0]] = False
    alone_p[table.pairs[chosen, 1]] = False
    union = table.unions[chosen].sum() + table.true_areas[alone_t].sum() + table.predicted_areas[alone_p].sum()
    return float(table.shared[chosen].sum() / union) if union else float("nan")
