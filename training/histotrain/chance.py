"""Chance for a part of a batch.

Several processes, or several passes of one, can share a batch. Each draws the chance of the whole batch and takes what
belongs to its own patches, so the batch is varied in the same way however it is divided.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Chance:
    """Numbers for the patches ``part`` of a batch of ``total``, one row each."""

    rng: np.random.Generator
    total: int
    part: slice

    @classmethod
    def of(cls, rng: np.random.Generator, count: int) -> Self:
        """Chance for a whole batch."""
        return cls(rng, count, slice(0, count))

    def random(self, columns: int) -> NDArray[np.float64]:
        """0 … 1, shape (n, columns)."""
        return self.rng.random((self.total, columns))[self.part]

    def uniform(self, low: float, high: float, columns: int) -> NDArray[np.float64]:
        """Between two bounds, shape (n, columns)."""
        return self.rng.uniform(low, high, size=(self.total, columns))[self.part]

    def coins(self, columns: int) -> NDArray[np.int64]:
        """0 or 1, shape (n, columns)."""
        return self.rng.integers(0, 2, size=(self.total, columns))[self.part]

    def generators(self) -> list[np.random.Generator]:
        """A generator for each patch."""
        seeds = self.rng.integers(0, 2**63, size=self.total)[self.part]
        return [np.random.default_rng(seed) for seed in seeds]
