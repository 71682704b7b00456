"""How well single objects are found: panoptic quality, AJI and detection, as PanNuke reports nuclei."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from histotrain.data import label_lookup
from histotrain.metrics import Detection, aji, detection_f1, image_quality
from histotrain.models.separation import classes_of
from histotrain.models.targets import centres
from histotrain.objectives.nuclei import RADIUS, named_summary, true_classes
from napari_histoanno.datasets import DatasetError
from napari_histoanno.jobs.measuring import Measure, numbers, seen, tile_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from histotrain import PatchSet
    from histotrain.checkpoint import LoadedModel
    from histotrain.metrics import ImageQuality

    Points = tuple[NDArray[np.float64], NDArray[np.int64]]

_MAPS = 4
"""Patches that are predicted at once."""


class ObjectMeasure(Measure):
    """Objects, or (for networks that find points) their centres.

    bPQ and mPQ are means over patches, "…_plus" pooled; AJI is the mean over patches that have objects; a detection
    counts within `RADIUS` µm of a true centre, the 12 px at 0.25 µm of PanNuke. Only what lies where objects are
    annotated exhaustively counts.
    """

    def __init__(self, model: LoadedModel) -> None:
        super().__init__()
        self._model = model
        self._channel = label_lookup(model.class_ids)
        self._images: list[ImageQuality] = []
        self._aji: list[float] = []
        self._detections: list[Detection] = []
        self._objects = 0

    def add(self, patches: PatchSet) -> None:
        if patches.instances is None or patches.valid is None or patches.labels is None:
            raise DatasetError("There are no single objects to measure on. Outline some in an exhaustive region.")
        classes = len(self._model.classes)
        for start in range(0, len(patches), _MAPS):
            maps = self._model.predict_maps(seen(patches[start : start + _MAPS]))
            for offset, one in enumerate(np.moveaxis(maps, -1, 1)):
                index = start + offset
                labels = self._channel[patches.labels[index]]
                truth = (patches.instances[index], labels, patches.valid[index])
                if self._model.task == "points":
                    self._add_points(self._model.points(np.ascontiguousarray(one[classes:]))[:2], truth)
                else:
                    self._add_objects(patches, index, one, truth)

    def _add_objects(self, patches: PatchSet, index: int, maps: NDArray[np.float32], truth: tuple[Any, ...]) -> None:
        instances, labels, valid = truth
        classes = len(self._model.classes)
        found = self._model.separate(np.ascontiguousarray(maps[classes:]))
        kinds, _ = classes_of(found, maps[:classes])
        quality = image_quality(
            instances,
            found,
            true_classes=true_classes(instances, labels),
            predicted_classes={n: int(kind) + 1 for n, kind in enumerate(kinds, 1)},
            classes=classes,
            valid=valid,
        )
        self._images.append(quality)
        self._aji.append(aji(instances, found, valid=valid))
        self._add_points((centres(found, found)[0], kinds), truth)
        if quality.bpq == quality.bpq:
            said = f"bPQ {quality.bpq:.2f}"
            tile = tile_of(patches, index, instances * valid, found * valid, 1 - quality.bpq, said)
            self.worst.add(replace(tile, objects=True))

    def _add_points(self, found: Points, truth: tuple[Any, ...]) -> None:
        instances, labels, valid = truth
        points, kinds = found
        true_points, true_kinds = centres(instances, labels)
        inside, known = (_inside(valid, each) for each in (points, true_points))
        self._objects += int(known.sum())
        self._detections.append(
            detection_f1(
                true_points[known],
                points[inside],
                radius=RADIUS / self._model.mpp,
                true_classes=true_kinds[known],
                predicted_classes=kinds[inside],
            )
        )

    def metrics(self) -> dict[str, float]:
        every = _pooled(self._detections)
        result = {f"detection_{name}": float(getattr(every, name)) for name in ("f1", "precision", "recall")}
        for channel, name in enumerate(self._model.classes):
            result[f"f1/{name}"] = self._of_class(channel).f1
        if self._images:
            known = [value for value in self._aji if value == value]
            result |= named_summary(self._images, self._model.classes)
            result["aji"] = float(np.mean(known)) if known else float("nan")
        return result

    def _of_class(self, channel: int) -> Detection:
        return _pooled([each.per_class[channel] for each in self._detections if channel in each.per_class])

    def values(self) -> dict[str, Any]:
        metrics = self.metrics()
        rows: dict[str, dict[str, float]] = {}
        for channel, name in enumerate(self._model.classes):
            scores = self._of_class(channel)
            rows[name] = {"f1": scores.f1, "precision": scores.precision, "recall": scores.recall}
            rows[name] |= {k: metrics[f"{k}/{name}"] for k in ("pq", "pq_plus", "dq_plus", "sq_plus") if self._images}
        return {
            "objects": self._objects,
            "detection_radius_um": RADIUS,
            "detection_radius_px": RADIUS / self._model.mpp,
            "metrics": numbers(metrics),
            "classes": {name: numbers(row) for name, row in rows.items()},
        }


def measured_clicks(model: LoadedModel, patches: PatchSet) -> dict[str, float]:
    """IoU and Dice of the object under a click, one click in each patch, the same ones each time."""
    from histotrain.classes import ClassList
    from histotrain.objectives import ClassWeights, objective_for
    from histotrain.validation import Validator

    classes = ClassList(model.classes, model.class_ids)
    objective = objective_for(model.net, model.recipe, classes, ClassWeights(model.recipe, classes))
    return Validator(patches, model.recipe, classes, objective).measure(model.device)[1]


def _pooled(parts: list[Detection]) -> Detection:
    return Detection(sum(p.tp for p in parts), sum(p.fp for p in parts), sum(p.fn for p in parts))


def _inside(valid: NDArray[np.bool_], points: NDArray[np.float64]) -> NDArray[np.bool_]:
    if not len(points):
        return np.zeros(0, bool)
    x, y = points.round().astype(int).T
    inside: NDArray[np.bool_] = valid[y, x]
    return inside
