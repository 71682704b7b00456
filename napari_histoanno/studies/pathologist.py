"""A pathologist who goes over dots: confirms, relabels, deletes and adds, and overlooks some.

Simulated from the truth. What is wrong is found with a probability of 1 - ``oversight`` and then put right; a class
that is assigned by hand is wrong with the probability ``confusion``. The defaults are 0.03 each, an assumption: PanNuke
(Gamper et al. 2020) reports no error rate of its experts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

if TYPE_CHECKING:
    from numpy.typing import NDArray

Counts = dict[str, int]


@dataclass(frozen=True, slots=True, eq=False)
class Dots:
    """Points (n, 2) as (x, y), corner-based pixels, and the class id of each, int (n,)."""

    points: NDArray[np.float64]
    classes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.points)

    @classmethod
    def none(cls) -> Self:
        return cls(np.empty((0, 2)), np.empty(0, np.int64))

    def take(self, where: NDArray[np.integer] | NDArray[np.bool_]) -> Dots:
        return Dots(self.points[where], self.classes[where])

    def and_also(self, more: Dots) -> Dots:
        return Dots(np.concatenate([self.points, more.points]), np.concatenate([self.classes, more.classes]))


@dataclass(frozen=True, slots=True)
class Effort:
    """What somebody did: dots looked at, and dots whose class was changed, that were deleted or set.

    ``clicks`` are what the hand did; a dot that is right is looked at and left.
    """

    looked: int = 0
    relabelled: int = 0
    deleted: int = 0
    added: int = 0
    classes: int = 0
    """Classes of which at least one dot was added, for costs that rise with the first of a class."""

    @property
    def clicks(self) -> int:
        return self.relabelled + self.deleted + self.added

    def __add__(self, other: Effort) -> Effort:
        return Effort(
            self.looked + other.looked,
            self.relabelled + other.relabelled,
            self.deleted + other.deleted,
            self.added + other.added,
            self.classes + other.classes,
        )


@dataclass(frozen=True, slots=True)
class Pathologist:
    """See the module; ``radius`` is how near, in pixels, a dot must be to a nucleus' centre to count for it."""

    classes: tuple[int, ...]
    radius: float
    oversight: float = 0.03
    confusion: float = 0.03

    def correct(self, found: Dots, truth: Dots, rng: np.random.Generator) -> tuple[Dots, Effort]:
        """Go over what a network found in one field.

        Parameters
        ----------
        found : Dots
            Of the network.
        truth : Dots
            All nuclei of the field.
        rng : numpy.random.Generator
            What is overlooked and confused.

        Returns
        -------
        Dots, Effort
            What stands afterwards, and what it took.
        """
        dot, nucleus = matched(found.points, truth.points, self.radius)
        classes = found.classes.copy()
        wrong = dot[classes[dot] != truth.classes[nucleus]]
        seen = rng.random(len(wrong)) >= self.oversight
        right = dict(zip(dot.tolist(), truth.classes[nucleus].tolist(), strict=True))
        for index in wrong[seen].tolist():
            classes[index] = self._named(right[index], rng)
        invented = np.setdiff1d(np.arange(len(found)), dot)
        deleted = invented[rng.random(len(invented)) >= self.oversight]
        kept = np.setdiff1d(np.arange(len(found)), deleted)
        missed = np.setdiff1d(np.arange(len(truth)), nucleus)
        added, effort = self._set(truth.take(missed), rng)
        effort += Effort(looked=len(found), relabelled=int(seen.sum()), deleted=len(deleted))
        return Dots(found.points, classes).take(kept).and_also(added), effort

    def annotate(self, truth: Dots, rng: np.random.Generator) -> tuple[Dots, Effort]:
        """Set every dot of a field by hand; parameters and result as for `correct`."""
        return self._set(truth, rng)

    def _set(self, nuclei: Dots, rng: np.random.Generator) -> tuple[Dots, Effort]:
        seen = nuclei.take(rng.random(len(nuclei)) >= self.oversight)
        classes = np.array([self._named(label, rng) for label in seen.classes.tolist()], np.int64)
        return Dots(seen.points, classes), Effort(added=len(seen), classes=len(np.unique(classes)))

    def _named(self, label: int, rng: np.random.Generator) -> int:
        others = [other for other in self.classes if other != label]
        return int(rng.choice(others)) if others and rng.random() < self.confusion else label


def matched(
    first: NDArray[np.float64], second: NDArray[np.float64], radius: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of the points (n, 2) and (m, 2) that belong together, one to one and within a radius.

    Of the matchings with the most pairs, the one with the smallest total distance.
    """
    if not len(first) or not len(second):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    distance = cdist(first, second)
    far = 1e3 * (radius + 1) * min(distance.shape)
    rows, columns = linear_sum_assignment(np.where(distance <= radius, distance, far))
    near = distance[rows, columns] <= radius
    return rows[near].astype(np.int64), columns[near].astype(np.int64)
