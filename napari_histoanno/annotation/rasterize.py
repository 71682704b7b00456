"""Shapes to label masks by the pixel-centre rule.

A pixel belongs to a shape iff its centre does. That is the only rule under which areas are unbiased (rules that take
every touched pixel make a nucleus about 10 % too large) and under which neighbours that share an outline share no
pixel: edges are half-open, so a centre that lies exactly on an outline goes to one side, the same one for both
neighbours. Boxes, ellipses and strokes are tested analytically, never through a polygon.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from napari_histoanno.annotation import kernels
from napari_histoanno.annotation.errors import AnnotationError
from napari_histoanno.annotation.geometry import Area, Box, Ellipse, Geometry, Point, Scribble, WholeSlide

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import DTypeLike, NDArray


def rasterize(
    shapes: Iterable[tuple[Geometry, int] | tuple[int, Geometry]],
    size: tuple[int, int],
    *,
    origin: tuple[float, float] = (0.0, 0.0),
    downsample: float = 1.0,
    out: NDArray[Any] | None = None,
    dtype: DTypeLike = np.uint8,
) -> NDArray[Any]:
    """Label mask of shapes; later shapes overwrite earlier ones.

    Parameters
    ----------
    shapes : iterable of (Geometry, int) or (int, Geometry)
        Shapes in level-0 pixels and the value each paints; what :func:`.vectorize` returns can be given back.
        A point paints the pixel that contains it (for a disc give an ellipse), a scribble the pixels whose centre is
        within half its width of the path, a polygon by the even-odd rule.
    size : (width, height)
        Of the mask, in mask pixels.
    origin : (x, y)
        Level-0 position of the mask's top-left corner.
    downsample : float
        Level-0 pixels per mask pixel.
    out : ndarray, shape (height, width), optional
        Integer array to paint into; ``dtype`` is then ignored.
    dtype : dtype
        Integer dtype of a new mask; int32 for instance maps.

    Returns
    -------
    ndarray, shape (height, width)
        0 where nothing was painted.

    Raises
    ------
    AnnotationError
        If a value does not fit the dtype, or a coordinate is not finite.

    Examples
    --------
    >>> rasterize([(Box(1, 0, 2, 1), 7)], (4, 2))
    array([[0, 7, 7, 0],
           [0, 0, 0, 0]], dtype=uint8)
    >>> rasterize([], (2, 1))
    array([[0, 0]], dtype=uint8)
    """
    if not (downsample > 0 and math.isfinite(downsample)):
        raise AnnotationError(f"downsample must be positive and finite, not {downsample}")
    mask = _new_mask(size, dtype) if out is None else _checked_mask(out, size)
    pairs = [_geometry_first(*pair) for pair in shapes]
    values = _checked_values([value for _, value in pairs], mask.dtype)
    primitives, xy, ring = _encode([geometry for geometry, _ in pairs])
    if not len(primitives):
        return mask
    xy = (xy - _shift(primitives, len(xy), origin)) / _scale(primitives, len(xy), downsample)
    if not np.isfinite(xy).all():
        raise AnnotationError("a shape has a coordinate that is not a finite number; delete or redraw it")
    kernels.paint(mask, primitives[:, :3].copy(), values[primitives[:, 3]], xy, ring)
    return mask


def _geometry_first(first: Geometry | int, second: Geometry | int) -> tuple[Geometry, int]:
    if isinstance(first, int | np.integer):
        first, second = second, first
    if isinstance(first, int | np.integer) or not isinstance(second, int | np.integer):
        raise AnnotationError("each shape comes with an integer: the value it paints")
    return first, int(second)


def _new_mask(size: tuple[int, int], dtype: DTypeLike) -> NDArray[Any]:
    width, height = size
    if not np.issubdtype(np.dtype(dtype), np.integer):
        raise AnnotationError(f"a label mask has an integer dtype, not {np.dtype(dtype)}")
    if width < 0 or height < 0:
        raise AnnotationError(f"a mask needs a width and height of at least 0, not {width} x {height}")
    return np.zeros((height, width), dtype)


def _checked_mask(out: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    if out.shape != (size[1], size[0]) or not np.issubdtype(out.dtype, np.integer) or not out.flags.writeable:
        raise AnnotationError(
            f"`out` must be a writable integer array of shape {(size[1], size[0])}, not {out.dtype} {out.shape}"
        )
    return out


def _checked_values(values: list[int], dtype: np.dtype[Any]) -> NDArray[Any]:
    limits = np.iinfo(dtype)
    for value in values:
        if not limits.min <= value <= limits.max:
            raise AnnotationError(f"value {value} does not fit a mask of dtype {dtype}; ask for a wider dtype")
    return np.array(values, dtype)


def _encode(geometries: list[Geometry]) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Primitives (kind, start, stop, shape index), their vertices and parameters, and the ring of each vertex."""
    areas = [n for n, geometry in enumerate(geometries) if isinstance(geometry, Area)]
    heads, blocks, rings = _encode_polygons([geometries[n].shape for n in areas], np.array(areas, np.int64))
    offset = len(blocks)
    others: list[tuple[float, float]] = []
    rows: list[tuple[int, int, int, int]] = []
    for n, geometry in enumerate(geometries):
        if not isinstance(geometry, Area):
            kind, parameters = _parameters(geometry)
            start = offset + len(others)
            others.extend(parameters)
            rows.append((kind, start, start + len(parameters), n))
    primitives = np.concatenate([heads, np.array(rows, np.int64).reshape(-1, 4)])
    xy = np.concatenate([blocks, np.array(others, np.float64).reshape(-1, 2)])
    ring = np.concatenate([rings, np.zeros(len(others), np.int64)])
    return primitives[np.argsort(primitives[:, 3], kind="stable")], xy, ring


