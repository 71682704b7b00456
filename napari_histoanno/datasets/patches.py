"""Annotated slides cut into patches.

Cutting is planned before a pixel is read: which places of which slides have enough annotation, and what it says. The
plan is what splits are balanced on, what progress is counted against, and it fits in memory for any project; images
are then read one patch at a time, so an export may be larger than memory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from histotrain import PatchSet
from napari_histoanno.annotation import Granularity
from napari_histoanno.annotation.geometry import to_native
from napari_histoanno.datasets.errors import DatasetError, ExportCancelled
from napari_histoanno.datasets.grid import Grid, count_labels
from napari_histoanno.datasets.labels import SlideLabels
from napari_histoanno.datasets.spec import LabelSpec, PatchSpec
from napari_histoanno.datasets.splits import SplitBy, deal, split_slides

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_histoanno.annotation import Bounds
    from napari_histoanno.project import Project, SlideRecord
    from napari_histoanno.slides import Slide

_TISSUE = 0.5

Progress = Callable[[int, int], None]
Cancelled = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Place:
    """One patch that will be cut: where it is, what is annotated there, and its split."""

    slide: str
    row: int
    column: int
    location: tuple[float, float]
    counts: NDArray[np.int64]
    split: str = "all"


@dataclass(frozen=True, slots=True)
class Patch:
    """One patch.

    Attributes
    ----------
    image : uint8, shape (H, W, 3)
    labels : uint8, shape (H, W)
        Class ids, 0 is unlabelled.
    """

    place: Place
    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]


class PatchPlan:
    """All patches of a project that a spec asks for, before any image is read.

    Parameters
    ----------
    project : Project
    spec : PatchSpec
    cancelled : callable, optional
        Asked while looking for annotated places; True ends the work.

    Raises
    ------
    DatasetError
        If the spec names an unknown class or slide, or the split is impossible.
    ExportCancelled
        If ``cancelled`` said so.
    """

    def __init__(self, project: Project, spec: PatchSpec, *, cancelled: Cancelled | None = None) -> None:
        self.spec = spec
        self.scheme = project.scheme
        self.classes = spec.shown_classes(self.scheme)
        self.slides = chosen_slides(project, spec)
        options = spec.render_options(self.scheme)
        self.labels = {record.id: SlideLabels(project, record.id, options) for record in self.slides}
        self.grids = {
            slide: Grid(spec.patch_size, spec.step, spec.mpp / labels.mpp, labels.extent)
            for slide, labels in self.labels.items()
        }
        self._project = project
        places = [place for record in self.slides for place in self._annotated(record.id, cancelled)]
        self.slide_splits: dict[str, str] = {}
        self.places = self._split(places)

    def in_split(self, split: str) -> list[Place]:
        """Places of one split, by slide, row and column."""
        return [place for place in self.places if place.split == split]

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that hold patches, in the order train, validation, test."""
        order = ("all", "train", "validation", "test")
        return tuple(name for name in order if any(place.split == name for place in self.places))

    def box(self, place: Place) -> Bounds:
        """Level-0 box of a patch."""
        (x, y), side = place.location, self.grids[place.slide].side
        return (x, y, x + side, y + side)

    def cut(self, places: Sequence[Place]) -> Iterator[Patch]:
        """Read patches, opening each slide once as long as places are ordered by slide."""
        for slide_id, of_slide in groupby(places, key=lambda place: place.slide):
            with self._project.open_slide(slide_id) as slide:
                for place in of_slide:
                    yield self._cut_one(slide, place)

    def _cut_one(self, slide: Slide, place: Place) -> Patch:
        grid = self.grids[place.slide]
        size = (grid.patch, grid.patch)
        fill = 0 if self.spec.unlabelled is None else self.scheme[self.spec.unlabelled].id
        labels = self.labels[place.slide].render(place.location, grid.downsample, size, unlabelled=fill)
        return Patch(place, slide.read_scaled(place.location, grid.downsample, size), labels)

    def _annotated(self, slide: str, cancelled: Cancelled | None) -> Iterator[Place]:
        grid = self.grids[slide]
        where, counts = count_labels(self.labels[slide], grid, cancelled=cancelled)
        labelled = counts[:, 1:].sum(1)
        found = {}
        for index in np.flatnonzero(labelled >= max(1, self.spec.min_annotated * grid.patch**2)):
            row, column = (int(value) for value in where[index])
            found[row, column] = Place(slide, row, column, grid.location(row, column), counts[index])
        if Granularity.IMAGE in self.spec.granularities and self.labels[slide].has_image_classes:
            found = {**self._on_tissue(slide, counts.shape[1]), **found}
        yield from (found[key] for key in sorted(found))

    def _on_tissue(self, slide: str, columns: int) -> dict[tuple[int, int], Place]:
        """Patches that are labelled as a whole and show tissue; what is in them need not be labelled."""
        from napari_histoanno.slides.tissue import tissue_mask

        labels, grid = self.labels[slide], self.grids[slide]
        with self._project.open_slide(slide) as opened:
            tissue = tissue_mask(opened)
        nothing = np.zeros(columns, np.int64)
        nothing[0] = grid.patch**2
        found = {}
        for row, column in np.ndindex(*grid.shape):
            place = Place(slide, row, column, grid.location(row, column), nothing)
            if tissue.fraction(*place.location, grid.side, grid.side) >= _TISSUE and labels.image_class(
                self.box(place)
            ):
                found[row, column] = place
        return found

    def _split(self, places: list[Place]) -> list[Place]:
        spec, seed = self.spec.split, self.spec.seed
        if spec.by is SplitBy.BLOCK:
            return self._split_blocks(places)
        totals: dict[str, NDArray[np.int64]] = {}
        for place in places:
            totals[place.slide] = totals.get(place.slide, 0) + place.counts[1:]
        annotated = [record for record in self.slides if record.id in totals]
        self.slide_splits = split_slides(annotated, spec, totals, seed=seed)
        return [replace(place, split=self.slide_splits[place.slide]) for place in places]

    def _split_blocks(self, places: list[Place]) -> list[Place]:
        """Splits by block; patches nearer than a patch to another split's block are left out."""
        by_hand = {record.id: record.split for record in self.slides if record.split}
        groups: dict[str, NDArray[np.int64]] = {}
        for place in places:
            key = self._block_key(place.slide, *self._blocks_touched(place, margin=0.0)[0])
            groups[key] = groups.get(key, 0) + place.counts[1:]
        fixed = {key: by_hand[slide] for key in groups if (slide := key.split("\n")[0]) in by_hand}
        assigned = deal(groups, self.spec.split.fractions, seed=self.spec.seed, fixed=fixed)
        kept = []
        for place in places:
            near = self._blocks_touched(place, margin=self.grids[place.slide].side)
            splits = {assigned.get(self._block_key(place.slide, *block)) for block in near} - {None}
            if len(splits) == 1:
                kept.append(replace(place, split=str(splits.pop())))
        return kept

    def _blocks_touched(self, place: Place, margin: float) -> list[tuple[int, int]]:
        side = self.grids[place.slide].side
        block = side * self.spec.split.block
        x, y = place.location
        tiny = 1e-6 * side
        x0, y0 = ((value - margin + tiny) // block for value in (x, y))
        x1, y1 = ((value + side + margin - tiny) // block for value in (x, y))
        return [(row, column) for row in range(int(y0), int(y1) + 1) for column in range(int(x0), int(x1) + 1)]

    @staticmethod
    def _block_key(slide: str, row: int, column: int) -> str:
        return f"{slide}\n{row}\n{column}"


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
        tissue, not only where something in it is labelled. Lineage names the slides' and the annotations'
        hashes.

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
    for number, patch in enumerate(plan.cut(places)):
        images[number], labels[number] = patch.image, patch.labels
        step()
    names = {record.id: record.name for record in plan.slides}
    classes = np.array([plan.labels[place.slide].image_class(plan.box(place)) for place in places], np.uint8)
    return PatchSet(
        images=images,
        labels=labels,
        patch_classes=classes if classes.any() else None,
        slides=np.array([names[place.slide] for place in places], object),
        annotators=np.array([annotators_of(plan, place) for place in places], object),
        kinds=np.array([kind_of(place) for place in places], object),
        mpp=np.full(len(places), plan.spec.mpp),
        classes=tuple(label.name for label in plan.classes),
        class_ids=tuple(label.id for label in plan.classes),
        scheme={"classes": json.loads(plan.classes.to_json())},
        lineage=lineage(plan),
    )


def kind_of(place: Place) -> str:
    """ "dense" where every pixel of a patch is labelled, else "sparse"."""
    return "sparse" if place.counts[0] else "dense"


def lineage(plan: PatchPlan) -> dict[str, Any]:
    """Where patches come from: the spec, and per slide its fingerprint and a digest of the annotations used."""
    slides = {
        record.id: {
            "name": record.name,
            "fingerprint": record.fingerprint,
            "annotations": annotations_digest(plan.labels[record.id]),
        }
        for record in plan.slides
    }
    return {"slides": slides, "spec": plan.spec.model_dump(mode="json"), "scheme": json.loads(plan.scheme.to_json())}


def annotations_digest(labels: SlideLabels) -> str:
    """Hex SHA-256 of everything annotated that a view shows; equal annotations give equal digests."""
    digest = hashlib.sha256()
    for record in (*labels.records, *labels.image_labels):
        said = [str(record.granularity), to_native(record.geometry), record.class_id, record.annotator]
        digest.update(json.dumps(said, sort_keys=True).encode())
    for masks in (labels.masks, labels.guesses):
        for name, mask in masks.items():
            side = mask.part.chunk
            for cy, cx in sorted(mask.part.keys()):
                block = mask.part.read(cy * side, (cy + 1) * side, cx * side, (cx + 1) * side)
                digest.update(f"{name} {cy} {cx}".encode())
                digest.update(np.ascontiguousarray(block).tobytes())
    return digest.hexdigest()


def annotators_of(plan: PatchPlan, place: Place) -> str:
    """Names of those who annotated in a patch, sorted, with commas."""
    return ", ".join(name for name in plan.labels[place.slide].annotators_in(plan.box(place)) if name)


def chosen_slides(project: Project, spec: LabelSpec) -> list[SlideRecord]:
    """The slides a spec asks for, by id; raises DatasetError for one that is not in the project."""
    every = sorted(project.slides, key=lambda record: record.id)
    if spec.slides is None:
        return every
    for wanted in spec.slides:
        if not any(wanted in (record.id, record.name) for record in every):
            names = ", ".join(record.name for record in every) or "none"
            raise DatasetError(f"There is no slide {wanted!r} in this project; it has {names}.")
    return [record for record in every if record.id in spec.slides or record.name in spec.slides]
