"""A grid of pixels laid over a slide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_histoanno.annotation import rasterize
from napari_histoanno.datasets.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_histoanno.annotation import Bounds, Geometry


@dataclass(frozen=True, slots=True)
class Frame:
    """A grid of pixels over a slide: top-left corner in level-0 pixels, level-0 pixels per pixel, width and height."""

    location: tuple[float, float]
    downsample: float
    size: tuple[int, int]

    def __post_init__(self) -> None:
        if not (self.downsample > 0 and min(self.size) > 0):
            raise DatasetError(
                f"Cannot make a label map of {self.size[0]} x {self.size[1]} px at a downsample of {self.downsample}: "
                "all three must be positive."
            )

    @property
    def bounds(self) -> Bounds:
        """(x0, y0, x1, y1) in level-0 pixels."""
        x, y = self.location
        return (x, y, x + self.size[0] * self.downsample, y + self.size[1] * self.downsample)

    def centres(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Level-0 columns and rows of the pixels that contain the centres of this grid's pixels."""
        return tuple(
            np.floor(start + (np.arange(count) + 0.5) * self.downsample).astype(np.int64)
            for start, count in zip(self.location, self.size, strict=True)
        )

    def paint(self, canvas: NDArray[Any], shapes: Sequence[tuple[Geometry, int]]) -> None:
        """Paint level-0 shapes onto an array of this grid's size, later ones over earlier ones."""
        if shapes:
            rasterize(shapes, self.size, origin=self.location, downsample=self.downsample, out=canvas)
