"""What napari draws <-> what an annotation is.

napari's shapes are vertices in (row, column) order; vector layers are placed so that these are level-0 (y, x),
corner-based, with no offset. An ellipse is the four corners of the box around it, turned with it; a polygon
with holes or several parts is one line that visits all its rings from a common point and back, which encloses
the same area by the even-odd rule.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import shapely

from napari_histoanno.annotation.geometry import Area, Box, Ellipse, Geometry, Scribble

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shapely.geometry.base import BaseGeometry

Vertices = npt.NDArray[np.float64]

_FLOAT32_STEPS = 4


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A shape as napari takes it: type, vertices (N, 2) in (y, x) order, and the width of its line, if it has one."""

    shape_type: str
    vertices: Vertices
    width: float | None = None


def to_drawn(geometry: Geometry) -> Drawn | None:
    """How napari draws a geometry; None for points and whole slides, which are not shapes."""
    match geometry:
        case Ellipse(cx, cy, a, b, angle):
            cos, sin = math.cos(angle), math.sin(angle)
            corners = [(-a, -b), (a, -b), (a, b), (-a, b)]
            return Drawn(
                "ellipse", np.array([(cy + u * sin + v * cos, cx + u * cos - v * sin) for u, v in corners], float)
            )
        case Box():
            x0, y0, x1, y1 = geometry.bounds
            return Drawn("rectangle", np.array([(y0, x0), (y0, x1), (y1, x1), (y1, x0)], float))
        case Scribble(points, width):
            line = points if len(points) > 1 else (points[0], points[0])
            return Drawn("path", np.array([(y, x) for x, y in line], float), width)
        case Area(polygon):
            return Drawn("polygon", _one_line(list(_rings(polygon)))[:, ::-1])
    return None


def _rings(polygon: shapely.Polygon | shapely.MultiPolygon) -> Iterator[Vertices]:
    """All rings, (x, y), without their closing points."""
    for part in shapely.get_parts(polygon):
        for ring in (part.exterior, *part.interiors):
            yield np.asarray(ring.coords, float)[:-1]


def _one_line(rings: list[Vertices]) -> Vertices:
    first = rings[0]
    pieces = [first]
    for ring in rings[1:]:
        pieces += [first[:1], ring, ring[:1]]
    if len(rings) > 1:
        pieces.append(first[:1])
    return np.concatenate(pieces)


def from_drawn(drawn: Drawn) -> Geometry | None:
    """The geometry that a drawn shape means; None if it is degenerate (no extent).

    Parameters
    ----------
    drawn : Drawn
        "ellipse" gives an Ellipse with ``a`` along its first side, "rectangle" the Box around it, "path"
        a Scribble and "polygon" an Area by the even-odd rule.
    """
    vertices = np.asarray(drawn.vertices, float)
    if drawn.shape_type == "ellipse":
        return _ellipse(vertices)
    if drawn.shape_type == "rectangle":
        (y0, x0), (y1, x1) = vertices.min(0), vertices.max(0)
        return Box(float(x0), float(y0), float(x1 - x0), float(y1 - y0)) if x1 > x0 and y1 > y0 else None
    if drawn.shape_type in ("path", "line"):
        points = [(float(x), float(y)) for y, x in vertices]
        kept = tuple(p for i, p in enumerate(points) if i == 0 or p != points[i - 1])
        return Scribble(kept, float(drawn.width or 1.0))
    return _area(vertices)


def _ellipse(corners: Vertices) -> Ellipse | None:
    (cy, cx), u, v = corners.mean(0), (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    a, b = float(np.hypot(*u)), float(np.hypot(*v))
    if not (a > 0 and b > 0):
        return None
    dy, dx = (-u if u[1] < 0 else u).tolist()
    return Ellipse(float(cx), float(cy), a, b, math.atan2(dy, dx) if dy else 0.0)


def _area(vertices: Vertices) -> Area | None:
    whole: BaseGeometry = shapely.Polygon()
    for ring in _split(vertices[:, ::-1]):
        if len(ring) >= 3:
            part = shapely.Polygon(ring)
            whole = whole.symmetric_difference(part if part.is_valid else shapely.make_valid(part))
    parts = [part for part in shapely.get_parts(whole) if isinstance(part, shapely.Polygon) and part.area > 0]
    if not parts:
        return None
    return Area(parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts))


def _split(line: Vertices) -> list[Vertices]:
    """The rings that :func:`_one_line` put together; a line of another make is one ring."""
    visits = np.flatnonzero((line == line[0]).all(1))
    rings = [line[: visits[1]]] if len(visits) > 1 else [line]
    for start, end in pairwise(visits[1:]):
        loop = line[start + 1 : end]
        if len(loop) < 4 or not np.array_equal(loop[0], loop[-1]):
            return [line]
        rings.append(loop[:-1])
    return rings if len(visits) < 2 or visits[-1] == len(line) - 1 else [line]


def same_drawn(a: Drawn, b: Drawn) -> bool:
    """Whether two shapes are the same to the precision of napari, which keeps vertices as 32-bit floats."""
    if a.shape_type != b.shape_type or a.vertices.shape != b.vertices.shape:
        return False
    largest = max(1.0, float(np.abs(b.vertices).max(initial=0)))
    tolerance = _FLOAT32_STEPS * float(np.spacing(np.float32(largest)))
    return bool(np.allclose(a.vertices, b.vertices, rtol=0, atol=tolerance))
