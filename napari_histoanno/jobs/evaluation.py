"""Measuring a model on annotated places as a job: its numbers as JSON beside the model, and the same as a page to read.

What is measured depends on what the network is for: classes of pixels, classes of whole patches, both, single objects,
points, or the object under a click.
"""

from __future__ import annotations

import json
import math
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np

from histotrain.checkpoint import load_model
from histotrain.events import Finished, Notice, Progressed
from napari_histoanno.datasets import DatasetError, LabelSampler, PatchSpec, SamplingSpec, build_patchset, needs_of
from napari_histoanno.jobs.evaluation_report import write_page
from napari_histoanno.jobs.measuring import ClassMeasure, numbers
from napari_histoanno.jobs.measuring_objects import ObjectMeasure, measured_clicks
from napari_histoanno.jobs.runlog import read_status
from napari_histoanno.project import Project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from histotrain import PatchSet
    from histotrain.checkpoint import LoadedModel
    from histotrain.events import Event
    from napari_histoanno.annotation import LabelScheme
    from napari_histoanno.jobs.channel import Channel
    from napari_histoanno.jobs.measuring import Measure
    from napari_histoanno.jobs.specs import EvaluationSpec

_BATCH = 8
_NOTHING = "There is nothing to measure on: nothing is annotated there. Annotate some of it first."


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
    measures, unknown = _measures(model, patches, scheme)
    if unknown:
        yield Notice(f"The model does not know {', '.join(unknown)}: what is annotated as that counts as wrong.")
    for start in range(0, len(patches), _BATCH):
        if channel.cancelled():
            yield Finished("cancelled", step=start, best_step=0, message="stopped on request")
            return
        part = patches[start : start + _BATCH]
        for measure, used in measures.values():
            chosen = part.select(used[start : start + _BATCH])
            if len(chosen):
                measure.add(chosen)
        yield Progressed(min(start + _BATCH, len(patches)), len(patches), math.nan, math.nan, 0.0, math.nan)
    report = _report(spec, model, patches, notices)
    metrics: dict[str, float] = {}
    for name, (measure, _) in measures.items():
        found = measure.values()
        report |= found if not name else {name: found}
        metrics |= {f"{name}_{key}".strip("_"): value for key, value in measure.metrics().items()}
    if model.task == "clicks":
        metrics = measured_clicks(model, patches)
        report |= {"metrics": numbers(metrics), "classes": {}}
    _write(spec.output, report)
    tiles = [tile for measure, _ in measures.values() for tile in measure.worst.tiles]
    colors = {label.id: label.color for label in scheme}
    write_page(spec.output.with_suffix(".html"), report, tiles, read_status(spec.model), colors)
    yield Finished("completed", step=len(patches), best_step=0, metrics=metrics, path=str(spec.output))


def _measures(
    model: LoadedModel, patches: PatchSet, scheme: LabelScheme
) -> tuple[dict[str, tuple[Measure, Any]], list[str]]:
    """What to measure and on which patches, by the name it has in the report, and classes the model does not know."""
    every = np.ones(len(patches), bool)
    if model.task in ("nuclei", "points"):
        return {"": (ObjectMeasure(model), every)}, []
    if model.task == "clicks":
        return {}, []
    labels, classes = patches.labels, patches.patch_classes
    pixels = labels is not None and model.task != "patches"
    of_pixels = labels.any((1, 2)) if labels is not None and pixels else ~every
    of_patches = classes != 0 if classes is not None and "patches" in model.task else ~every
    if not (of_pixels.any() or of_patches.any()):
        raise DatasetError(_NOTHING)
    said = [array for array in (labels if pixels else None, classes) if array is not None]
    ids = sorted({*model.class_ids, *(int(value) for array in said for value in np.unique(array))} - {0})
    names = [_name(scheme, model, class_id) for class_id in ids]
    unknown = [name for class_id, name in zip(ids, names, strict=True) if class_id not in model.class_ids]
    measures: dict[str, tuple[Measure, Any]] = {}
    if of_pixels.any():
        measures[""] = (ClassMeasure(model, ids, names), of_pixels)
    if of_patches.any():
        measures["patch" if measures else ""] = (ClassMeasure(model, ids, names, whole=True), of_patches)
    return measures, unknown


def _name(scheme: LabelScheme, model: LoadedModel, class_id: int) -> str:
    if class_id in model.class_ids:
        return model.classes[model.class_ids.index(class_id)]
    label = scheme.find(class_id)
    return label.name if label else f"class {class_id}"


def _patches(spec: EvaluationSpec, model: LoadedModel, project: Project) -> tuple[PatchSet, tuple[str, ...]]:
    """The patches to measure on, and what a person should know of them."""
    frame = needs_of(model.recipe, (model.card.stain or {}).get("target"))
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


def _report(spec: EvaluationSpec, model: LoadedModel, patches: PatchSet, notices: tuple[str, ...]) -> dict[str, Any]:
    return {
        "model": spec.model.name,
        "recipe": model.recipe.name,
        "network": model.recipe.model,
        "task": model.task,
        "mpp": model.mpp,
        "on": list(spec.slides) if spec.slides else spec.on,
        "slides": sorted(set(patches.slides.tolist())),
        "patches": len(patches),
        "notices": list(notices),
    }


def _write(path: Path, values: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=1, allow_nan=False), encoding="utf-8")
