"""What a model is measured by, for each task; sums over patches, and the patches in which it errs most.

Classes of pixels and of whole patches share one measure: a patch with a class is a picture of one pixel. Single objects
have another, clicks use that of the training.
"""

from __future__ import annotations

import heapq
import itertools
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from histotrain.data import label_lookup
from histotrain.metrics import averages, calibration, class_scores, confusion, macro, summary
from histotrain.metrics.resampling import bootstrap_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from histotrain import PatchSet
    from histotrain.checkpoint import LoadedModel
    from histotrain.metrics import Calibration

    Ids = NDArray[np.uint8]

WORST = 6
"""Patches that are kept to be looked at."""


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """A patch to be looked at: class ids, or object numbers, of the truth and of the prediction, 0 for none.

    ``error`` is what it was chosen by, ``said`` the same in words.
    """

    image: Ids
    truth: NDArray[np.integer]
    predicted: NDArray[np.integer]
    slide: str
    corner: tuple[float, float]
    error: float
    said: str
    objects: bool = False


class Worst:
    """The tiles with the largest errors so far."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Tile]] = []
        self._order = itertools.count()

    def add(self, tile: Tile) -> None:
        if tile.error > 0:
            entry = (tile.error, -next(self._order), tile)
            (heapq.heappushpop if len(self._heap) == WORST else heapq.heappush)(self._heap, entry)

    @property
    def tiles(self) -> list[Tile]:
        """The worst first."""
        return [tile for *_, tile in sorted(self._heap, key=lambda entry: entry[:2], reverse=True)]


class Measure(ABC):
    """Adds up how a model does on patches."""

    def __init__(self) -> None:
        self.worst = Worst()

    @abstractmethod
    def add(self, patches: PatchSet) -> None:
        """Predict some patches and compare."""

    @abstractmethod
    def metrics(self) -> dict[str, float]:
        """By name; NaN where undefined."""

    @abstractmethod
    def values(self) -> dict[str, Any]:
        """Everything for the report, as JSON."""


class ClassMeasure(Measure):
    """Classes of pixels, or (``whole``) of patches.

    Parameters
    ----------
    model : LoadedModel
        Predicts.
    ids, names : sequence
        Of all classes of model and truth: what the model does not know counts as wrong.
    whole : bool
        Whether the classes are those of whole patches.
    """

    def __init__(self, model: LoadedModel, ids: Sequence[int], names: Sequence[str], *, whole: bool = False) -> None:
        super().__init__()
        self._model, self._names, self._whole = model, list(names), whole
        self._channels = np.asarray(model.class_ids, np.uint8)
        self._known = label_lookup(model.class_ids)
        self._rows = np.zeros(256, np.uint8)
        self._rows[list(ids)] = np.arange(1, len(ids) + 1)
        self._matrices: list[NDArray[np.int64]] = []
        self._calibration: Calibration | None = None

    def add(self, patches: PatchSet) -> None:
        truth = patches.patch_classes[:, None, None] if self._whole else patches.labels  # type: ignore[index]
        assert truth is not None
        images = seen(patches)
        probabilities = (
            self._model.classify_batch(images)[:, None, None] if self._whole else self._model.predict_batch(images)
        )
        predicted = self._channels[probabilities.argmax(-1)]
        for index, (true, found) in enumerate(zip(truth, predicted, strict=True)):
            matrix = confusion(self._rows[true], self._rows[found], classes=len(self._names))
            self._matrices.append(matrix)
            self._look(patches, index, true, found, confidence=float(probabilities[index].max(-1).mean()))
        found_out = calibration(self._known[truth], probabilities)
        self._calibration = found_out if self._calibration is None else self._calibration + found_out

    def _look(self, patches: PatchSet, index: int, true: Ids, found: Ids, *, confidence: float) -> None:
        labelled = int(np.count_nonzero(true))
        wrong = int(np.count_nonzero((true != found) & (true > 0)))
        side = patches.images.shape[1]
        if self._whole:
            error, said = wrong * confidence, f"{confidence:.0%} sure of the wrong class"
            true, found = (np.broadcast_to(array, (side, side)) for array in (true, found))
        else:
            error, said = float(wrong), f"{wrong / (labelled or 1):.0%} of {labelled:,} labelled pixels wrong"
        self.worst.add(tile_of(patches, index, true, found, error, said))

    @property
    def matrix(self) -> NDArray[np.int64]:
        """Pooled confusion, shape (C + 1, C + 1)."""
        pooled: NDArray[np.int64] = np.sum(self._matrices, axis=0, dtype=np.int64)
        return pooled

    def metrics(self) -> dict[str, float]:
        return summary(self.matrix, self._names) | averages(self.matrix)

    def values(self) -> dict[str, Any]:
        matrix, scores = self.matrix, class_scores(self.matrix)
        stacked = np.stack(self._matrices)
        curve = self._calibration
        assert curve is not None
        return {
            "labelled_pixels": int(matrix.sum()),
            "metrics": numbers(self.metrics()),
            "classes": {
                name: numbers({metric: float(values[i]) for metric, values in scores.items()})
                for i, name in enumerate(self._names)
            },
            "intervals": {
                "level": 0.95,
                **{f"mean_{name}": _interval(stacked, name) for name in ("iou", "dice", "f1")},
            },
            "confusion": {
                "classes": self._names,
                "counts": matrix[1:].tolist(),
                "columns": ["not predicted", *self._names],
            },
            "calibration": numbers({"ece": curve.ece, "mce": curve.mce, "brier": curve.brier})
            | {
                "confidence": [number(v) for v in curve.confidence],
                "accuracy": [number(v) for v in curve.accuracy],
                "counts": [int(v) for v in curve.counts],
            },
        }


def seen(patches: PatchSet) -> Ids:
    """Images as a network takes them: (N, H, W, 3), or with lower magnifications (N, M, H, W, 3)."""
    if patches.contexts is None:
        return np.ascontiguousarray(patches.images)
    return np.concatenate([patches.images[:, None], patches.contexts], axis=1)


def _interval(matrices: NDArray[np.int64], name: str) -> list[float | None]:
    return [number(v) for v in bootstrap_interval(matrices, lambda matrix: macro(class_scores(matrix)[name]))]


def tile_of(
    patches: PatchSet, index: int, true: NDArray[np.integer], found: NDArray[np.integer], error: float, said: str
) -> Tile:
    """A patch of a set to be looked at."""
    x, y = patches.corners[index].tolist()
    return Tile(patches.images[index], true, found, str(patches.slides[index]), (x, y), error, said)


def numbers(values: dict[str, float]) -> dict[str, float | None]:
    """As JSON has them: NaN is null."""
    return {name: number(value) for name, value in values.items()}


def number(value: float) -> float | None:
    """As JSON has it."""
    return None if math.isnan(value) else round(float(value), 6)
