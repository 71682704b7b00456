"""Drawing from groups of patches: which group is next, and which of its members."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Members that are drawn by weight.

    Parameters
    ----------
    class_id : int
        What they are drawn for; 0 for any class.
    members : int64 array, shape (N,)
        Numbers of patches.
    cumulative : float64 array, shape (N,)
        Running sum of their weights.
    """

    class_id: int
    members: NDArray[np.int64]
    cumulative: NDArray[np.float64]

    @classmethod
    def of(cls, class_id: int, weights: ArrayLike) -> Group:
        """Those with a weight above 0 of patches numbered from 0."""
        every = np.asarray(weights, float)
        members = np.flatnonzero(every > 0)
        return cls(class_id, members, np.cumsum(every[members]))

    def draw(self, rng: np.random.Generator) -> int:
        """One member."""
        point = rng.random() * self.cumulative[-1]
        return int(self.members[np.searchsorted(self.cumulative, point, side="right")])


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """Groups that are drawn equally often, with the share of all patches that they make up."""

    share: float
    groups: tuple[Group, ...]

    @classmethod
    def of(cls, share: float, groups: Sequence[Group]) -> Kind:
        """Without the empty groups."""
        return cls(share, tuple(group for group in groups if len(group.members)))


class Pool:
    """What is drawn from: kinds in fixed proportions, and their groups in turn.

    Parameters
    ----------
    kinds : sequence of Kind
        Those without groups are left out.
    """

    def __init__(self, kinds: Sequence[Kind]) -> None:
        self.kinds = tuple(kind for kind in kinds if kind.groups)

    def __bool__(self) -> bool:
        """Whether there is anything to draw."""
        return bool(self.kinds)

    def turns(self, size: int, rng: np.random.Generator) -> list[Group]:
        """Groups for a batch.

        Every kind gets its share to less than one patch, and exactly on average over batches; within a kind groups
        take turns from a random one on.
        """
        bounds = np.cumsum([kind.share for kind in self.kinds])
        if len(self.kinds) == 1:
            numbers = np.zeros(size, int)
        else:
            points = (np.arange(size) + rng.random()) / size * bounds[-1]
            numbers = np.minimum(np.searchsorted(bounds, points, side="right"), len(bounds) - 1)
        turns: list[Group] = []
        for number, count in enumerate(np.bincount(numbers, minlength=len(self.kinds)).tolist()):
            groups = self.kinds[number].groups
            order = rng.permutation(len(groups))
            start = int(rng.integers(len(order)))
            turns += [groups[order[(start + k) % len(order)]] for k in range(count)]
        return turns
