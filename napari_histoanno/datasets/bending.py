"""Elastic deformation of a patch with everything that belongs to it (Ho et al. 2021, section 2.3).

Nodes of a regular grid are displaced by a normal distribution, and what lies between them by bicubic interpolation of
these displacements. Images are read between pixels, bicubic; labels take the nearest pixel, so that none gets a class
that nobody named. What comes from beyond the patch's edge is its mirror image, and unlabelled.

The surroundings at lower magnifications are bent by the same field, so that they stay in register with the patch;
beyond the patch the displacement of its edge goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Bend:
    """One deformation.

    Parameters
    ----------
    field : float32 array, shape (side, side, 2)
        Displacement (x, y) of each pixel, in pixels of the patch: where it is read from, relative to itself.
    """

    field: NDArray[np.float32]

    @classmethod
    def draw(cls, side: int, nodes: int, sigma: float, rng: np.random.Generator) -> Bend:
        """A random deformation of a patch by ``nodes`` x ``nodes`` displacements of deviation ``sigma`` pixels."""
        moves = rng.normal(0.0, sigma, (nodes, nodes, 2)).astype(np.float32)
        # Nodes lie on the patch's edges: OpenCV's resize would put them at the centres of cells.
        at = np.linspace(0, nodes - 1, side, dtype=np.float32)
        xs, ys = np.meshgrid(at, at)
        return cls(cv2.remap(moves, xs, ys, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE))

    def image(self, image: NDArray[np.uint8], factor: float = 1.0) -> NDArray[np.uint8]:
        """The patch, or its surroundings with pixels ``factor`` times as large, uint8, shape (side, side, 3)."""
        bent = cv2.remap(image, *self._maps(factor), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        return np.asarray(bent, np.uint8)

    def labels(self, labels: NDArray[Any]) -> NDArray[Any]:
        """Labels of the patch, of any type, shape (side, side) or (side, side, C); 0 comes from beyond its edge."""
        xs, ys = (np.floor(positions + 0.5).astype(np.int64) for positions in self._maps(1.0))
        side = len(labels)
        inside = (xs >= 0) & (xs < side) & (ys >= 0) & (ys < side)
        bent: NDArray[Any] = labels[np.clip(ys, 0, side - 1), np.clip(xs, 0, side - 1)]
        bent[~inside] = 0
        return bent

    def _maps(self, factor: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Where each pixel is read from (x, y), in indices of pixels."""
        side = len(self.field)
        xs, ys = np.meshgrid(*2 * [np.arange(side, dtype=np.float32)])
        field = self.field
        if factor != 1:
            middle = (side - 1) / 2
            at_x, at_y = (((at - middle) * factor + middle).astype(np.float32) for at in (xs, ys))
            field = cv2.remap(field, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) / np.float32(factor)
        return xs + field[..., 0], ys + field[..., 1]
