"""Label masks to polygons that follow the cracks between pixels.

The outlines are exact: painted again by the pixel-centre rule they give the mask back, pixel for pixel. Components are
4-connected, because pixels that touch at a corner only would make polygons that touch themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from napari_histoanno.annotation import runs as kernels
from napari_histoanno.annotation.errors import AnnotationError
from napari_histoanno.annotation.geometry import Area

if TYPE_CHECKING:
    from numpy.typing import NDArray


def vectorize(
    mask: NDArray[Any],
    *,
    origin: tuple[float, float] = (0.0, 0.0),
    downsample: float = 1.0,
    simplify: float = 0.0,
    min_area: float = 0.0,
) -> list[tuple[int, Area]]:
    """One polygon, holes included, for each connected component of equal labels.

    Parameters
    ----------
    mask : ndarray of bool or int, shape (height, width)
        Class map or instance map; 0 is not vectorized.
    origin : (x, y)
        Level-0 position of the mask's top-left corner.
    downsample : float
        Level-0 pixels per mask pixel.
    simplify : float
        Tolerance of a Douglas-Peucker simplification in level-0 pixels; polygons stay valid, neighbours are simplified
        on their own. 0 keeps every corner.
    min_area : float
        Components of fewer level-0 square pixels are left out.

    Returns
    -------
    list of (int, Area)
        Label and outline of each component, by its first pixel in scan order.

    Raises
    ------
    AnnotationError
        If the mask is not a two-dimensional array of integers.

    Examples
    --------
    >>> [(value, area.polygon.wkt) for value, area in vectorize(np.array([[0, 7, 7]]))]
    [(7, 'POLYGON ((1 0, 3 0, 3 1, 1 1, 1 0))')]
    >>> vectorize(np.zeros((2, 2), int))
    []
    """
    runs, values, rows = find_runs(mask)
    component, areas = kernels.find_components(runs, values, rows)
    xy, stops, owner = kernels.trace_outlines(runs, rows, component)
    kept = areas * downsample**2 >= min_area
    polygons = _polygons(xy * downsample + np.asarray(origin, float), stops, owner, kept)
    if simplify > 0:
        polygons = _simplified(polygons, simplify)
    labels = np.zeros(len(areas), np.int64)
    labels[component[::-1]] = values[::-1]
    return [(label, Area(polygon)) for label, polygon in zip(labels[kept].tolist(), polygons, strict=True)]


def find_runs(mask: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Runs, their values and the row index of a label mask, see :func:`.runs.find_runs`; checks the mask."""
    if mask.ndim != 2 or mask.dtype.kind not in "biu":
        raise AnnotationError(f"a label mask is a 2-d array of integers, not {mask.dtype} of shape {mask.shape}")
    found: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
    found = kernels.find_runs(np.ascontiguousarray(mask.view(np.uint8) if mask.dtype == bool else mask))
    return found


def _polygons(
    xy: NDArray[np.float64], stops: NDArray[np.int64], owner: NDArray[np.int64], kept: NDArray[np.bool_]
) -> NDArray[Any]:
    """Polygons of the kept components in order; the first ring of each is its shell."""
    if not kept.any():
        return np.empty(0, object)
    ring_of_corner = np.repeat(np.arange(len(stops)), np.diff(stops, prepend=0))
    rings: NDArray[Any] = np.asarray(shapely.linearrings(xy, indices=ring_of_corner))
    wanted = np.flatnonzero(kept[owner])
    order = wanted[np.argsort(owner[wanted], kind="stable")]
    number = np.cumsum(kept) - 1
    return np.asarray(shapely.polygons(rings[order], indices=number[owner[order]]))


def _simplified(polygons: NDArray[Any], tolerance: float) -> NDArray[Any]:
    """Simplified polygons; the few that would lose their validity are kept as they are."""
    simpler = shapely.simplify(polygons, tolerance, preserve_topology=True)
    good = shapely.is_valid(simpler) & ~shapely.is_empty(simpler) & (shapely.get_type_id(simpler) == 3)
    chosen: NDArray[Any] = np.where(good, simpler, polygons)
    return chosen