def _encode_polygons(
    shapes: list[Any], index: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    parts, owner = shapely.get_parts(np.array(shapes, object), return_index=True)
    rings, part_of_ring = shapely.get_rings(parts, return_index=True)
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    vertices = np.bincount(part_of_ring[ring], minlength=len(parts)).astype(np.int64)
    stops = np.cumsum(vertices)
    heads = np.stack([np.full(len(parts), kernels.POLYGON), stops - vertices, stops, index[owner]], axis=1)
    return heads.astype(np.int64), xy, ring.astype(np.int64)


def _parameters(geometry: Geometry) -> tuple[int, list[tuple[float, float]]]:
    match geometry:
        case Point(x, y):
            return kernels.PIXEL, [(x, y)]
        case Box():
            x0, y0, x1, y1 = geometry.bounds
            return kernels.BOX, [(x0, y0), (x1, y1)]
        case Ellipse(cx, cy, a, b, angle):
            return kernels.ELLIPSE, [(cx, cy), (a, b), (math.cos(angle), math.sin(angle))]
        case Scribble(points, width):
            return kernels.STROKE, [(width / 2, 0.0), *points]
        case WholeSlide():
            return kernels.EVERYTHING, []
    raise AnnotationError(f"cannot rasterize a {type(geometry).__name__}")


def _parameter_rows(primitives: NDArray[np.int64], kind: int, row: int) -> NDArray[np.int64]:
    chosen: NDArray[np.int64] = primitives[primitives[:, 0] == kind, 1] + row
    return chosen


def _shift(primitives: NDArray[np.int64], count: int, origin: tuple[float, float]) -> NDArray[np.float64]:
    """Origin for rows that are positions, 0 for those that are lengths or directions."""
    shift = np.empty((count, 2))
    shift[:] = origin
    for kind, row in ((kernels.ELLIPSE, 1), (kernels.ELLIPSE, 2), (kernels.STROKE, 0)):
        shift[_parameter_rows(primitives, kind, row)] = 0
    return shift


def _scale(primitives: NDArray[np.int64], count: int, downsample: float) -> NDArray[np.float64]:
    """Down-sampling for positions and lengths, 1 for directions."""
    scale = np.full((count, 2), downsample)
    scale[_parameter_rows(primitives, kernels.ELLIPSE, 2)] = 1
    return scale
