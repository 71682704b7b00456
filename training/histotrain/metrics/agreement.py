"""Agreement beyond chance of several raters, on label maps or on one label per object.

Unlabelled is "not known": what one of those compared has not labelled does not count. Kappa is NaN where nothing is
left, and where chance alone agrees throughout (one class only).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from histotrain.metrics.pixel import confusion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray


def cohen_kappa(
    first: ArrayLike, second: ArrayLike, *, classes: int, weights: Literal["none", "linear", "quadratic"] = "none"
) -> float:
    """Cohen's kappa of two raters.

    Parameters
    ----------
    first, second : integer arrays of one shape
        0 … ``classes``; what is 0 in either does not count.
    classes : int
        Number of classes C.
    weights : "none", "linear" or "quadratic"
        How a disagreement weighs: all alike, or by the (squared) distance of the classes, for grades in their order.

    Raises
    ------
    ValueError
        If the shapes differ, a value lies outside 0 … C, or there are no such weights.

    Examples
    --------
    >>> cohen_kappa([1, 1, 2, 2, 0], [1, 2, 2, 2, 1], classes=2)
    0.5
    >>> cohen_kappa([0, 1], [1, 0], classes=2)
    nan
    """
    return kappa_of(confusion(first, second, classes=classes), weights=weights)


def kappa_of(matrix: NDArray[np.int64], *, weights: Literal["none", "linear", "quadratic"] = "none") -> float:
    """Cohen's kappa from `confusion`, which adds up over images; its unlabelled column does not count."""
    counts = matrix[1:, 1:].astype(np.float64)
    distance = np.abs(np.subtract.outer(np.arange(len(counts)), np.arange(len(counts))))
    powers = {"none": 0, "linear": 1, "quadratic": 2}
    if weights not in powers:
        raise ValueError(f"weights are none, linear or quadratic, not {weights!r}")
    penalty = np.where(distance > 0, np.power(distance, powers[weights], dtype=np.float64), 0.0)
    expected = counts.sum(1) @ penalty @ counts.sum(0)
    return float(1 - (penalty * counts).sum() * counts.sum() / expected) if expected > 0 else float("nan")


def fleiss_kappa(maps: Sequence[ArrayLike], *, classes: int) -> float:
    """Fleiss' kappa of two or more raters, over what all of them have labelled.

    Parameters
    ----------
    maps : sequence of integer arrays of one shape
        One of each rater, 0 … ``classes``.
    classes : int
        Number of classes C.

    Raises
    ------
    ValueError
        If there are fewer than two raters, the shapes differ, or a value lies outside 0 … C.

    Examples
    --------
    >>> fleiss_kappa([[1, 2, 2], [1, 2, 1], [1, 2, 0]], classes=2)
    1.0
    """
    raters = [np.asarray(labels) for labels in maps]
    if len(raters) < 2:
        raise ValueError("agreement needs two or more raters")
    if len({labels.shape for labels in raters}) > 1:
        raise ValueError(f"the raters' maps differ in shape: {sorted({labels.shape for labels in raters})}")
    for labels in raters:
        if labels.size and (labels.min() < 0 or labels.max() > classes):
            raise ValueError(f"a map holds {labels.min()} … {labels.max()}, outside 0 … {classes}")
    everyone = np.logical_and.reduce([labels > 0 for labels in raters])
    votes = [labels[everyone] for labels in raters]
    items = int(np.count_nonzero(everyone))
    if not items:
        return float("nan")
    total = np.zeros(classes)
    agreeing = 0
    for label in range(1, classes + 1):
        count = np.zeros(items, np.int64)
        for own in votes:
            count += own == label
        total[label - 1] = count.sum()
        agreeing += int((count * (count - 1)).sum())
    observed = agreeing / (items * len(raters) * (len(raters) - 1))
    expected = float(np.square(total / total.sum()).sum())
    # One class throughout: chance alone agrees, and the sum of squares is exactly 1.
    return (observed - expected) / (1 - expected) if expected < 1 else float("nan")
