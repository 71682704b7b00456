"""Panoptic quality of classified objects over many images, as nuclei are reported (PanNuke, CoNIC).

Two ways to average. bPQ and mPQ are means over images of a value per image: every image weighs alike, and an image
whose truth lacks a class (or any object) says nothing of it, whatever was predicted there. bPQ+ and mPQ+ pool the
counts of all images first, so every object weighs alike and inventions count wherever they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from histotrain.metrics.instance import PanopticQuality, quality_by_class, quality_of
from histotrain.metrics.overlaps import overlaps

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import ArrayLike


@dataclass(frozen=True, slots=True)
class ImageQuality:
    """Panoptic quality of one image: of all objects whatever their class, and of those of each class 1 … C."""

    objects: PanopticQuality
    classes: tuple[PanopticQuality, ...]

    @property
    def bpq(self) -> float:
        """Quality regardless of classes; NaN if the truth has no object."""
        return _where_true(self.objects)

    @property
    def class_pq(self) -> tuple[float, ...]:
        """Of each class; NaN where the truth has no object of it."""
        return tuple(_where_true(quality) for quality in self.classes)

    @property
    def mpq(self) -> float:
        """Mean over the classes that the truth contains; NaN if there are none."""
        return _mean(self.class_pq)


def image_quality(
    truth: ArrayLike,
    predicted: ArrayLike,
    *,
    true_classes: Mapping[int, int],
    predicted_classes: Mapping[int, int],
    classes: int,
    valid: ArrayLike | None = None,
) -> ImageQuality:
    """Measure one image; objects match with an IoU above 0.5.

    Parameters
    ----------
    truth, predicted : integer arrays of one shape
        Object number of each pixel, 0 is none.
    true_classes, predicted_classes : mapping from object number to class
        Class 1 … ``classes`` of each object; an object that is not in it, or has class 0, belongs to none and only
        counts regardless of classes.
    classes : int
        Number of classes C.
    valid : bool, the same shape, optional
        Pixels that are known; the others do not count.
    """
    table = overlaps(truth, predicted, valid=valid)
    by_class = quality_by_class(table, true_classes, predicted_classes, classes=classes, threshold=0.5)
    return ImageQuality(quality_of(table, 0.5), tuple(by_class.values()))


def panoptic_summary(images: Iterable[ImageQuality]) -> dict[str, float]:
    """Averages over images.

    Parameters
    ----------
    images : iterable of ImageQuality
        All with the same number of classes. PanNuke averages over tissues: call this for each, then take the mean.

    Returns
    -------
    dict
        "bpq" and "mpq" (means over images), "bpq_plus" and "mpq_plus" (pooled), and for each class c "pq/c" (mean over
        the images that have it) and "pq_plus/c", "dq_plus/c", "sq_plus/c" (pooled). What is undefined is NaN.

    Raises
    ------
    ValueError
        If the images differ in their number of classes.

    Examples
    --------
    >>> one = image_quality([[1, 0]], [[1, 0]], true_classes={1: 1}, predicted_classes={1: 1}, classes=2)
    >>> other = image_quality([[1, 2]], [[1, 0]], true_classes={1: 2, 2: 2}, predicted_classes={1: 1}, classes=2)
    >>> found = panoptic_summary([one, other])
    >>> found["mpq"], found["pq/1"], round(found["pq_plus/1"], 3), found["pq/2"]
    (0.5, 1.0, 0.667, 0.0)
    """
    listed = list(images)
    if len({len(image.classes) for image in listed}) > 1:
        raise ValueError("the images differ in their number of classes")
    nothing = PanopticQuality(0, 0, 0, 0.0)
    pooled = [sum(of_class, nothing) for of_class in zip(*(image.classes for image in listed), strict=True)]
    result = {
        "bpq": _mean(image.bpq for image in listed),
        "mpq": _mean(image.mpq for image in listed),
        "bpq_plus": _where_true(sum((image.objects for image in listed), nothing)),
        "mpq_plus": _mean(map(_where_true, pooled)),
    }
    for index, quality in enumerate(pooled):
        known = quality.tp + quality.fn > 0
        result[f"pq/{index + 1}"] = _mean(image.class_pq[index] for image in listed)
        result[f"pq_plus/{index + 1}"] = _where_true(quality)
        result[f"dq_plus/{index + 1}"] = quality.dq if known else float("nan")
        result[f"sq_plus/{index + 1}"] = quality.sq if known else float("nan")
    return result


def _where_true(quality: PanopticQuality) -> float:
    return quality.pq if quality.tp + quality.fn else float("nan")


def _mean(values: Iterable[float]) -> float:
    numbers = np.fromiter(values, dtype=np.float64)
    known = numbers[~np.isnan(numbers)]
    return float(known.mean()) if known.size else float("nan")
