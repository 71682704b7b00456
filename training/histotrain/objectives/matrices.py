"""Confusion matrices that add up on the device, and what is said of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from histotrain.metrics import accuracy, averages, class_scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray


class ConfusionCounts:
    """Counts of labels by what was predicted, for C classes."""

    def __init__(self, classes: int) -> None:
        self._side = classes + 1
        self._counts: Tensor | None = None

    def add(self, labels: Tensor, predicted: Tensor) -> None:
        """Labels, channel + 1 or 0 for unlabelled, and predicted channels of the same shape."""
        joint = labels.long() * self._side + predicted + 1
        counts = torch.bincount(joint.flatten(), minlength=self._side**2)
        self._counts = counts if self._counts is None else self._counts + counts

    @property
    def matrix(self) -> NDArray[np.int64]:
        """Shape (C + 1, C + 1), as `histotrain.metrics.confusion` gives it."""
        counts = torch.zeros(self._side**2, dtype=torch.int64) if self._counts is None else self._counts.clone()
        counts[: self._side] = 0
        matrix: NDArray[np.int64] = counts.reshape(self._side, self._side).cpu().numpy()
        return matrix


def classification_summary(matrix: NDArray[np.int64], names: Sequence[str]) -> dict[str, float]:
    """Metrics of classified patches: "accuracy", macro and micro precision, recall and F1, and "f1/<class>"."""
    scores = class_scores(matrix)["f1"]
    result = {"accuracy": accuracy(matrix)} | averages(matrix)
    return result | {f"f1/{name}": float(score) for name, score in zip(names, scores, strict=True)}
