"""What is true of a synthetic slide, at every granularity an annotator can use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MPP = 0.5
"""Micrometres per pixel: a 20x scan."""

REGION_CLASSES = {
    1: "Tumour gland",
    2: "Benign gland",
    3: "Stroma",
    4: "Lymphoid aggregate",
    5: "Fat",
    6: "Background",
}
"""Classes of the region map. A lumen, and what lies in it, belongs to its gland; vessels and the clefts between
collagen bundles belong to the stroma; glass and cracks are background."""

NUCLEUS_CLASSES = {1: "Neoplastic epithelial", 2: "Benign epithelial", 3: "Lymphocyte", 4: "Stromal"}


@dataclass(frozen=True, slots=True)
class SyntheticSlide:
    """An image and all that is known of it.

    Parameters
    ----------
    image : ndarray of uint8, (h, w, 3)
        RGB.
    regions : ndarray of uint8, (h, w)
        Ids of :data:`REGION_CLASSES`; every pixel has one.
    instances : ndarray of int32, (h, w)
        Nuclei 1 … n, 0 elsewhere; every id occurs.
    nucleus_classes : dict of int to int
        Id of each nucleus to its id in :data:`NUCLEUS_CLASSES`.
    """

    image: NDArray[np.uint8]
    regions: NDArray[np.uint8]
    instances: NDArray[np.int32]
    nucleus_classes: dict[int, int]
    style: str
    seed: int
    mpp: float = MPP

    @property
    def region_names(self) -> dict[int, str]:
        return dict(REGION_CLASSES)

    @property
    def nucleus_names(self) -> dict[int, str]:
        return dict(NUCLEUS_CLASSES)

    def nuclei(self) -> NucleusTable:
        """Ellipses, boxes and points of all nuclei."""
        return NucleusTable.measure(self.instances, self.nucleus_classes)

    def patch_labels(self, size: int) -> NDArray[np.uint8]:
        """Most frequent region class of each ``size`` x ``size`` patch of a grid from the top left, (rows, columns)."""
        rows, columns = self.regions.shape[0] // size, self.regions.shape[1] // size
        patches = self.regions[: rows * size, : columns * size].reshape(rows, size, columns, size)
        counts = [(patches == region).sum((1, 3)) for region in REGION_CLASSES]
        ids = np.asarray(list(REGION_CLASSES), np.uint8)
        return np.asarray(ids[np.argmax(counts, axis=0)], np.uint8)


@dataclass(frozen=True, slots=True)
class NucleusTable:
    """Nuclei as columns in order of their ids; level-0 pixels, (x, y), corner-based.

    Parameters
    ----------
    ids, classes, areas : ndarray of int, (n,)
        Id in the instance map, class, number of pixels.
    ellipses : ndarray of float64, (n, 5)
        cx, cy, a, b, angle: same centre, same second moments and same area as the mask.
    boxes : ndarray of int64, (n, 4)
        x, y, width, height: tight.
    points : ndarray of float64, (n, 2)
        Centre of a pixel of the nucleus, nearest to the centre of mass.
    """

    ids: NDArray[np.int64]
    classes: NDArray[np.uint8]
    areas: NDArray[np.int64]
    ellipses: NDArray[np.float64]
    boxes: NDArray[np.int64]
    points: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def measure(cls, instances: NDArray[np.integer], classes: dict[int, int]) -> NucleusTable:
        """Table of an instance map, from the moments of each mask."""
        rows, columns = np.nonzero(instances)
        labels = instances[rows, columns].astype(np.int64)
        ids, index, areas = np.unique(labels, return_inverse=True, return_counts=True)
        n = len(ids)
        x, y = columns + 0.5, rows + 0.5

        def mean(values: NDArray[np.floating]) -> NDArray[np.float64]:
            return np.asarray(np.bincount(index, values, n) / areas)

        cx, cy = mean(x), mean(y)
        dx, dy = x - cx[index], y - cy[index]
        xx, yy, xy = mean(dx * dx) + 1 / 12, mean(dy * dy) + 1 / 12, mean(dx * dy)
        half, spread = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
        a, b = 2 * np.sqrt(half + spread), 2 * np.sqrt(np.maximum(half - spread, 1 / 12))
        scale = np.sqrt(areas / (np.pi * a * b))
        angle = np.arctan2(2 * xy, xx - yy) / 2
        order = np.lexsort((dx * dx + dy * dy, index))
        first = order[np.searchsorted(index[order], np.arange(n))]
        return cls(
            ids=ids,
            classes=np.asarray([classes[int(i)] for i in ids], np.uint8),
            areas=areas.astype(np.int64),
            ellipses=np.stack([cx, cy, a * scale, b * scale, angle], 1),
            boxes=_boxes(index, rows, columns, n),
            points=np.stack([x[first], y[first]], 1),
        )


def _boxes(index: NDArray[np.int64], rows: NDArray[np.int64], columns: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    low = np.full((n, 2), np.iinfo(np.int64).max)
    high = np.full((n, 2), -1)
    for axis, values in enumerate((columns, rows)):
        np.minimum.at(low[:, axis], index, values)
        np.maximum.at(high[:, axis], index, values)
    return np.concatenate([low, high - low + 1], 1).astype(np.int64)
