"""Instance maps to boxes, ellipses and interior points, for all instances at once.

One pass over the pixels finds the runs; everything else works on those. An instance need not be connected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_histoanno.annotation import runs as kernels
from napari_histoanno.annotation.errors import AnnotationError
from napari_histoanno.annotation.geometry import Box, Ellipse, Geometry, Point
from napari_histoanno.annotation.model import Granularity
from napari_histoanno.annotation.moments import ellipse_parameters
from napari_histoanno.annotation.vectorize import find_runs, vectorize

if TYPE_CHECKING:
    from numpy.typing import NDArray


def boxes_of(labels: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Tight box of every instance.

    Parameters
    ----------
    labels : ndarray of int, shape (height, width)
        Instance map, 0 where there is none.

    Returns
    -------
    ids : ndarray, int64, shape (N,)
        Ascending.
    boxes : ndarray, float64, shape (N, 4)
        x, y, width, height in pixels of the map, corner-based.

    Examples
    --------
    >>> boxes_of(np.array([[0, 4, 4], [0, 0, 4]]))
    (array([4]), array([[1., 0., 2., 2.]]))
    """
    ids, _, _, boxes, _ = _measured(labels)
    return ids, np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).astype(np.float64)


def ellipses_of(labels: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Area-matched ellipse with the second moments of every instance, pixels being unit squares.

    Parameters
    ----------
    labels : ndarray of int, shape (height, width)
        Instance map, 0 where there is none.

    Returns
    -------
    ids : ndarray, int64, shape (N,)
        Ascending.
    ellipses : ndarray, float64, shape (N, 5)
        cx, cy, a, b, angle as in :class:`.Ellipse`, in pixels of the map, corner-based; a >= b.
    """
    ids, _, _, _, moments = _measured(labels)
    return ids, ellipse_parameters(moments)


def interior_points_of(labels: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Centre of the innermost pixel of every instance: inside it, also where its centroid is not.

    Parameters
    ----------
    labels : ndarray of int, shape (height, width)
        Instance map, 0 where there is none.

    Returns
    -------
    ids : ndarray, int64, shape (N,)
        Ascending.
    points : ndarray, float64, shape (N, 2)
        (x, y) in pixels of the map, corner-based.
    """
    ids, runs, index, boxes, moments = _measured(labels)
    order = np.argsort(index, kind="stable")
    offsets = np.searchsorted(index[order], np.arange(len(ids) + 1))
    return ids, kernels.deepest_pixels(runs, order, offsets, boxes, moments) + 0.5


def convert_mask(labels: NDArray[Any], to: Granularity) -> list[tuple[int, Geometry]]:
    """Every instance at a granularity: PIXEL (one area per connected component), ELLIPSE, BOX or POINT.

    Parameters
    ----------
    labels : ndarray of int, shape (height, width)
        Instance map, 0 where there is none.
    to : Granularity
        What to make.

    Returns
    -------
    list of (int, Geometry)
        Instance and shape, in pixels of the map.

    Raises
    ------
    AnnotationError
        If instances cannot be said at that granularity.
    """
    match to:
        case Granularity.PIXEL:
            return list(vectorize(labels))
        case Granularity.ELLIPSE:
            ids, values = ellipses_of(labels)
            return [(i, Ellipse(*row)) for i, row in zip(ids.tolist(), values.tolist(), strict=True)]
        case Granularity.BOX:
            ids, values = boxes_of(labels)
            return [(i, Box(*row)) for i, row in zip(ids.tolist(), values.tolist(), strict=True)]
        case Granularity.POINT:
            ids, values = interior_points_of(labels)
            return [(i, Point(*row)) for i, row in zip(ids.tolist(), values.tolist(), strict=True)]
    raise AnnotationError(f"instances cannot become {to.value} annotations; choose pixel, ellipse, box or point")


def _measured(labels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Ids, runs, instance index of each run, boxes (x0, y0, x1, y1) and moments."""
    runs, values, _ = find_runs(labels)
    ids, index = np.unique(values, return_inverse=True)
    boxes, moments = kernels.measure(runs, index, len(ids))
    return ids, runs, index, boxes, moments
