"""Where fixed training patches lie: on a regular grid, or centred on what is annotated.

Centred places follow Ciga and Martel (2021), appendix B.2: one patch on each connected region of a class; a region
larger than a patch is split by K-means on the coordinates of its pixels into ceil(1 + area / side²) parts, with a patch
on the centre of each. "Larger" is taken to mean that its bounding box does not fit, and the centre of a region that
fits is that of its bounding box, so that all of it is in the patch. The background is not centred on: it is what
regions lie in.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np
import shapely
from scipy.cluster.vq import kmeans
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from napari_histoanno.datasets.grid import Grid, count_labels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from histotrain.recipes.settings import SamplingSettings
    from napari_histoanno.datasets.labels import SlideLabels

_LARGEST = 4096  # side of a label map that regions are looked for in; larger ones are looked at more coarsely
_POINTS = 20_000  # pixels of a region that K-means goes over at most


def fixed_places(
    view: SlideLabels, grid: Grid, settings: SamplingSettings, *, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Patches of one slide in which something is labelled.

    Parameters
    ----------
    view : SlideLabels
        What is annotated.
    grid : Grid
        Side of the patches and their resolution; its stride is not looked at.
    settings : SamplingSettings
        ``places`` "centred" or anything else for a grid with ``stride``.
    seed : int
        Start of K-means.

    Returns
    -------
    corners : int64 array, shape (N, 2)
        Top and left of each, in pixels of the grid.
    counts : int64 array, shape (N, C)
        Pixels of each class id up to the highest that is shown; column 0 is the unlabelled ones.
    """
    if settings.places != "centred":
        stride = max(1, round(settings.stride * grid.patch))
        where, counts = count_labels(view, Grid(grid.patch, stride, grid.downsample, grid.extent))
        return where * stride, counts
    corners = centred_corners(view, grid, seed=seed)
    counts = np.zeros((len(corners), view.highest_class + 1), np.int64)
    for number, (top, left) in enumerate((corners * grid.downsample).tolist()):
        labels = view.render((left, top), grid.downsample, (grid.patch, grid.patch))
        counts[number] = np.bincount(labels.ravel(), minlength=counts.shape[1])
    labelled = counts[:, 1:].any(axis=1)
    return corners[labelled], counts[labelled]


def centred_corners(view: SlideLabels, grid: Grid, *, seed: int) -> NDArray[np.int64]:
    """Top and left of one patch for each region, or part of a large one, int64, shape (N, 2), sorted, none twice.

    Parameters are those of `fixed_places`. Patches that would reach beyond the slide are moved inside.
    """
    rng = np.random.default_rng(seed)
    side = grid.patch
    width, height = grid.pixels
    centres = [
        centre
        for block in _apart(view.annotated_boxes(), grid.downsample)
        for centre in _centres(view, grid, block, rng)
    ]
    corners = np.array(centres, float).reshape(-1, 2) - side / 2
    inside = np.clip(np.floor(corners + 0.5), 0, (max(height - side, 0), max(width - side, 0)))
    return np.unique(inside.astype(np.int64), axis=0)


def split_region(pixels: NDArray[np.float64], area: float, side: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Centres of the patches for a region that is larger than one.

    Parameters
    ----------
    pixels : float64 array, shape (N, 2)
        Coordinates of the region's pixels, or of a part of them that is spread evenly.
    area : float
        Of the region, in pixels.
    side : int
        Of a patch, in pixels.
    rng : numpy Generator
        Chooses the pixels that K-means starts from.

    Returns
    -------
    float64 array, shape (k, 2)
        k = ceil(1 + area / side²), or fewer where K-means leaves a part without pixels.
    """
    parts = min(math.ceil(1 + area / side**2), len(pixels))
    start = pixels[np.sort(rng.choice(len(pixels), parts, replace=False))]
    centres: NDArray[np.float64] = kmeans(pixels, start, thresh=1e-2)[0]
    return centres


def _centres(
    view: SlideLabels, grid: Grid, block: NDArray[np.float64], rng: np.random.Generator
) -> Iterator[tuple[float, float]]:
    """Centres (y, x), in pixels of the grid, of all regions in one level-0 box."""
    x0, y0 = np.floor(block[:2] / grid.downsample)
    columns, rows = np.ceil(block[2:] / grid.downsample) - (x0, y0)
    coarse = max(1, math.ceil(max(columns, rows) / _LARGEST))
    size = (math.ceil(columns / coarse), math.ceil(rows / coarse))
    labels = view.render((x0 * grid.downsample, y0 * grid.downsample), grid.downsample * coarse, size)
    background = view.scheme.background
    for class_id in np.unique(labels).tolist():
        if class_id == 0 or (background is not None and class_id == background.id):
            continue
        count, member, stats, _ = cv2.connectedComponentsWithStats((labels == class_id).astype(np.uint8))
        for region in range(1, count):
            left, top, wide, high, area = (int(value) for value in stats[region])
            if max(wide, high) * coarse <= grid.patch:
                yield y0 + (top + high / 2) * coarse, x0 + (left + wide / 2) * coarse
                continue
            pixels = np.argwhere(member[top : top + high, left : left + wide] == region)
            pixels = pixels[:: math.ceil(len(pixels) / _POINTS)]
            points = (pixels + np.array([top + 0.5, left + 0.5])) * coarse + np.array([y0, x0])
            yield from map(tuple, split_region(points, area * coarse**2, grid.patch, rng).tolist())


def _apart(boxes: NDArray[np.float64], margin: float) -> NDArray[np.float64]:
    """Boxes that hold all of the given ones and do not come closer to each other than ``margin``, sorted."""
    grown = margin * np.array([-0.5, -0.5, 0.5, 0.5])
    while len(boxes):
        shapes = np.asarray(shapely.box(*(boxes + grown).T))
        one, other = shapely.STRtree(shapes).query(shapes, predicate="intersects")
        links = coo_array((np.ones(len(one), bool), (one, other)), shape=(len(boxes), len(boxes)))
        groups, member = connected_components(links, directed=False)
        if groups == len(boxes):
            break
        merged = np.empty((groups, 4))
        merged[:, :2], merged[:, 2:] = np.inf, -np.inf
        np.minimum.at(merged[:, :2], member, boxes[:, :2])
        np.maximum.at(merged[:, 2:], member, boxes[:, 2:])
        boxes = merged
    return boxes[np.lexsort(boxes.T)]
