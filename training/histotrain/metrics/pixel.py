"""Agreement of class masks, pixel by pixel, over the labelled pixels only.

Everything follows from one confusion matrix, which adds up over images. A class that the truth does not contain has
no recall, IoU or Dice: it is NaN and left out of means, neither 0 nor 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Counts = NDArray[np.int64]


def confusion(truth: ArrayLike, predicted: ArrayLike, *, classes: int) -> Counts:
    """Count pixels by true and predicted class.

    Parameters
    ----------
    truth, predicted : integer arrays of one shape
        0 … ``classes``. A pixel with truth 0 is unlabelled and not counted; a prediction of 0 means that nothing was
        predicted.
    classes : int
        Number of classes C.

    Returns
    -------
    int64, shape (C + 1, C + 1)
        ``[t, p]`` is the number of pixels of class t predicted as p; row 0 is zero.

    Raises
    ------
    ValueError
        If the shapes differ or a value lies outside 0 … C.

    Examples
    --------
    >>> confusion([0, 1, 1, 2], [1, 1, 2, 2], classes=2)
    array([[0, 0, 0],
           [0, 1, 1],
           [0, 0, 1]])
    >>> int(confusion([], [], classes=2).sum())
    0
    """
    t, p = (np.asarray(a).ravel() for a in (truth, predicted))
    if np.shape(truth) != np.shape(predicted):
        raise ValueError(f"truth {np.shape(truth)} and prediction {np.shape(predicted)} differ in shape")
    if not t.size:
        return np.zeros((classes + 1, classes + 1), dtype=np.int64)
    for name, values in (("truth", t), ("prediction", p)):
        if values.min() < 0 or values.max() > classes:
            raise ValueError(f"the {name} holds {values.min()} … {values.max()}, outside 0 … {classes}")
    joint = t.astype(np.int64) * (classes + 1) + p
    matrix = np.bincount(joint, minlength=(classes + 1) ** 2).reshape(classes + 1, classes + 1).astype(np.int64)
    matrix[0] = 0
    return matrix


def class_scores(matrix: Counts) -> dict[str, Floats]:
    """IoU, Dice, precision, recall and F1 of each class, float64 (C,), from `confusion`.

    F1 of a pixel classification is its Dice; both names are given. NaN where the truth lacks the class; precision is
    NaN where the class was never predicted.
    """
    hit = np.diag(matrix)[1:].astype(np.float64)
    true = matrix.sum(1)[1:].astype(np.float64)
    predicted = matrix.sum(0)[1:].astype(np.float64)
    present = np.where(true > 0, 1.0, np.nan)
    dice = present * _ratio(2 * hit, true + predicted)
    return {
        "iou": present * _ratio(hit, true + predicted - hit),
        "dice": dice,
        "precision": _ratio(hit, predicted),
        "recall": present * _ratio(hit, true),
        "f1": dice,
    }


def macro(values: Floats) -> float:
    """Mean over the classes that have a value; NaN if none has."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def accuracy(matrix: Counts) -> float:
    """Share of the labelled pixels predicted rightly (micro-averaged precision, recall and F1); NaN without any."""
    return float(_ratio(np.diag(matrix).sum(), matrix.sum()))


def share_weighted(matrix: Counts, values: Floats) -> float:
    """Mean of per-class values weighted by each class's share of the truth, over the classes that have a value."""
    share = matrix.sum(1)[1:].astype(np.float64)
    known = ~np.isnan(values)
    return float(_ratio((values[known] * share[known]).sum(), share[known].sum()))


def averages(matrix: Counts) -> dict[str, float]:
    """Macro and micro precision, recall and F1 as Ciga and Martel (2021) average them, from `confusion`.

    Both are means of per-class scores over the classes that the truth contains: "macro_…" weighs them alike,
    "micro_…" by their share of the truth. (Elsewhere "micro" is what `accuracy` gives.)
    """
    scores = class_scores(matrix)
    present = np.where(matrix.sum(1)[1:] > 0, 1.0, np.nan)
    result = {}
    for name in ("precision", "recall", "f1"):
        result[f"macro_{name}"] = macro(scores[name] * present)
        result[f"micro_{name}"] = share_weighted(matrix, scores[name])
    return result


def nuclei_recall(matrix: Counts, nuclei: Collection[int]) -> float:
    """Share of the nucleus pixels that were predicted as any nucleus, of whatever grade; NaN without any.

    The study of annotation granularity that reports it words it with the quotient upside down and calls the rest
    "incorrectly predicted as the nucleus"; as it is a recall, it is found ÷ (found + missed) here.

    Parameters
    ----------
    matrix : int64, shape (C + 1, C + 1)
        From `confusion`.
    nuclei : collection of int
        Classes 1 … C that are nuclei, healthy ones too.
    """
    rows = _chosen(matrix, nuclei)
    return float(_ratio(matrix[np.ix_(rows, rows)].sum(), matrix[rows].sum()))


def cancer_recall(matrix: Counts, grades: Collection[int]) -> float:
    """Share of the cancer-nucleus pixels that were given their own grade; NaN without any.

    The denominator is all cancer-nucleus pixels: those found as any nucleus, of the right grade or not, and those
    missed. The study's wording is as loose as for `nuclei_recall`.

    Parameters
    ----------
    matrix : int64, shape (C + 1, C + 1)
        From `confusion`.
    grades : collection of int
        Classes 1 … C that are cancer nuclei.
    """
    rows = _chosen(matrix, grades)
    return float(_ratio(np.diag(matrix)[rows].sum(), matrix[rows].sum()))


def summary(matrix: Counts, names: Sequence[str]) -> dict[str, float]:
    """Means over the present classes, accuracy, and "iou/<class>" and "dice/<class>" of each class."""
    scores = class_scores(matrix)
    result = {f"mean_{name}": macro(scores[name]) for name in ("iou", "dice", "precision", "recall")}
    result["accuracy"] = accuracy(matrix)
    for metric in ("iou", "dice"):
        result |= {f"{metric}/{name}": float(v) for name, v in zip(names, scores[metric], strict=True)}
    return result


def _chosen(matrix: Counts, classes: Collection[int]) -> list[int]:
    chosen = sorted(set(classes))
    if chosen and not (chosen[0] >= 1 and chosen[-1] < len(matrix)):
        raise ValueError(f"classes {chosen} lie outside 1 … {len(matrix) - 1}")
    return chosen


def _ratio(part: ArrayLike, whole: ArrayLike) -> Floats:
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    result = np.full(np.broadcast(part, whole).shape, np.nan)
    np.divide(part, whole, out=result, where=whole > 0)
    return result
