"""What is held out of the annotated cells of a project, and which places of it validate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_histoanno.datasets.holdout import HeldOut, hold_out_blocks, hold_out_groups
from napari_histoanno.datasets.splits import group_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_histoanno.datasets.cells import AnnotatedCells
    from napari_histoanno.datasets.spec import SamplingSpec


def choose_held(index: AnnotatedCells, spec: SamplingSpec) -> HeldOut:
    """What training shall not see: what a person or an earlier training put aside, else slides, else blocks.

    Parameters
    ----------
    index : AnnotatedCells
        What is annotated.
    spec : SamplingSpec
        What to hold out.
    """
    marked = marked_slides(index)
    if marked:
        before = spec.held or HeldOut()
        return HeldOut(slides=tuple(dict.fromkeys((*before.slides, *marked))), boxes=before.boxes)
    if spec.held:
        return spec.held
    if spec.hold_out == "none":
        return HeldOut()
    if spec.hold_out != "blocks" and (slides := _spare_slides(index, spec)):
        return HeldOut(slides=tuple(sorted(slides)))
    if spec.hold_out == "slides":
        return HeldOut()
    boxes: dict[str, tuple[tuple[float, float, float, float], ...]] = {}
    blocks = hold_out_blocks(index.where, index.said[:, 1:], share=spec.validation_share, seed=spec.seed)
    for slide, *cells in blocks.tolist():
        top, left, bottom, right = (value * index.grids[slide].side for value in cells)
        name = index.records[slide].id
        boxes[name] = (*boxes.get(name, ()), (left, top, right, bottom))
    return HeldOut(boxes=boxes)


def marked_slides(index: AnnotatedCells) -> tuple[str, ...]:
    """Slides that a person has put aside for validation."""
    return tuple(record.id for record in index.records if record.split == "validation")


def share_out(counts: NDArray[np.int64], number: int, seed: int) -> NDArray[np.int64]:
    """Indices of at most ``number`` places, classes taking turns from the rarest on, in ascending order.

    Parameters
    ----------
    counts : int64 array, shape (N, C)
        Pixels of each class in each place.
    number : int
        Places wanted.
    seed : int
        Decides between places that are equally good.

    Returns
    -------
    int64 array, shape (M,)
    """
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


def _spare_slides(index: AnnotatedCells, spec: SamplingSpec) -> frozenset[str]:
    members: dict[str, set[str]] = {}
    counts: dict[str, NDArray[np.int64]] = {}
    said = index.said
    for number, record in enumerate(index.records):
        pixels = said[index.where[:, 0] == number, 1:].sum(0)
        if pixels.any():
            group = group_of(record)
            members.setdefault(group, set()).add(record.id)
            counts[group] = counts.get(group, np.zeros_like(pixels)) + pixels
    by_hand = {group_of(record) for record in index.records if record.split == "train"}
    groups = hold_out_groups(counts, share=spec.validation_share, seed=spec.seed, keep=by_hand)
    return frozenset(slide for group in groups for slide in members[group])
