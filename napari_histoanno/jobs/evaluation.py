"""Measuring a model on annotated places as a job; the result is also a JSON file beside the model."""

from __future__ import annotations

import json
import math
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np

from histotrain.checkpoint import load_model
from histotrain.events import Finished, Notice, Progressed
from histotrain.metrics import class_scores, confusion, summary
from napari_histoanno.datasets import DatasetError, LabelSampler, PatchSpec, SamplingSpec, build_patchset
from napari_histoanno.project import Project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from histotrain import PatchSet
    from histotrain.checkpoint import LoadedModel
    from histotrain.events import Event
    from napari_histoanno.annotation import LabelScheme
    from napari_histoanno.jobs.channel import Channel
    from napari_histoanno.jobs.specs import EvaluationSpec

_BATCH = 8


def run(spec: EvaluationSpec, channel: Channel) -> Iterator[Event]:
    """Predict annotated patches and compare, yielding progress; the last event carries the metrics.

    Raises
    ------
    DatasetError
        If there is nothing annotated to measure on.
    TrainingError
        If the model cannot be loaded.
    """
    model = load_model(spec.model)
    with Project.open(spec.project, read_only=True) as project:
        patches, notices = _patches(spec, model, project)
        scheme = project.scheme
    yield from map(Notice, notices)
    labels = patches.labels
    if labels is None or not labels.any():
        raise DatasetError("There is nothing to measure on: nothing is annotated there. Annotate some of it first.")
    ids = sorted({*model.class_ids, *(int(value) for value in np.unique(labels) if value)})
    names = [_name(scheme, model, class_id) for class_id in ids]
    unknown = [name for class_id, name in zip(ids, names, strict=True) if class_id not in model.class_ids]
    if unknown:
        yield Notice(f"The model does not know {', '.join(unknown)}: those pixels count as wrong.")
    channel_of = np.zeros(256, np.uint8)
    channel_of[ids] = np.arange(1, len(ids) + 1)
    matrix = np.zeros((len(ids) + 1, len(ids) + 1), np.int64)
    for start in range(0, len(patches), _BATCH):
        if channel.cancelled():
            yield Finished("cancelled", step=start, best_step=0, message="stopped on request")
            return
        images = np.ascontiguousarray(patches.images[start : start + _BATCH])
        predicted = np.asarray(model.class_ids, np.uint8)[model.predict_batch(images).argmax(-1)]
        truth = labels[start : start + _BATCH]
        matrix += confusion(channel_of[truth], channel_of[predicted], classes=len(ids))
        done = min(start + _BATCH, len(patches))
        yield Progressed(done, len(patches), math.nan, math.nan, 0.0, math.nan)
    metrics = summary(matrix, names)
    _write(spec.output, _report(spec, names, matrix, metrics, patches))
    yield Finished("completed", step=len(patches), best_step=0, metrics=metrics, path=str(spec.output))


def _name(scheme: LabelScheme, model: LoadedModel, class_id: int) -> str:
    if class_id in model.class_ids:
        return model.classes[model.class_ids.index(class_id)]
    label = scheme.find(class_id)
    return label.name if label else f"class {class_id}"


def _patches(spec: EvaluationSpec, model: LoadedModel, project: Project) -> tuple[PatchSet, tuple[str, ...]]:
    """The patches to measure on, and what a person should know of them."""
    frame: dict[str, Any] = {"mpp": model.mpp, "patch_size": model.recipe.patch_size}
    held_out = SamplingSpec(**frame, seed=model.recipe.seed).after(model.lineage, project.slides)
    learnt = frozenset(held_out.learnt)
    if spec.slides is not None or spec.on == "all":
        chosen = [record for record in project.slides if not spec.slides or {record.id, record.name} & {*spec.slides}]
        seen = ", ".join(record.name for record in chosen if record.id in learnt)
        notices = (f"The model has learnt from {seen}: this says little of how it does elsewhere.",) if seen else ()
        return build_patchset(project, PatchSpec(**frame, slides=spec.slides, min_annotated=0)), notices
    marked = [record for record in project.slides if record.split == spec.on]
    fresh = tuple(record.id for record in marked if record.id not in learnt)
    seen = ", ".join(record.name for record in marked if record.id in learnt)
    notices = (f"The model has learnt from {seen}, so that is not measured on.",) if seen else ()
    if fresh:
        return build_patchset(project, PatchSpec(**frame, slides=fresh, min_annotated=0)), notices
    if spec.on == "test":
        said = " ".join((*notices, "No other slide is marked as test." if seen else "No slide is marked as test."))
        raise DatasetError(f"{said} Mark one, or measure on the validation places.")
    with closing(LabelSampler(project, held_out)) as sampler:
        if sampler.validation is None:
            raise DatasetError(" ".join(sampler.notices) or "There is nothing to validate on.")
        return sampler.validation, sampler.notices


def _report(
    spec: EvaluationSpec, names: list[str], matrix: NDArray[np.int64], metrics: dict[str, float], patches: PatchSet
) -> dict[str, Any]:
    scores = class_scores(matrix)
    return {
        "model": spec.model.name,
        "on": list(spec.slides) if spec.slides else spec.on,
        "slides": sorted({str(name) for name in patches.slides}) if patches.slides is not None else [],
        "patches": len(patches),
        "labelled_pixels": int(matrix.sum()),
        "metrics": {name: _number(value) for name, value in metrics.items()},
        "classes": {
            name: {metric: _number(values[i]) for metric, values in scores.items()} for i, name in enumerate(names)
        },
        "confusion": {"classes": names, "counts": matrix[1:].tolist(), "columns": ["not predicted", *names]},
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), 6)


def _write(path: Path, values: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=1), encoding="utf-8")
