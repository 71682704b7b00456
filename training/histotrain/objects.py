"""Single objects that a network found, such as nuclei."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class PredictedObject:
    """One object, in pixels of the model's frame; pixel (i, j) covers [j, j + 1) x [i, i + 1).

    Parameters
    ----------
    x, y : float
        Centre of mass, or the point.
    class_id : int
        Its class.
    score : float
        Mean probability of that class over it, 0 … 1; for a point the height of the peak.
    left, top : int
        Corner of its mask.
    mask : bool, shape (h, w), or None
        Its pixels; None for a point.
    """

    x: float
    y: float
    class_id: int
    score: float
    left: int = 0
    top: int = 0
    mask: NDArray[np.bool_] | None = None

    @property
    def area(self) -> int:
        """Pixels."""
        return 0 if self.mask is None else int(np.count_nonzero(self.mask))
