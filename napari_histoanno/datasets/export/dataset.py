"""The one way in: a project and a spec to a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from napari_histoanno.datasets.errors import DatasetError
from napari_histoanno.datasets.export.context import Task
from napari_histoanno.datasets.export.folder import check_replaceable, complete_folder
from napari_histoanno.datasets.export.manifest import Manifest, hash_files
from napari_histoanno.datasets.export.masks import MaskCoding
from napari_histoanno.datasets.export.spec import ExportKind, ExportSpec
from napari_histoanno.datasets.labels import SlideLabels
from napari_histoanno.datasets.patches import PatchPlan, annotations_digest, chosen_slides
from napari_histoanno.datasets.patchsets import patchset_of
from napari_histoanno.datasets.splits import split_slides

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari_histoanno.annotation import LabelScheme
    from napari_histoanno.project import Project

_NOTHING = (
    "There is nothing to export: nothing is annotated that this dataset would show. Annotate some places, lower the "
    "minimum annotated fraction, or widen the classes, granularities and slides."
)


def export_dataset(
    project: Project,
    out: str | Path,
    spec: ExportSpec,
    *,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Manifest:
    """Write a dataset.

    Parameters
    ----------
    project : Project
        Open for reading at least.
    out : str or Path
        Folder of the dataset. It must be absent, empty, or hold a dataset of this program, which is then replaced.
    spec : ExportSpec
        What to write.
    progress : callable, optional
        Called with the steps done and their number (patches, rows of mask tiles, or slides).
    cancelled : callable, optional
        Asked between steps; True ends the export.

    Returns
    -------
    Manifest
        What was written; also in ``manifest.json``.

    Raises
    ------
    DatasetError
        If nothing is annotated, the spec does not fit the project, or the folder cannot be written (a full disk too).
    ExportCancelled
        If ``cancelled`` said so. In either case nothing is left behind.
    """
    folder = Path(out).expanduser().absolute()
    check_replaceable(folder)
    export: _Export = _Patches(project, spec, cancelled) if spec.kind.of_patches else _Slides(project, spec)
    if not export.slide_splits:
        raise DatasetError(_NOTHING)
    coding = MaskCoding(spec.shown_classes(project.scheme), spec.unlabelled_value)
    with complete_folder(folder) as scratch:
        task = Task(spec, scratch, coding, progress, cancelled)
        totals = export.write(task)
        task.check()
        masks = spec.kind in (ExportKind.PNG, ExportKind.LABEL_PNG, ExportKind.LABEL_OME_TIFF)
        manifest = Manifest(
            kind=str(spec.kind),
            files=hash_files(scratch),
            splits=totals,
            slides=tuple(_describe(export.views[slide], split) for slide, split in export.slide_splits.items()),
            scheme=json.loads(project.scheme.to_json()),
            classes=json.loads(coding.classes.to_json()),
            unlabelled=spec.unlabelled_value if masks and spec.unlabelled is None else None,
            spec=spec.model_dump(mode="json"),
        )
        manifest.save(scratch)
    return manifest


class _Export(Protocol):
    """A planned export: views of the slides, the split of those that are exported, and how to write them."""

    views: dict[str, SlideLabels]
    slide_splits: dict[str, str]

    def write(self, task: Task) -> dict[str, dict[str, Any]]:
        """Write all files; what each split holds."""
        ...


class _Patches:
    """Patches of all slides."""

    def __init__(self, project: Project, spec: ExportSpec, cancelled: Callable[[], bool] | None) -> None:
        self._plan = PatchPlan(project, spec, cancelled=cancelled)
        self.views = self._plan.labels
        by_slide: dict[str, set[str]] = {}
        for place in self._plan.places:
            by_slide.setdefault(place.slide, set()).add(place.split)
        self.slide_splits = {slide: ", ".join(sorted(splits)) for slide, splits in by_slide.items()}

    def write(self, task: Task) -> dict[str, dict[str, Any]]:
        from napari_histoanno.datasets.export.coco import export_coco
        from napari_histoanno.datasets.export.png import export_png

        plan = self._plan
        task.total = len(plan.places)
        writers = {ExportKind.PNG: export_png, ExportKind.COCO: export_coco, ExportKind.PATCHSET: _export_patchset}
        writers[task.spec.kind](plan, task)
        totals = {}
        for split in plan.splits:
            places = plan.in_split(split)
            pixels = np.sum([place.counts for place in places], axis=0)
            totals[split] = {"patches": len(places), "pixels": _by_name(plan.scheme, pixels)}
        return totals


class _Slides:
    """Whole slides, those without annotations left out."""

    def __init__(self, project: Project, spec: ExportSpec) -> None:
        options = spec.render_options(project.scheme)
        every = {record.id: SlideLabels(project, record.id, options) for record in chosen_slides(project, spec)}
        self.views = {slide: view for slide, view in every.items() if len(view.annotated_boxes())}
        records = [view.record for view in self.views.values()]
        counts = {slide: view.presence() for slide, view in self.views.items()}
        self.slide_splits = split_slides(records, spec.split, counts, seed=spec.seed)

    def write(self, task: Task) -> dict[str, dict[str, Any]]:
        if task.spec.kind is ExportKind.GEOJSON:
            from napari_histoanno.datasets.export.shapes import export_geojson

            export_geojson(self.views, self.slide_splits, task)
        else:
            from napari_histoanno.datasets.export.slides import export_slide_masks

            export_slide_masks(self.views, self.slide_splits, task)
        splits = sorted(set(self.slide_splits.values()))
        return {split: {"slides": list(self.slide_splits.values()).count(split)} for split in splits}


def _export_patchset(plan: PatchPlan, task: Task) -> None:
    """Write ``<split>.zarr``, or ``patches.zarr`` where there are no splits."""
    for split in plan.splits:
        name = "patches" if split == "all" else split
        patchset_of(plan, plan.in_split(split), step=task.step).save(task.folder / f"{name}.zarr")


def _describe(view: SlideLabels, split: str) -> Mapping[str, Any]:
    record = view.record
    return {
        "id": record.id,
        "name": record.name,
        "width": record.width,
        "height": record.height,
        "mpp": view.mpp,
        "patient": record.patient,
        "split": split,
        "fingerprint": record.fingerprint,
        "annotations": annotations_digest(view),
    }


def _by_name(scheme: LabelScheme, pixels: np.ndarray[Any, np.dtype[np.int64]]) -> dict[str, int]:
    named = {c.name: int(pixels[c.id]) for c in scheme if c.id < len(pixels) and pixels[c.id]}
    return {**named, "unlabelled": int(pixels[0])}
