"""The shapes an annotator draws, kept in the form in which they were drawn.

An ellipse stays centre, axes and angle; a click stays a point; a scribble keeps its width. Converting to polygons is a
decision (it loses what the annotator meant), so it is made late and by name, never on the way into storage. Everything
is in level-0 pixels, (x, y) order, corner-based: pixel (i, j) covers [j, j + 1) x [i, i + 1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import shapely
from shapely import affinity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shapely.geometry.base import BaseGeometry

Bounds: TypeAlias = tuple[float, float, float, float]

_QUARTER_SEGMENTS = 16


@dataclass(frozen=True, slots=True)
class Point:
    """A click."""

    x: float
    y: float

    @property
    def shape(self) -> BaseGeometry:
        return shapely.Point(self.x, self.y)

    @property
    def bounds(self) -> Bounds:
        return (self.x, self.y, self.x, self.y)


@dataclass(frozen=True, slots=True)
class Box:
    """An axis-parallel rectangle from its top-left corner."""

    x: float
    y: float
    width: float
    height: float

    def __post_init__(self) -> None:
        if not (self.width > 0 and self.height > 0):
            raise ValueError(f"a box needs a positive width and height, not {self.width} x {self.height}")

    @property
    def shape(self) -> BaseGeometry:
        return shapely.box(*self.bounds)

    @property
    def bounds(self) -> Bounds:
        return (self.x, self.y, self.x + self.width, self.y + self.height)


@dataclass(frozen=True, slots=True)
class Ellipse:
    """An ellipse: centre, semi-axes and the angle from +x towards +y (clockwise on screen), in radians."""

    cx: float
    cy: float
    a: float
    b: float
    angle: float = 0.0

    def __post_init__(self) -> None:
        if not (self.a > 0 and self.b > 0):
            raise ValueError(f"an ellipse needs positive semi-axes, not {self.a} and {self.b}")

    @property
    def shape(self) -> BaseGeometry:
        """Inscribed polygon of 64 vertices; use the parameters where exactness matters."""
        unit = shapely.Point(0, 0).buffer(1, quad_segs=_QUARTER_SEGMENTS)
        turned = affinity.rotate(affinity.scale(unit, self.a, self.b), self.angle, origin=(0, 0), use_radians=True)
        return affinity.translate(turned, self.cx, self.cy)

    @property
    def bounds(self) -> Bounds:
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        half_width = math.hypot(self.a * cos, self.b * sin)
        half_height = math.hypot(self.a * sin, self.b * cos)
        return (self.cx - half_width, self.cy - half_height, self.cx + half_width, self.cy + half_height)


@dataclass(frozen=True, slots=True)
class Scribble:
    """A stroke: the path of the pen and its width (diameter) in level-0 pixels."""

    points: tuple[tuple[float, float], ...]
    width: float

    def __post_init__(self) -> None:
        if not self.points:
            raise ValueError("a scribble needs at least one point")
        if not self.width > 0:
            raise ValueError(f"a scribble needs a positive width, not {self.width}")

    @property
    def path(self) -> BaseGeometry:
        return shapely.LineString(self.points) if len(self.points) > 1 else shapely.Point(self.points[0])

    @property
    def shape(self) -> BaseGeometry:
        """The area under the pen (round caps and joins)."""
        return self.path.buffer(self.width / 2)

    @property
    def bounds(self) -> Bounds:
        half = self.width / 2
        xs, ys = zip(*self.points, strict=True)
        return (min(xs) - half, min(ys) - half, max(xs) + half, max(ys) + half)


@dataclass(frozen=True, slots=True)
class Area:
    """A polygon or multi-polygon, holes allowed."""

    polygon: shapely.Polygon | shapely.MultiPolygon

    def __post_init__(self) -> None:
        if not isinstance(self.polygon, shapely.Polygon | shapely.MultiPolygon) or self.polygon.is_empty:
            raise ValueError("an area needs a non-empty polygon or multi-polygon")

    @property
    def shape(self) -> BaseGeometry:
        return self.polygon

    @property
    def bounds(self) -> Bounds:
        x0, y0, x1, y1 = self.polygon.bounds
        return (x0, y0, x1, y1)


@dataclass(frozen=True, slots=True)
class WholeSlide:
    """The whole image: what a slide-wise label is about."""

    @property
    def shape(self) -> BaseGeometry:
        return shapely.Polygon()

    @property
    def bounds(self) -> Bounds:
        return (-math.inf, -math.inf, math.inf, math.inf)


Geometry: TypeAlias = Point | Box | Ellipse | Scribble | Area | WholeSlide

_KINDS: dict[str, type[Point | Box | Ellipse | WholeSlide]] = {
    "point": Point,
    "box": Box,
    "ellipse": Ellipse,
    "whole": WholeSlide,
}


def to_native(geometry: Geometry) -> dict[str, Any]:
    """Parameters of a geometry as plain JSON values, with its ``kind``; :func:`from_native` reads them back exactly."""
    if isinstance(geometry, Scribble):
        return {"kind": "scribble", "points": [list(point) for point in geometry.points], "width": geometry.width}
    if isinstance(geometry, Area):
        # not WKT: GEOS rounds what it writes as text, 0.1 + 0.2 to 0.3
        return {"kind": "area", "wkb": shapely.to_wkb(geometry.polygon, hex=True)}
    kind = next(name for name, cls in _KINDS.items() if isinstance(geometry, cls))
    return {"kind": kind, **{name: getattr(geometry, name) for name in geometry.__dataclass_fields__}}


def from_native(native: Mapping[str, Any]) -> Geometry:
    """Geometry from :func:`to_native`'s values.

    Raises
    ------
    ValueError
        If ``kind`` is unknown, or a parameter is missing, superfluous or out of range.
    """
    values = dict(native)
    kind = values.pop("kind", None)
    try:
        if kind == "scribble":
            return Scribble(tuple((float(x), float(y)) for x, y in values["points"]), float(values["width"]))
        if kind == "area":
            if "wkt" in values:  # as earlier versions wrote it
                return Area(shapely.from_wkt(values["wkt"]))
            return Area(shapely.from_wkb(values["wkb"]))
        if kind in _KINDS:
            return _KINDS[kind](**{name: float(value) for name, value in values.items()})
    except (TypeError, KeyError, shapely.errors.GEOSException) as error:
        raise ValueError(f"not the parameters of a geometry of kind {kind!r}: {error}") from error
    raise ValueError(f"unknown geometry kind {kind!r}")
