"""Annotated slides cut into patches.

Cutting is planned before a pixel is read: which places of which slides have enough annotation, and what it says. The
plan is what splits are balanced on, what progress is counted against, and it fits in memory for any project; images
are then read one patch at a time, so an export may be larger than memory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from histotrain.data import Origin
from napari_histoanno.annotation import Granularity
from napari_histoanno.annotation.geometry import to_native
from napari_histoanno.datasets.errors import DatasetError
from napari_histoanno.datasets.extras import ORIGINS, label_extras
from napari_histoanno.datasets.grid import Grid, count_labels
from napari_histoanno.datasets.labels import SlideLabels
from napari_histoanno.datasets.places import fixed_places
from napari_histoanno.datasets.reading import OpenSlides
from napari_histoanno.datasets.rules import Admission, class_order, highest_class, tile_kinds
from napari_histoanno.datasets.splits import SplitBy, deal, split_slides
from napari_histoanno.datasets.whole import classes_on_tissue

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_histoanno.annotation import Bounds
    from napari_histoanno.datasets.spec import LabelSpec, PatchSpec
    from napari_histoanno.project import Project, SlideRecord


Progress = Callable[[int, int], None]
Cancelled = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Place:
    """One patch that will be cut: where it is, what is annotated there, its class as a whole, and its split.

    Row and column count patches of the grid; for patches that lie on no grid they are its top and left, in pixels. The
    class is 0 for none; ``segments`` says whether labelled pixels are learnt from.
    """

    slide: str
    row: int
    column: int
    location: tuple[float, float]
    counts: NDArray[np.int64]
    split: str = "all"
    class_id: int = 0
    segments: bool = True


@dataclass(frozen=True, slots=True)
class Patch:
    """One patch.

    Attributes
    ----------
    image : uint8, shape (H, W, 3)
    labels : uint8, shape (H, W)
        Class ids, 0 is unlabelled.
    extras : dict from name to array
        Further fields of a PatchSet for this patch, as far as the spec asks for them.
    """

    place: Place
    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    extras: dict[str, NDArray[Any]] = field(default_factory=dict)


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
        self._slides = OpenSlides(project, spec.stain)
        self._admission = Admission(spec.sampling, self._slides.__getitem__)
        with closing(self._slides):
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
        for _, of_slide in groupby(places, key=lambda place: place.slide):
            with closing(self._slides):
                for place in of_slide:
                    yield self._cut_one(place)

    def _cut_one(self, place: Place) -> Patch:
        view, grid = self.labels[place.slide], self.grids[place.slide]
        fill = 0 if self.spec.unlabelled is None else self.scheme[self.spec.unlabelled].id
        labels = view.render(place.location, grid.downsample, (grid.patch, grid.patch), unlabelled=fill)
        image = self._slides.read(place.slide, place.location, grid.downsample, grid.patch)
        ids = [label.id for label in self.classes]
        extras = label_extras(view, grid, place.location, self.spec, ids)
        if ORIGINS in extras and fill:
            extras[ORIGINS][(labels == fill) & (extras[ORIGINS] == Origin.NONE)] = Origin.PIXEL
        if not place.segments:
            labels, extras = np.zeros_like(labels), {name: np.zeros_like(value) for name, value in extras.items()}
        if factors := self.spec.magnifications[1:]:
            extras["contexts"] = self._contexts(place, factors)
        return Patch(place, image, labels, extras)

    def _contexts(self, place: Place, factors: tuple[float, ...]) -> NDArray[np.uint8]:
        grid, (x, y) = self.grids[place.slide], place.location
        out = [(x + grid.side * (1 - f) / 2, y + grid.side * (1 - f) / 2) for f in factors]
        reads = zip(out, factors, strict=True)
        return np.stack(
            [self._slides.read(place.slide, at, grid.downsample * f, grid.patch, black=True) for at, f in reads]
        )

    def _annotated(self, slide: str, cancelled: Cancelled | None) -> Iterator[Place]:
        view, grid, asked = self.labels[slide], self.grids[slide], self.spec.sampling
        if asked.places == "centred":
            where, counts = fixed_places(view, grid, asked, seed=self.spec.seed)
            corners, unit = where, grid.stride
        else:
            where, counts = count_labels(view, grid, cancelled=cancelled)
            corners, unit = where * grid.stride, 1
        taken = counts[:, 1:].sum(1) >= max(1, self.spec.min_annotated * grid.patch**2)
        taken &= self._admission.admits(view, grid, corners, counts)
        classes, segments = np.zeros(len(counts), np.uint8), taken
        if asked.patch_label == "single-or-highest":
            classes = highest_class(counts, class_order(self.scheme))
        elif asked.patch_label == "dominant":
            classes, segments = tile_kinds(counts, asked.dominant)
        found = {}
        for index in np.flatnonzero(taken & ((classes > 0) | segments)):
            row, column = (int(value) for value in where[index])
            location = (float(corners[index, 1] * grid.downsample), float(corners[index, 0] * grid.downsample))
            place = Place(slide, row, column, location, counts[index])
            found[row, column] = replace(place, class_id=int(classes[index]), segments=bool(segments[index]))
        if (Granularity.IMAGE in self.spec.granularities or self._wants_whole) and view.has_image_classes:
            found = {**self._on_tissue(slide, counts.shape[1], unit), **found}
        yield from (found[key] for key in sorted(found))

    @property
    def _wants_whole(self) -> bool:
        return self.spec.wants_patch_classes and self.spec.sampling.patch_label == "drawn"

    def _on_tissue(self, slide: str, columns: int, unit: int) -> dict[tuple[int, int], Place]:
        """Patches that are labelled as a whole and show tissue; what is in them need not be labelled.

        Their row and column are counted in units: 1 for those of the grid, its stride for pixels.
        """
        view, grid = self.labels[slide], self.grids[slide]
        with self._project.open_slide(slide) as opened:
            found = classes_on_tissue(view, grid, opened)
        nothing = np.zeros(columns, np.int64)
        nothing[0] = grid.patch**2
        return {(r * unit, c * unit): Place(slide, r * unit, c * unit, grid.location(r, c), nothing) for r, c in found}

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
