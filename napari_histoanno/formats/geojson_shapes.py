"""GeoJSON geometries to native shapes and back.

QuPath marks an ellipse by ``isEllipse`` on its polygon; it is always axis-parallel there, so a rotated one is written
as a plain polygon (its exact parameters travel beside it). A rectangle is a rectangle to QuPath whether drawn as one
or not.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from napari_histoanno.annotation.convert import outline
from napari_histoanno.annotation.geometry import Area, Box, Ellipse, Geometry, Point, Scribble, WholeSlide
from napari_histoanno.annotation.model import Granularity
from napari_histoanno.annotation.moments import ellipse_of_moments, polygon_moments

if TYPE_CHECKING:
    from numpy.typing import NDArray

Found = tuple[Granularity, Geometry]

LINE_WIDTH = 1.0  # level-0 pixels; lines have no width in GeoJSON
_UPRIGHT = 1e-9
_SAME = 1e-3  # level-0 pixels
_NOT_AN_UPRIGHT_ELLIPSE = 0.05  # relative difference from the area that its bounds promise


class ShapeError(ValueError):
    """A geometry that is none; the message completes "feature 7: …"."""


def parse_geometry(geometry: Any) -> tuple[list[Found], list[str]]:
    """Shapes of one GeoJSON geometry, and what had to be repaired.

    Raises
    ------
    ShapeError
        If nothing can be made of it.
    """
    if not isinstance(geometry, dict):
        raise ShapeError("has no geometry")
    kind, coordinates = geometry.get("type"), geometry.get("coordinates")
    match kind:
        case "Point":
            return [_point(_positions([coordinates])[0])], []
        case "MultiPoint":
            return [_point(position) for position in _positions(coordinates)], []
        case "LineString":
            return [_line(coordinates)], []
        case "MultiLineString":
            return [_line(line) for line in _items(coordinates)], []
        case "Polygon":
            return _polygons([coordinates], bool(geometry.get("isEllipse")))
        case "MultiPolygon":
            return _polygons(_items(coordinates), ellipse=False)
        case "GeometryCollection":
            return _collection(_items(geometry.get("geometries")))
    raise ShapeError(f"has a geometry of unknown type {kind!r}")


def _collection(members: list[Any]) -> tuple[list[Found], list[str]]:
    found: list[Found] = []
    repairs: list[str] = []
    for member in members:
        if isinstance(member, dict) and member.get("type") == "GeometryCollection":
            raise ShapeError("nests geometry collections")
        shapes, notes = parse_geometry(member)
        found += shapes
        repairs += notes
    return found, repairs


def _items(values: Any) -> list[Any]:
    if not isinstance(values, list) or not values:
        raise ShapeError("has no coordinates")
    return values


def _positions(values: Any) -> NDArray[np.float64]:
    """(N, 2) finite positions; a third coordinate is dropped."""
    try:
        positions = np.array(_items(values), np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ShapeError("has coordinates that are not numbers") from error
    if positions.ndim != 2 or positions.shape[1] < 2:
        raise ShapeError("has coordinates that are not (x, y) positions")
    positions = positions[:, :2]
    if not np.isfinite(positions).all():
        raise ShapeError("has a coordinate that is not finite")
    return positions


def _point(position: NDArray[np.float64]) -> Found:
    x, y = position.tolist()
    return Granularity.POINT, Point(x, y)


def _line(coordinates: Any) -> Found:
    return Granularity.SPARSE, Scribble(tuple((x, y) for x, y in _positions(coordinates).tolist()), LINE_WIDTH)


def _polygons(parts: list[Any], ellipse: bool) -> tuple[list[Found], list[str]]:
    polygons = [_polygon(rings) for rings in parts]
    shape: Any = polygons[0] if len(polygons) == 1 else shapely.MultiPolygon(polygons)
    repairs = []
    if not shape.is_valid:
        pieces = [piece for piece in shapely.get_parts(shapely.make_valid(shape)) if piece.area > 0]
        repaired = [part for piece in pieces for part in shapely.get_parts(piece) if part.geom_type == "Polygon"]
        if not repaired:
            raise ShapeError("has an outline without area")
        shape = repaired[0] if len(repaired) == 1 else shapely.union_all(repaired)
        repairs.append("has an outline that crosses itself and was repaired")
    if not shape.area > 0:
        raise ShapeError("has an outline without area")
    if ellipse:
        return [(Granularity.ELLIPSE, _ellipse(shape))], repairs
    if isinstance(shape, shapely.Polygon) and _is_upright_rectangle(shape):
        x0, y0, x1, y1 = shape.bounds
        return [(Granularity.BOX, Box(x0, y0, x1 - x0, y1 - y0))], repairs
    return [(Granularity.PIXEL, Area(shape))], repairs


def _polygon(rings: Any) -> shapely.Polygon:
    shell, *holes = [_ring(ring) for ring in _items(rings)]
    return shapely.Polygon(shell, holes or None)


def _ring(ring: Any) -> NDArray[np.float64]:
    positions = _positions(ring)
    if len(positions) < 3 or (len(positions) == 3 and (positions[0] == positions[-1]).all()):
        raise ShapeError("has an outline of fewer than three corners")
    return positions


def _is_upright_rectangle(polygon: shapely.Polygon) -> bool:
    corners = shapely.get_coordinates(polygon.exterior)
    if len(corners) != 5 or len(polygon.interiors):
        return False
    return all((a == b).any() for a, b in pairwise(corners))


def _ellipse(shape: Any) -> Ellipse:
    x0, y0, x1, y1 = shape.bounds
    a, b = (x1 - x0) / 2, (y1 - y0) / 2
    if abs(shape.area / (math.pi * a * b) - 1) > _NOT_AN_UPRIGHT_ELLIPSE:
        return ellipse_of_moments(polygon_moments(shape))
    return Ellipse((x0 + x1) / 2, (y0 + y1) / 2, a, b)


def geometry_to_geojson(geometry: Geometry) -> dict[str, Any]:
    """A valid GeoJSON geometry that shows the shape."""
    match geometry:
        case Point(x, y):
            return {"type": "Point", "coordinates": [x, y]}
        case Scribble(points, _):
            if len(set(points)) > 1:
                return {"type": "LineString", "coordinates": [list(point) for point in points]}
            return {"type": "Point", "coordinates": list(points[0])}
        case Ellipse():
            polygon: dict[str, Any] = {"type": "Polygon", "coordinates": _upright_ring(geometry)}
            upright = min(abs(math.sin(geometry.angle)), abs(math.cos(geometry.angle))) < _UPRIGHT
            return {**polygon, "isEllipse": True} if upright else polygon
        case WholeSlide():
            return {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]]}
        case Box():
            return {"type": "Polygon", "coordinates": _rings(shapely.box(*geometry.bounds))}
    shape = _valid(geometry.shape)
    if isinstance(shape, shapely.MultiPolygon):
        return {"type": "MultiPolygon", "coordinates": [_rings(part) for part in shape.geoms]}
    return {"type": "Polygon", "coordinates": _rings(shape)}


def same_extent(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two geometries that can be parsed, collections aside, have the same bounds."""
    if "coordinates" not in other:
        return False
    return all(
        abs(a - b) <= _SAME for a, b in zip(_extent(one["coordinates"]), _extent(other["coordinates"]), strict=True)
    )


