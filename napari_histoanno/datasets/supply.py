"""The places that training patches are drawn from, and how often each.

Places are of two sorts. Fixed ones lie on a grid or on what is annotated, and are drawn as they are. Where they are
"annotated", a cell of the index stands for all patches around its labelled pixels: one of those is drawn first, then a
patch around it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_histoanno.datasets.drawing import Group, Kind, Pool
from napari_histoanno.datasets.places import fixed_places
from napari_histoanno.datasets.rules import class_order, copies, highest_class, is_dense, tile_kinds
from napari_histoanno.datasets.samples import Drawn

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_histoanno.annotation import LabelScheme
    from napari_histoanno.datasets.cells import AnnotatedCells
    from napari_histoanno.datasets.rules import Admission
    from napari_histoanno.datasets.spec import SamplingSpec


@dataclass(frozen=True, slots=True, eq=False)
class Supply:
    """Places of patches.

    Parameters
    ----------
    where : int64 array, shape (N, 3)
        Slide number, and top and left in pixels of that slide's grid.
    counts : int64 array, shape (N, C)
        Pixels of each class id; column 0 is the unlabelled ones.
    classes : uint8 array, shape (N,)
        Class of the patch as a whole, 0 for none.
    segments : bool array, shape (N,)
        Whether its labelled pixels are learnt from.
    floating : bool array, shape (N,)
        Whether it stands for all patches around its labelled pixels.
    """

    where: NDArray[np.int64]
    counts: NDArray[np.int64]
    classes: NDArray[np.uint8]
    segments: NDArray[np.bool_]
    floating: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.where)

    def place(self, number: int) -> tuple[int, int, int]:
        """Slide number, top and left of a place."""
        slide, top, left = (int(value) for value in self.where[number])
        return slide, top, left

    def fixed(self, number: int) -> Drawn:
        """A place as it is."""
        return Drawn(*self.place(number), int(self.classes[number]), bool(self.segments[number]))

    def select(self, chosen: NDArray[np.bool_]) -> Supply:
        """Some of the places."""
        return Supply(*(values[chosen] for values in self._values))

    def joined(self, other: Supply) -> Supply:
        """These places and others after them."""
        pairs = zip(self._values, other._values, strict=True)
        return Supply(*(np.concatenate(pair) for pair in pairs))

    def taught(self, teaches: frozenset[str]) -> NDArray[np.int64]:
        """What is learnt from each place, as ``counts``: a patch of which only its class is learnt is full of it.

        Parameters
        ----------
        teaches : frozenset of str
            What is learnt, as ``LabelSpec.teaches``.

        Returns
        -------
        int64 array, shape (N, C)
        """
        counts = self.counts.copy()
        if "patches" not in teaches:
            return counts
        whole = np.flatnonzero((self.classes > 0) & (~self.segments if "pixels" in teaches else True))
        counts[whole] = 0
        counts[whole, self.classes[whole]] = self.counts[whole].sum(1)
        return counts

    @property
    def _values(self) -> tuple[NDArray, ...]:  # type: ignore[type-arg]
        return (self.where, self.counts, self.classes, self.segments, self.floating)


def find_supply(index: AnnotatedCells, spec: SamplingSpec, scheme: LabelScheme, admission: Admission) -> Supply:
    """All places of an index that a spec asks for.

    Parameters
    ----------
    index : AnnotatedCells
        What is annotated.
    spec : SamplingSpec
        What is asked for.
    scheme : LabelScheme
        For the class order.
    admission : Admission
        Which places are taken.
    """
    asked = spec.sampling
    drawn = asked.patch_label == "drawn"
    if drawn and spec.teaches == {"patches"}:
        return _labelled_as_a_whole(index, admission)
    supply = _cells(index, floating=True) if asked.places == "annotated" else _fixed(index, spec)
    if asked.places != "annotated":
        supply = supply.select(_admitted(index, supply, admission))
    classes = np.zeros(len(supply), np.uint8)
    segments = np.asarray(supply.counts[:, 1:].any(axis=1), bool)
    if asked.patch_label == "single-or-highest":
        classes = highest_class(supply.counts, class_order(scheme))
    elif asked.patch_label == "dominant":
        classes, segments = tile_kinds(supply.counts, asked.dominant)
        if asked.places == "annotated":
            classes, segments = np.zeros_like(classes), np.ones_like(segments)
    supply = Supply(supply.where, supply.counts, classes, segments, supply.floating)
    supply = supply.select((classes > 0) | segments)
    if drawn and spec.wants_patch_classes:
        supply = supply.joined(_labelled_as_a_whole(index, admission))
    return supply


def make_pool(index: AnnotatedCells, supply: Supply, spec: SamplingSpec, extra: NDArray[np.int64]) -> Pool:
    """How places are drawn.

    Classes take turns, each as often as any other: for pixels, a class and then a place by its pixels of that class
    (a fixed place counts once); for patch classes, a class and then one of its patches. With copies all patches are
    drawn as they come, each 1 + r_c times as often (see `rules.copies`). Where both pixels and whole patches teach,
    half of the patches are of either kind (Ciga and Martel 2021 show both in every step); of those that teach pixels,
    ``sparse_per_dense`` may fix how many are densely annotated.

    Parameters
    ----------
    index : AnnotatedCells
        What is annotated.
    supply : Supply
        The places to draw from.
    spec : SamplingSpec
        How.
    extra : int64 array, shape (N,)
        Copies of each place.
    """
    asked = spec.sampling
    kinds = []
    painted = bool(asked.patch_label != "drawn" and supply.floating.any())  # their class is known once they are drawn
    if spec.teaches != {"patches"} or painted:
        here = supply.segments & supply.counts[:, 1:].any(axis=1)
        if asked.sparse_per_dense is None:
            kinds.append(Kind.of(1.0, _pixel_groups(supply, here, spec, extra)))
        else:
            dense = dense_places(index, supply)
            sparse, total = asked.sparse_per_dense, asked.sparse_per_dense + 1
            kinds.append(Kind.of(sparse / total, _pixel_groups(supply, here & ~dense, spec, extra)))
            kinds.append(Kind.of(1 / total, _pixel_groups(supply, here & dense, spec, extra)))
    if spec.wants_patch_classes and not painted:
        kinds.append(Kind.of(1.0, _patch_groups(supply, spec, extra)))
    return Pool(kinds)


def extra_copies(supply: Supply, spec: SamplingSpec, scheme: LabelScheme) -> NDArray[np.int64]:
    """Copies of each place, r_c of its class, shape (N,); 0 where none are asked for."""
    if not spec.sampling.multiply:
        return np.zeros(len(supply), np.int64)
    taught = supply.taught(spec.teaches)
    classes = highest_class(taught, class_order(scheme))
    rates = copies(taught, classes)
    return np.array([rates.get(class_id, 0) for class_id in classes.tolist()], np.int64)


def dense_places(index: AnnotatedCells, supply: Supply) -> NDArray[np.bool_]:
    """Which places are densely annotated."""
    dense = np.zeros(len(supply), bool)
    for number, (view, grid) in enumerate(zip(index.labels, index.grids, strict=True)):
        here = supply.where[:, 0] == number
        dense[here] = is_dense(view, grid, supply.where[here][:, 1:], supply.counts[here])
    return dense


def _pixel_groups(supply: Supply, here: NDArray[np.bool_], spec: SamplingSpec, extra: NDArray[np.int64]) -> list[Group]:
    weights = np.where(supply.floating[:, None], supply.counts, supply.counts > 0) * here[:, None]
    if spec.sampling.multiply:
        every = np.where(supply.floating, weights[:, 1:].sum(1), weights[:, 1:].any(axis=1))
        return [Group.of(0, every * (1 + extra))]
    return [Group.of(class_id, weights[:, class_id]) for class_id in range(1, weights.shape[1])]


def _patch_groups(supply: Supply, spec: SamplingSpec, extra: NDArray[np.int64]) -> list[Group]:
    if spec.sampling.multiply:
        return [Group.of(0, (supply.classes > 0) * (1 + extra))]
    present = sorted({int(class_id) for class_id in supply.classes} - {0})
    return [Group.of(class_id, supply.classes == class_id) for class_id in present]


def _cells(index: AnnotatedCells, *, floating: bool) -> Supply:
    count = len(index.where)
    labelled = np.asarray(index.counts[:, 1:].any(axis=1), bool)
    every = Supply(index.corners, index.counts, index.classes, np.zeros(count, bool), np.full(count, floating))
    return every.select(labelled) if floating else every


def _labelled_as_a_whole(index: AnnotatedCells, admission: Admission) -> Supply:
    whole = _cells(index, floating=False).select(index.classes > 0)
    return whole.select(_admitted(index, whole, admission, as_a_whole=True))


def _fixed(index: AnnotatedCells, spec: SamplingSpec) -> Supply:
    found = [
        fixed_places(view, grid, spec.sampling, seed=spec.seed)
        for view, grid in zip(index.labels, index.grids, strict=True)
    ]
    where = [np.insert(corners, 0, number, axis=1) for number, (corners, _) in enumerate(found)]
    places = np.concatenate([np.zeros((0, 3), np.int64), *where])
    counts = np.concatenate([np.zeros((0, index.counts.shape[1]), np.int64), *(counts for _, counts in found)])
    nothing = np.zeros(len(places), bool)
    return Supply(places, counts, nothing.astype(np.uint8), nothing, nothing)


def _admitted(
    index: AnnotatedCells, supply: Supply, admission: Admission, *, as_a_whole: bool = False
) -> NDArray[np.bool_]:
    taken = np.zeros(len(supply), bool)
    for number, (view, grid) in enumerate(zip(index.labels, index.grids, strict=True)):
        here = supply.where[:, 0] == number
        places = supply.where[here][:, 1:]
        taken[here] = admission.admits(view, grid, places, supply.counts[here], as_a_whole=as_a_whole)
    return taken
