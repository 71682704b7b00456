"""Training patches drawn on the fly from everything that is annotated.

A class is drawn first, each as often as any other; then one of its labelled pixels, anywhere in the training slides;
then a patch around that pixel, shifted at random. Places thus count by their annotated area within a class, and a rare
class is seen as often as a common one. What is drawn from is the *rendered* label map, the same that the patch will
show, so that what annotators disagree on, or what a finer annotation covers, is never drawn for. Recipes of the papers
ask for other places and other shares; see `supply` and `rules`.

The sampler lives in the worker process, where the project is open read-only; :meth:`LabelSampler.reload` picks up
what was annotated since. The hold-out is decided once: a place that validated a model never trains it later. The
surroundings that a network of several magnifications sees of a training patch may show pixels that are held out, as
they may show anything; what is annotated there is never shown.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from histotrain import PatchSet
from napari_histoanno.datasets.bending import Bend
from napari_histoanno.datasets.cells import AnnotatedCells
from napari_histoanno.datasets.errors import DatasetError
from napari_histoanno.datasets.holdout import HeldOut
from napari_histoanno.datasets.judging import choose_held, marked_slides, share_out
from napari_histoanno.datasets.patches import annotations_digest
from napari_histoanno.datasets.reading import OpenSlides
from napari_histoanno.datasets.roaming import Roamer
from napari_histoanno.datasets.rules import Admission
from napari_histoanno.datasets.samples import Drawn, assemble
from napari_histoanno.datasets.spec import SamplingSpec, restricted
from napari_histoanno.datasets.supply import Supply, extra_copies, find_supply, make_pool
from napari_histoanno.datasets.tiles import TileCache
from napari_histoanno.project import Project

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_histoanno.datasets.drawing import Group, Pool

_NO_VALIDATION = (
    "There is nothing to validate on: too little is annotated to set a part aside. Annotate more places, or another "
    "slide."
)
_SPOILT = "Marked as validation, but the model has learnt from it before, so it is left out of both: {}."
_SEEN_BEFORE = "The model goes on from one that held nothing out: it may have learnt from some of what it is judged by."
_ONE_KIND = "All annotated places are sparsely, or all are densely annotated: there is nothing to mix."
_COLOURS = "Stains could not be measured, so colours stay as they are: {}."
_NONE_TAKEN = (
    "No patch meets what the recipe asks of them: {}. Annotate more, or lower what is asked in the recipe's sampling."
)


@dataclass(frozen=True, slots=True, eq=False)
class _Draw:
    """Where to draw from: places outside of what is held out, a sure patch of each where not every one will do, their
    copies, and how they take turns.
    """

    index: AnnotatedCells
    supply: Supply
    sure: list[Drawn]
    extra: NDArray[np.int64]
    pool: Pool
    roamer: Roamer
    class_ids: tuple[int, ...]


class LabelSampler:
    """Endless, class-balanced supply of patches from a project's annotations; a ``histotrain.SampleSource``.

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
        If fewer than two classes are annotated (one, where single objects are learnt).
    """

    def __init__(self, project: Project | Path | str, spec: SamplingSpec | None = None) -> None:
        self.spec = spec or SamplingSpec()
        self._plain = _without_extras(self.spec)
        self._owned = None if isinstance(project, Project) else Project.open(Path(project), read_only=True)
        self._project = project if isinstance(project, Project) else self._owned
        self._slides = OpenSlides(self._open_project, self.spec.stain)
        self._images = TileCache(self.spec.cache_bytes)
        try:
            index = self._read()
            self._admission = Admission(self.spec.sampling, self._slides.__getitem__)
            self.held = choose_held(index, self.spec)
            every = find_supply(index, self.spec, self._open_project.scheme, self._admission)
            self._draw = self._prepare(index, every)
            self.scheme = restricted(self._open_project.scheme, set(self._draw.class_ids))
            self.classes = tuple(label.name for label in self.scheme)
            self.class_ids = tuple(label.id for label in self.scheme)
            self.validation = self._cut_validation(index, every)
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
        fields = assemble(self._draw.index, self._plain, self.class_ids, self._turns(size, rng))
        return fields["images"], fields["labels"]

    def samples(self, size: int, rng: np.random.Generator) -> PatchSet:
        """Draw patches with everything that the spec asks to be known of them; the same that `batch` draws.

        Parameters
        ----------
        size, rng
            As for `batch`.

        Returns
        -------
        PatchSet
            Images and labels; ``origins``, ``contexts``, ``patch_classes``, ``instances`` with ``valid``, and
            ``shares`` as the spec asks for them.
        """
        return self._patchset(self._draw.index, self._turns(size, rng))

    def class_counts(self) -> NDArray[np.int64]:
        """Labelled pixels of each class in all training places, int64, shape (C,), in the order of ``class_ids``.

        A place that has a class only as a whole counts as full of it. Windows that overlap count their pixels again,
        as training sees them.
        """
        taught = self._draw.supply.taught(self.spec.teaches)
        counts: NDArray[np.int64] = taught[:, list(self.class_ids)].sum(0)
        return counts

    def reload(self) -> None:
        """Take up what was annotated since; the hold-out and the validation patches stay.

        Raises
        ------
        DatasetError
            If fewer than two classes are left; the sampler then goes on with what it had.
        """
        index = self._read()
        every = find_supply(index, self.spec, self._open_project.scheme, self._admission)
        self._draw = self._prepare(index, every)

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
        trained = (index.records[number].id for number in np.unique(self._draw.supply.where[:, 0]))
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

    def _remarks(self, index: AnnotatedCells) -> tuple[str, ...]:
        said = []
        names = [record.name for record in index.records if record.id in self._spoilt]
        if names:
            said.append(_SPOILT.format(", ".join(names)))
        if self.validation is None and self.spec.hold_out != "none":
            said.append(_NO_VALIDATION)
        unheld = self.spec.held is not None and not self.spec.held
        if unheld and self.validation is not None and not marked_slides(index):
            said.append(_SEEN_BEFORE)
        if self.spec.sampling.sparse_per_dense is not None and len(self._draw.pool.kinds) == 1:
            said.append(_ONE_KIND)
        if colours := [record.name for record in index.records if record.id in self._slides.unnormalised]:
            said.append(_COLOURS.format(", ".join(colours)))
        return tuple(said)

    @property
    def _spoilt(self) -> frozenset[str]:
        """Slides that are left out now, but that the model has learnt from."""
        return frozenset(self.held.slides) & frozenset(self.spec.learnt)

    def _prepare(self, index: AnnotatedCells, every: Supply) -> _Draw:
        spec, scheme = self.spec, self._open_project.scheme
        supply = every.select(~index.lost(self.held, every.where))
        roamer = Roamer(index, spec, scheme, self._admission, self.held)
        found = self._sure_places(supply, roamer)
        if found:
            supply = supply.select(np.array([place is not None for place in found]))
        sure = [place for place in found if place is not None]
        extra = extra_copies(supply, spec, scheme)
        pool = make_pool(index, supply, spec, extra)
        used = supply.taught(spec.teaches)
        present = [class_id for class_id in range(1, used.shape[1]) if used[:, class_id].any()]
        if len(present) < (1 if spec.wants_instances else 2) or not pool:
            raise DatasetError(self._too_little(index, present))
        return _Draw(index, supply, sure, extra, pool, roamer, tuple(present))

    def _too_little(self, index: AnnotatedCells, present: list[int]) -> str:
        if not present and index.counts[:, 1:].any() and not self._admission.takes_all:
            return _NONE_TAKEN.format(self._admission.asked)
        if not present and self.spec.teaches == {"patches"} and index.counts[:, 1:].any():
            return "No patch is labelled as a whole. Give slides, or parts of them, a class as a whole."
        held = " outside what validates" if self.held else ""
        found = f"only {self._open_project.scheme[present[0]].name!r} is" if present else "nothing is"
        return (
            f"There is too little to learn from: {found} annotated{held}. Annotate at least two classes, for example "
            "something you look for and some background."
        )

    def _sure_places(self, supply: Supply, roamer: Roamer) -> list[Drawn | None]:
        """For each place one patch that is worth learning from, None where none was found; empty where any will do.

        A batch then never waits for luck: where that fails, this patch is drawn.
        """
        if roamer.takes_all or not supply.floating.any():
            return []
        rng = np.random.default_rng(self.spec.seed)
        return [
            roamer.find(supply.place(i), 0, rng) if supply.floating[i] else supply.fixed(i) for i in range(len(supply))
        ]

    def _turns(self, size: int, rng: np.random.Generator) -> list[Drawn]:
        draw = self._draw
        return [self._one(draw, group, rng) for group in draw.pool.turns(size, rng)]

    def _one(self, draw: _Draw, group: Group, rng: np.random.Generator) -> Drawn:
        """A patch of a group."""
        chosen = group.draw(rng)
        bend = self._bend(int(draw.extra[chosen]), rng)
        if not draw.supply.floating[chosen]:
            return replace(draw.supply.fixed(chosen), bend=bend)
        found = draw.roamer.find(draw.supply.place(chosen), group.class_id, rng) or draw.sure[chosen]
        return replace(found, bend=bend)

    def _bend(self, extra: int, rng: np.random.Generator) -> Bend | None:
        if not extra or rng.random() * (1 + extra) >= extra:
            return None
        return Bend.draw(self.spec.patch_size, self.spec.elastic_grid, self.spec.elastic_sigma, rng)

    def _cut_validation(self, index: AnnotatedCells, every: Supply) -> PatchSet | None:
        judges = tuple(slide for slide in self.held.slides if slide not in self._spoilt)
        held = self.held.model_copy(update={"slides": judges})
        if not held:
            return None
        supply = every.select(index.inside(held, every.where))
        places = share_out(
            supply.taught(self.spec.teaches)[:, list(self.class_ids)], self.spec.max_validation, self.spec.seed
        )
        if not len(places):
            return None
        roamer = Roamer(index, self.spec, self._open_project.scheme, self._admission, HeldOut())
        drawn = [roamer.judged(*supply.place(i)) if supply.floating[i] else supply.fixed(i) for i in places]
        found = self._patchset(index, [one for one in drawn if one is not None])
        return replace(found, lineage=self.lineage()) if len(found) else None

    def _patchset(self, index: AnnotatedCells, drawn: list[Drawn]) -> PatchSet:
        return PatchSet(
            **assemble(index, self.spec, self.class_ids, drawn),
            slides=np.array([index.records[one.slide].name for one in drawn], object),
            mpp=np.full(len(drawn), self.spec.mpp),
            corners=np.array([np.multiply((d.left, d.top), index.grids[d.slide].downsample) for d in drawn]),
            classes=self.classes,
            class_ids=self.class_ids,
            scheme={"classes": json.loads(self.scheme.to_json())},
        )


def build_sampler(
    project: Project | Path | str, spec: SamplingSpec | None = None
) -> tuple[LabelSampler, PatchSet | None]:
    """A sampler and its validation patches; see :class:`LabelSampler`."""
    sampler = LabelSampler(project, spec)
    return sampler, sampler.validation


def _without_extras(spec: SamplingSpec) -> SamplingSpec:
    """The spec for images and labels alone."""
    rules = spec.sampling.model_copy(update={"disagreement": "unlabelled"})
    plain = {"origins": False, "magnifications": (1.0,), "teaches": frozenset({"pixels"}), "sampling": rules}
    return spec.model_copy(update=plain)
