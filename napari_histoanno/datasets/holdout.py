"""What a training does not see, so that its validation means something.

Where only one slide is annotated, validation has to come from the same slide. Blocks of patches are then set aside,
with a gap of one patch around them that belongs to neither side. A block is only taken if every class keeps most of
its pixels in training: with few annotations there is less validation or none, never less to learn from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from numpy.typing import NDArray

KEPT_IN_TRAINING = 0.5
FEWEST_GROUPS = 3
_BLOCK_SIDES = (2, 1, 4, 8)

_Box = tuple[float, float, float, float]


class HeldOut(BaseModel):
    """Slides and boxes that training never sees.

    Boxes are in level-0 pixels, so that a later training at another resolution or patch size can leave out the same
    places: a model that goes on learning must not be judged on what it has learnt from before.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    slides: tuple[str, ...] = ()
    boxes: dict[str, tuple[_Box, ...]] = Field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether anything is held out."""
        return bool(self.slides or self.boxes)

    def renamed(self, ids: Mapping[str, str]) -> HeldOut:
        """The same with other ids for some slides."""
        boxes = {ids.get(slide, slide): found for slide, found in self.boxes.items()}
        return HeldOut(slides=tuple(ids.get(slide, slide) for slide in self.slides), boxes=boxes)

    def inside(self, slide: str, corners: NDArray[np.float64], side: float) -> NDArray[np.bool_]:
        """Which patches lie wholly in what is held out.

        Parameters
        ----------
        slide : str
            Id of their slide.
        corners : float64 array, shape (N, 2)
            Their level-0 (x, y) top-left corners.
        side : float
            Their side in level-0 pixels.

        Returns
        -------
        bool array, shape (N,)
        """
        if slide in self.slides:
            return np.ones(len(corners), bool)
        boxes, near = self._boxes(slide), 1e-6 * side
        low = corners[:, None] >= boxes[None, :, :2] - near
        high = corners[:, None] + side <= boxes[None, :, 2:] + near
        return _any_box(low & high)

    def lost(self, slide: str, corners: NDArray[np.float64], side: float) -> NDArray[np.bool_]:
        """Which patches are lost to training: those in what is held out or within a patch of it; as in `inside`."""
        if slide in self.slides:
            return np.ones(len(corners), bool)
        boxes, near = self._boxes(slide), 1e-6 * side
        low = corners[:, None] + side > boxes[None, :, :2] - side + near
        high = corners[:, None] < boxes[None, :, 2:] + side - near
        return _any_box(low & high)

    def _boxes(self, slide: str) -> NDArray[np.float64]:
        return np.array(self.boxes.get(slide, ()), np.float64).reshape(-1, 4)


def _any_box(agrees: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where both axes agree for at least one box; (N, boxes, 2) to (N,)."""
    both: NDArray[np.bool_] = np.all(agrees, axis=2)
    return np.asarray(np.any(both, axis=1), bool)


def hold_out_blocks(
    cells: NDArray[np.int64], counts: NDArray[np.int64], *, share: float, seed: int
) -> NDArray[np.int64]:
    """Blocks to validate on, with what is lost in the gap around them.

    Parameters
    ----------
    cells : int64 array, shape (N, 3)
        Slide, row and column of every annotated cell.
    counts : int64 array, shape (N, C)
        Labelled pixels of each class in each cell.
    share : float
        Share of the labelled pixels wanted.
    seed : int
        Decides between blocks that are equally good.

    Returns
    -------
    int64 array, shape (M, 5)
        Slide, and the first row, first column, last row and last column + 1 of each block, in cells; empty if there is
        too little to set anything aside.
    """
    best: tuple[float, NDArray[np.int64]] | None = None
    for side in _BLOCK_SIDES:
        found = _greedy(cells, counts, side, share=share, seed=seed)
        if found is None:
            continue
        got, blocks = found
        if got >= share / 2:
            return blocks
        if best is None or got > best[0]:
            best = found
    return best[1] if best else np.zeros((0, 5), np.int64)


def _greedy(
    cells: NDArray[np.int64], counts: NDArray[np.int64], side: int, *, share: float, seed: int
) -> tuple[float, NDArray[np.int64]] | None:
    total = counts.sum(0)
    present = total > 0
    candidates, member = np.unique(
        np.concatenate([cells[:, :1], cells[:, 1:] // side], axis=1), axis=0, return_inverse=True
    )
    content = np.zeros((len(candidates), counts.shape[1]), np.int64)
    np.add.at(content, member.ravel(), counts)
    order = np.random.default_rng(seed).permutation(len(candidates))
    kept = np.ones(len(cells), bool)
    held = np.zeros_like(total)
    chosen: list[NDArray[np.int64]] = []
    for wanted in np.argsort(np.where(present, total, np.iinfo(np.int64).max))[: int(present.sum())]:
        for index in order:
            if held[wanted] >= share * total[wanted]:
                break
            if not content[index, wanted] or held.sum() + content[index].sum() > 2 * share * total.sum():
                continue
            left = kept & ~_near_block(cells, candidates[index], side)
            if (counts[left].sum(0)[present] >= KEPT_IN_TRAINING * total[present]).all():
                kept = left
                chosen.append(candidates[index])
                held = held + content[index]
                content[index] = 0
    if not chosen:
        return None
    corner = np.stack(chosen)
    extent = np.concatenate([corner[:, 1:] * side, (corner[:, 1:] + 1) * side], axis=1)
    return float(held.sum() / total.sum()), np.concatenate([corner[:, :1], extent], axis=1)


def _near_block(cells: NDArray[np.int64], block: NDArray[np.int64], side: int) -> NDArray[np.bool_]:
    first = block[1:] * side
    near = ((cells[:, 1:] >= first - 1) & (cells[:, 1:] <= first + side)).all(axis=1)
    return np.asarray(near & (cells[:, 0] == block[0]), bool)


def hold_out_groups(
    counts: Mapping[str, NDArray[np.int64]], *, share: float, seed: int, keep: Collection[str] = ()
) -> frozenset[str]:
    """Groups (patients) to validate on, so that training keeps every class and at least half of the labelled pixels.

    Of two patients none can be spared: a model that has seen one laboratory's stain knows only that.

    Parameters
    ----------
    counts : mapping from group to int64 array, shape (C,)
        Labelled pixels of each class.
    share : float
        Share of the labelled pixels wanted; groups are added until it is reached.
    seed : int
        Decides between groups that are equally good.
    keep : collection of str
        Groups that a person put into training.

    Returns
    -------
    frozenset of str
        Empty if no group can be spared, as of fewer than three.
    """
    names = sorted(counts)
    if len(names) < FEWEST_GROUPS:
        return frozenset()
    total = np.sum([counts[name] for name in names], axis=0)
    shuffled = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    chosen: set[str] = set()
    held = np.zeros_like(total)
    for name in sorted(shuffled, key=lambda name: -int((counts[name] > 0).sum())):
        after = held + counts[name]
        wanted = name not in keep and held.sum() < share * total.sum()
        keeps_classes = ((total - after)[total > 0] > 0).all()
        if wanted and keeps_classes and after.sum() <= KEPT_IN_TRAINING * total.sum():
            chosen.add(name)
            held = after
    return frozenset(chosen)
