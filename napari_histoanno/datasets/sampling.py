"""Training patches drawn on the fly from everything that is annotated.

A class is drawn first, each as often as any other; then one of its labelled pixels, anywhere in the training slides;
then a patch around that pixel, shifted at random. Places thus count by their annotated area within a class, and a rare
class is seen as often as a common one. What is drawn from is the *rendered* label map, the same that the patch will
show, so that what annotators disagree on, or what a finer annotation covers, is never drawn for.

The sampler lives in the worker process, where the project is open read-only; :meth:`LabelSampler.reload` picks up
what was annotated since. The hold-out is decided once: a place that validated a model never trains it later.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from histotrain import PatchSet
from napari_histoanno.datasets.cells import AnnotatedCells, OpenSlides
from napari_histoanno.datasets.errors import DatasetError
from napari_histoanno.datasets.holdout import HeldOut, hold_out_blocks, hold_out_groups
from napari_histoanno.datasets.patches import annotations_digest
from napari_histoanno.datasets.spec import SamplingSpec, restricted
from napari_histoanno.datasets.splits import group_of
from napari_histoanno.datasets.tiles import TileCache
from napari_histoanno.project import Project

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ATTEMPTS = 20
_NO_VALIDATION = (
    "There is nothing to validate on: too little is annotated to set a part aside. Annotate more places, or another "
    "slide."
)
_SPOILT = "Marked as validation, but the model has learnt from it before, so it is left out of both: {}."
_SEEN_BEFORE = "The model goes on from one that held nothing out: it may have learnt from some of what it is judged by."


@dataclass(frozen=True, slots=True)
class _Draw:
    """Where to draw from: cells, and for each class the cumulative pixels over them."""

    index: AnnotatedCells
    cells: NDArray[np.int64]
    class_ids: tuple[int, ...]
    cumulative: tuple[NDArray[np.int64], ...]


class LabelSampler:
    """Endless, class-balanced supply of patches from a project's annotations; a ``histotrain.PatchSource``.

    Parameters
    ----------
    project : Project or path
        A path is opened read-only and closed with the sampler.
    spec : SamplingSpec, optional
        What to draw and what to hold out.

    Attributes
    ----------
    classes : tuple of str
        Names of the classes that are annotated in the training slides, in the scheme's order.
    class_ids : tuple of int
        Their values in the labels.
    scheme : LabelScheme
        These classes.
    validation : PatchSet or None
        Fixed patches that training never sees; None where too little is annotated to set any aside.
    held : HeldOut
        What training never sees. All of it validates, but for slides that the model learnt from before.
    notices : tuple of str
        What a person should know, e.g. that there is nothing to validate on.

    Raises
    ------
    DatasetError
        If fewer than two classes are annotated.
    """

    def __init__(self, project: Project | Path | str, spec: SamplingSpec | None = None) -> None:
        self.spec = spec or SamplingSpec()
        self._owned = None if isinstance(project, Project) else Project.open(Path(project), read_only=True)
        self._project = project if isinstance(project, Project) else self._owned
        self._slides = OpenSlides(self._open_project)
        self._images = TileCache(self.spec.cache_bytes)
        try:
            index = self._read()
            self.held = self._choose(index)
            self._draw = self._prepare(index)
            self.scheme = restricted(self._open_project.scheme, set(self._draw.class_ids))
            self.classes = tuple(label.name for label in self.scheme)
            self.class_ids = tuple(label.id for label in self.scheme)
            self.validation = self._cut_validation(index)
            self.notices = self._remarks(index)
        except BaseException:
            self.close()
            raise

    def batch(self, size: int, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Draw patches.

        Parameters
        ----------
        size : int
            Number of patches N.
        rng : numpy Generator
            Decides everything; equal generators give equal batches as long as annotations do not change.

        Returns
        -------
        images : uint8 array, shape (N, H, W, 3)
        labels : uint8 array, shape (N, H, W)
            Class ids, 0 is unlabelled.
        """
        draw = self._draw
        order = rng.permutation(len(draw.class_ids))
        start = int(rng.integers(len(order)))
        classes = [int(order[(start + number) % len(order)]) for number in range(size)]
        return draw.index.cut(np.array([self._place(draw, which, rng) for which in classes], np.int64).reshape(-1, 3))

    def reload(self) -> None:
        """Take up what was annotated since; the hold-out and the validation patches stay.

        Raises
        ------
        DatasetError
            If fewer than two classes are left; the sampler then goes on with what it had.
        """
        self._draw = self._prepare(self._read())

    def close(self) -> None:
        """Close the slides, and the project if it was opened here."""
        self._slides.close()
        if self._owned is not None:
            self._owned.close()

    def lineage(self) -> dict[str, Any]:
        """Where patches come from: the spec, and of every slide its fingerprint, annotations digest and role."""
        index, held = self._draw.index, self.held.slides
        slides = {
            record.id: {
                "name": record.name,
                "fingerprint": record.fingerprint,
                "annotations": annotations_digest(labels),
                "split": "validation" if record.id in held else "train",
            }
            for record, labels in zip(index.records, index.labels, strict=True)
        }
        trained = (index.records[number].id for number in np.unique(self._draw.cells[:, 0]))
        return {
            "slides": slides,
            "spec": self.spec.model_dump(mode="json", exclude={"held", "learnt"}),
            "held": self.held.model_dump(mode="json"),
            "learnt": sorted({*self.spec.learnt, *trained}),
        }

    @property
    def _open_project(self) -> Project:
        assert self._project is not None
        return self._project

    def _read(self) -> AnnotatedCells:
        return AnnotatedCells(self._open_project, self.spec, self._slides, self._images)

    def _choose(self, index: AnnotatedCells) -> HeldOut:
        mode, share, seed = self.spec.hold_out, self.spec.validation_share, self.spec.seed
        marked = self._marked(index)
        if marked:
            before = self.spec.held or HeldOut()
            return HeldOut(slides=tuple(dict.fromkeys((*before.slides, *marked))), boxes=before.boxes)
        if self.spec.held:
            return self.spec.held
        if mode == "none":
            return HeldOut()
        if mode != "blocks" and (slides := self._spare_slides(index)):
            return HeldOut(slides=tuple(sorted(slides)))
        if mode == "slides":
            return HeldOut()
        boxes: dict[str, tuple[tuple[float, float, float, float], ...]] = {}
        for slide, *cells in hold_out_blocks(index.where, index.counts[:, 1:], share=share, seed=seed).tolist():
            top, left, bottom, right = (value * index.grids[slide].side for value in cells)
            name = index.records[slide].id
            boxes[name] = (*boxes.get(name, ()), (left, top, right, bottom))
        return HeldOut(boxes=boxes)

    @staticmethod
    def _marked(index: AnnotatedCells) -> tuple[str, ...]:
        """Slides that a person has put aside for validation."""
        return tuple(record.id for record in index.records if record.split == "validation")

    def _remarks(self, index: AnnotatedCells) -> tuple[str, ...]:
        said = []
        names = [record.name for record in index.records if record.id in self._spoilt]
        if names:
            said.append(_SPOILT.format(", ".join(names)))
        if self.validation is None and self.spec.hold_out != "none":
            said.append(_NO_VALIDATION)
        unheld = self.spec.held is not None and not self.spec.held
        if unheld and self.validation is not None and not self._marked(index):
            said.append(_SEEN_BEFORE)
        return tuple(said)

    @property
    def _spoilt(self) -> frozenset[str]:
        """Slides that are left out now, but that the model has learnt from."""
        return frozenset(self.held.slides) & frozenset(self.spec.learnt)

    def _spare_slides(self, index: AnnotatedCells) -> frozenset[str]:
        members: dict[str, set[str]] = {}
        counts: dict[str, NDArray[np.int64]] = {}
        for number, record in enumerate(index.records):
            pixels = index.counts[index.where[:, 0] == number, 1:].sum(0)
            if pixels.any():
                group = group_of(record)
                members.setdefault(group, set()).add(record.id)
                counts[group] = counts.get(group, np.zeros_like(pixels)) + pixels
        by_hand = {group_of(record) for record in index.records if record.split == "train"}
        groups = hold_out_groups(counts, share=self.spec.validation_share, seed=self.spec.seed, keep=by_hand)
        return frozenset(slide for group in groups for slide in members[group])

    def _prepare(self, index: AnnotatedCells) -> _Draw:
        usable = ~index.lost(self.held)
        counts = index.counts[usable]
        present = [class_id for class_id in range(1, counts.shape[1]) if counts[:, class_id].any()]
        if len(present) < 2:
            raise DatasetError(self._too_little(present))
        cumulative = tuple(np.cumsum(counts[:, class_id]) for class_id in present)
        return _Draw(index, index.where[usable], tuple(present), cumulative)

    def _too_little(self, present: list[int]) -> str:
        held = " outside what validates" if self.held else ""
        found = f"only {self._open_project.scheme[present[0]].name!r} is" if present else "nothing is"
        return (
            f"There is too little to learn from: {found} annotated{held}. Annotate at least two classes, for example "
            "something you look for and some background."
        )

    def _place(self, draw: _Draw, which: int, rng: np.random.Generator) -> tuple[int, int, int]:
        """Slide number, and top and left of a patch in pixels of that slide's grid."""
        side, cumulative = self.spec.patch_size, draw.cumulative[which]
        chosen = int(np.searchsorted(cumulative, rng.integers(cumulative[-1]), side="right"))
        slide, row, column = (int(value) for value in draw.cells[chosen])
        pixels = np.flatnonzero(draw.index.label_tile(slide, row, column) == draw.class_ids[which])
        # Erased in the other process since the index was read: the cell itself is as good a place as any.
        attempts = _ATTEMPTS if len(pixels) else 0
        grid, name = draw.index.grids[slide], draw.index.records[slide].id
        width, height = grid.pixels
        for _ in range(attempts):
            y, x = divmod(int(pixels[rng.integers(len(pixels))]), side)
            shift = (rng.uniform(-1, 1, 2) * self.spec.jitter - 1) * side / 2
            top = _within(row * side + y + shift[0], height - side)
            left = _within(column * side + x + shift[1], width - side)
            corner = np.array([[left, top]]) * grid.downsample
            if not self.held.lost(name, corner, grid.side)[0]:
                return slide, top, left
        return slide, row * side, column * side

    def _cut_validation(self, index: AnnotatedCells) -> PatchSet | None:
        judges = tuple(slide for slide in self.held.slides if slide not in self._spoilt)
        usable = index.inside(self.held.model_copy(update={"slides": judges}))
        counts = index.counts[usable][:, list(self.class_ids)]
        places = index.where[usable][_share_out(counts, self.spec.max_validation, self.spec.seed)]
        if not len(places):
            return None
        images, labels = index.cut(places * np.array([1, self.spec.patch_size, self.spec.patch_size]))
        return PatchSet(
            images=images,
            labels=labels,
            slides=np.array([index.records[slide].name for slide in places[:, 0]], object),
            mpp=np.full(len(places), self.spec.mpp),
            classes=self.classes,
            class_ids=self.class_ids,
            scheme={"classes": json.loads(self.scheme.to_json())},
            lineage=self.lineage(),
        )


def build_sampler(
    project: Project | Path | str, spec: SamplingSpec | None = None
) -> tuple[LabelSampler, PatchSet | None]:
    """A sampler and its validation patches; see :class:`LabelSampler`."""
    sampler = LabelSampler(project, spec)
    return sampler, sampler.validation


def _within(value: float, last: int) -> int:
    return round(min(max(value, 0), max(last, 0)))


def _share_out(counts: NDArray[np.int64], number: int, seed: int) -> NDArray[np.int64]:
    """Indices of at most ``number`` cells, classes taking turns from the rarest on, in ascending order."""
    shuffled = np.random.default_rng(seed).permutation(len(counts))
    by_rarity = np.argsort((counts > 0).sum(0), kind="stable")
    queues = [[int(i) for i in reversed(shuffled) if counts[i, column]] for column in by_rarity]
    chosen: set[int] = set()
    while len(chosen) < number and any(queues):
        for queue in queues:
            while queue and queue[-1] in chosen:
                queue.pop()
            if queue and len(chosen) < number:
                chosen.add(queue.pop())
    return np.array(sorted(chosen), np.int64)
