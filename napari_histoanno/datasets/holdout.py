"""What a training does not see, so that its validation means something.

Where only one slide is annotated, validation has to come from the same slide. Blocks of patches are then set aside,
with a gap of one patch around them that belongs to neither side. A block is only taken if every class keeps most of
its pixels in training: with few annotations there is less validation or none, never less to learn from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from numpy.typing import NDArray

KEPT_IN_TRAINING = 0.5
_BLOCK_SIDES = (8, 4, 2, 1)


@dataclass(frozen=True, slots=True)
class Blocks:
    """Blocks of ``side`` x ``side`` cells of one patch each, as rows of (slide, block row, block column)."""

    side: int
    where: NDArray[np.int64]

    def inside(self, cells: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which cells (slide, row, column) lie in a block."""
        blocks = np.concatenate([cells[:, :1], cells[:, 1:] // self.side], axis=1)
        inside: NDArray[np.bool_] = (blocks[:, None] == self.where[None]).all(axis=-1).any(axis=1)
        return inside

    def near(self, slide: int, top: float, left: float) -> bool:
        """Whether a patch at (top, left), in cells, reaches into a block or the gap of one cell around it."""
        mine = self.where[self.where[:, 0] == slide, 1:] * self.side
        position = np.array([top, left])
        return bool(((position + 1 > mine - 1) & (position < mine + self.side + 1)).all(1).any())

    def lost(self, cells: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which cells lie in a block or its gap."""
        lost = np.zeros(len(cells), bool)
        for block in self.where:
            lost |= _near_block(cells, Blocks(self.side, block[None]))
        return lost


def hold_out_blocks(cells: NDArray[np.int64], counts: NDArray[np.int64], *, share: float, seed: int) -> Blocks | None:
    """Blocks to validate on.

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
    Blocks or None
        None if there is too little to set anything aside.
    """
    best: tuple[float, Blocks] | None = None
    for side in _BLOCK_SIDES:
        found = _greedy(cells, counts, side, share=share, seed=seed)
        if found is None:
            continue
        got, blocks = found
        if got >= share / 2:
            return blocks
        if best is None or got > best[0]:
            best = found
    return best[1] if best else None


def _greedy(
    cells: NDArray[np.int64], counts: NDArray[np.int64], side: int, *, share: float, seed: int
) -> tuple[float, Blocks] | None:
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
            block = Blocks(side, candidates[index][None])
            left = kept & ~_near_block(cells, block)
            if (counts[left].sum(0)[present] >= KEPT_IN_TRAINING * total[present]).all():
                kept = left
                chosen.append(candidates[index])
                held = held + content[index]
                content[index] = 0
    if not chosen:
        return None
    return float(held.sum() / total.sum()), Blocks(side, np.stack(chosen))


def _near_block(cells: NDArray[np.int64], block: Blocks) -> NDArray[np.bool_]:
    slide, *corner = block.where[0]
    first = np.array(corner) * block.side
    near = ((cells[:, 1:] >= first - 1) & (cells[:, 1:] <= first + block.side)).all(axis=1)
    return np.asarray(near & (cells[:, 0] == slide), bool)


def hold_out_groups(
    counts: Mapping[str, NDArray[np.int64]], *, share: float, seed: int, keep: Collection[str] = ()
) -> frozenset[str]:
    """Groups (patients) to validate on, so that training keeps every class and at least half of the labelled pixels.

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
        Empty if no group can be spared.
    """
    names = sorted(counts)
    total = np.sum([counts[name] for name in names], axis=0) if names else np.zeros(0, np.int64)
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
