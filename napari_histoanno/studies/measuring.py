"""What a trained model says of patches, and how good that is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from histotrain.metrics import class_scores, confusion, summary

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from histotrain import LoadedModel, PatchSet
    from napari_histoanno.studies.results import Result

BATCH = 8
_CELL = "confusion/{row}/{column}"


def predicted_classes(model: LoadedModel, patches: PatchSet, *, batch: int = BATCH) -> NDArray[np.uint8]:
    """Class id of every pixel, uint8 (N, H, W), as the most probable one.

    Parameters
    ----------
    model : LoadedModel
        Segments regions; its contexts are those of the patches, if it sees several magnifications.
    patches : PatchSet
        What to predict.
    batch : int
        Patches at once.
    """
    ids = np.asarray(model.class_ids, np.uint8)
    several = patches.contexts is not None and len(model.magnifications) > 1
    parts = []
    for start in range(0, len(patches), batch):
        part = patches[start : start + batch]
        images = part.images
        if several and part.contexts is not None:
            images = np.concatenate([images[:, None], part.contexts], 1)
        parts.append(ids[model.predict_batch(images).argmax(-1)])
    return np.concatenate(parts)


def confusion_of(truth: NDArray[np.uint8], found: NDArray[np.uint8], ids: Sequence[int]) -> NDArray[np.int64]:
    """Pixels by true and found class in the order of ``ids``, (C + 1, C + 1) as `histotrain.metrics.confusion`."""
    table = np.zeros(256, np.uint8)
    table[list(ids)] = np.arange(1, len(ids) + 1)
    return confusion(table[truth], table[found], classes=len(ids))


def pixel_metrics(matrix: NDArray[np.int64], names: Sequence[str]) -> dict[str, float]:
    """Means over the classes, "iou/…", "recall/…", "precision/…" of each, and the row-normalised confusion matrix.

    Parameters
    ----------
    matrix : int64, shape (C + 1, C + 1)
        From `confusion_of`.
    names : sequence of str
        Of the C classes.
    """
    result = summary(matrix, names)
    for kind, values in class_scores(matrix).items():
        if kind in ("recall", "precision"):
            result |= {f"{kind}/{name}": float(value) for name, value in zip(names, values, strict=True)}
    counts = matrix[1:, 1:].astype(np.float64)
    total = counts.sum(1, keepdims=True)
    shares = np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0)
    for (row, column), value in np.ndenumerate(shares):
        result[_CELL.format(row=names[row], column=names[column])] = float(value)
    return result


def mean_confusion(results: Sequence[Result], names: Sequence[str]) -> NDArray[np.float64]:
    """Row-normalised confusion matrix (C, C), mean over results of `pixel_metrics`; NaN where no truth was."""
    matrix = np.full((len(names), len(names)), np.nan)
    for row, true in enumerate(names):
        for column, found in enumerate(names):
            values = [_known(result.metrics, _CELL.format(row=true, column=found)) for result in results]
            known = [value for value in values if not np.isnan(value)]
            if known:
                matrix[row, column] = np.mean(known)
    return matrix


def _known(metrics: Mapping[str, float], name: str) -> float:
    return metrics.get(name, float("nan"))
