"""Planned patches as one PatchSet in memory."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from histotrain import PatchSet
from napari_histoanno.datasets.errors import DatasetError, ExportCancelled
from napari_histoanno.datasets.patches import PatchPlan, annotators_of, kind_of, lineage
from napari_histoanno.datasets.spec import PatchSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from napari_histoanno.datasets.patches import Cancelled, Place, Progress
    from napari_histoanno.project import Project


def build_patchset(
    project: Project,
    spec: PatchSpec | None = None,
    *,
    split: str | None = None,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
) -> PatchSet:
    """Patches of a project in memory.

    Parameters
    ----------
    project : Project
        Where the slides and annotations are.
    spec : PatchSpec, optional
        What to cut.
    split : str, optional
        Only the patches of this split; all without it.
    progress : callable, optional
        Called with the patches done and their number.
    cancelled : callable, optional
        True ends the work.

    Returns
    -------
    PatchSet
        Kind "dense" where every pixel is labelled, else "sparse". ``patch_classes`` says what slides, or parts of them,
        are labelled as a whole; with ``IMAGE`` among the granularities there is a patch wherever such a slide shows
        tissue, not only where something in it is labelled; a rule in ``sampling.patch_label`` says it instead. Origins,
        contexts, instances with their valid parts and shares are there as far as the spec asks for them. Lineage names
        the slides' and the annotations' hashes.

    Raises
    ------
    DatasetError
        If nothing that the spec asks for is annotated.
    ExportCancelled
        If ``cancelled`` said so.
    """
    plan = PatchPlan(project, spec or PatchSpec(), cancelled=cancelled)
    places = plan.places if split is None else plan.in_split(split)
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        if cancelled is not None and cancelled():
            raise ExportCancelled("Stopped while reading patches.")
        if progress is not None:
            progress(done, len(places))

    return patchset_of(plan, places, step=step)


def patchset_of(plan: PatchPlan, places: Sequence[Place], *, step: Callable[[], None]) -> PatchSet:
    """Planned patches, read, with a call of ``step`` after each; see :func:`build_patchset`."""
    if not places:
        raise DatasetError(
            "There are no patches: nothing is annotated that this dataset would show. Annotate some places, lower the "
            "minimum annotated fraction, or widen the classes and granularities."
        )
    side = plan.spec.patch_size
    images = np.empty((len(places), side, side, 3), np.uint8)
    labels = np.empty((len(places), side, side), np.uint8)
    extras: dict[str, NDArray[Any]] = {}
    for number, patch in enumerate(plan.cut(places)):
        images[number], labels[number] = patch.image, patch.labels
        for name, value in patch.extras.items():
            if name not in extras:
                extras[name] = np.empty((len(places), *value.shape), value.dtype)
            extras[name][number] = value
        step()
    names = {record.id: record.name for record in plan.slides}
    classes = np.array([_class_of(plan, place) for place in places], np.uint8)
    return PatchSet(
        images=images,
        labels=labels,
        **extras,
        patch_classes=classes if classes.any() else None,
        slides=np.array([names[place.slide] for place in places], object),
        annotators=np.array([annotators_of(plan, place) for place in places], object),
        kinds=np.array([kind_of(place) for place in places], object),
        mpp=np.full(len(places), plan.spec.mpp),
        corners=np.array([place.location for place in places], float),
        classes=tuple(label.name for label in plan.classes),
        class_ids=tuple(label.id for label in plan.classes),
        scheme={"classes": json.loads(plan.classes.to_json())},
        lineage=lineage(plan),
    )


def _class_of(plan: PatchPlan, place: Place) -> int:
    """A place's class by the spec's rule, else what annotators say of it as a whole."""
    if plan.spec.sampling.patch_label != "drawn":
        return place.class_id
    return plan.labels[place.slide].image_class(plan.box(place))