def _extent(coordinates: Any) -> tuple[float, float, float, float]:
    positions = [coordinates]
    while isinstance(positions[0][0], list):
        positions = [item for part in positions for item in part]
    xs, ys = [position[0] for position in positions], [position[1] for position in positions]
    return min(xs), min(ys), max(xs), max(ys)


def _upright_ring(ellipse: Ellipse) -> list[list[list[float]]]:
    """Outline whose bounds are exactly the ellipse's where it is upright, as QuPath reads them."""
    area = outline(ellipse).polygon
    if isinstance(area, shapely.Polygon) and min(abs(math.sin(ellipse.angle)), abs(math.cos(ellipse.angle))) < _UPRIGHT:
        area = shapely.Polygon(_stretched(shapely.get_coordinates(area), ellipse))
    return _rings(area)


def _stretched(corners: NDArray[np.float64], ellipse: Ellipse) -> NDArray[np.float64]:
    low, high = corners.min(axis=0), corners.max(axis=0)
    x0, y0, x1, y1 = ellipse.bounds
    stretched: NDArray[np.float64] = (corners - low) / (high - low) * (x1 - x0, y1 - y0) + (x0, y0)
    return stretched


def _valid(shape: Any) -> Any:
    if shape.is_valid:
        return shape
    parts = shapely.get_parts(shapely.make_valid(shape))
    return shapely.union_all([part for part in parts if part.area > 0])


def _rings(polygon: Any) -> list[list[list[float]]]:
    return [shapely.get_coordinates(ring).tolist() for ring in (polygon.exterior, *polygon.interiors)]
