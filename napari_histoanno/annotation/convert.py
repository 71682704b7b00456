"""One granularity to another: what an annotation says, said more coarsely or more finely.

Downward (pixel to ellipse to box to point) is exact geometry: the area-matched ellipse of the second moments, the
tight box, a point inside the object (the pole of inaccessibility, because the centroid of a ring or a crescent lies
outside). Upward, a box becomes the ellipse that touches its sides (whose tight box it is again) and an ellipse its own
outline; what a shape cannot say is either taken at its word (a filled box) or looked up in the image (a click becomes
the object under it). Every result is a new record whose parent is the original.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import numpy as np
import shapely

from napari_histoanno.annotation.clicks import ClickMethod, ClickOptions, click_masks
from napari_histoanno.annotation.errors import AnnotationError
from napari_histoanno.annotation.geometry import Area, Box, Ellipse, Geometry, Point
from napari_histoanno.annotation.model import Annotation, Granularity
from napari_histoanno.annotation.moments import ellipse_of_moments, polygon_moments
from napari_histoanno.annotation.vectorize import vectorize

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from numpy.typing import NDArray

_OUTLINE_VERTICES = 64
_POLE_TOLERANCE = 0.02  # of the object's size: how near to the true pole is near enough
_BLOCK = 512  # level-0 pixels per side of the blocks in which clicks are looked up together
_OBJECTS = (Granularity.PIXEL, Granularity.ELLIPSE, Granularity.BOX, Granularity.POINT)


class ImageSource(Protocol):
    """Reads a region of level 0 as uint8 RGB of shape (h, w, 3)."""

    def __call__(self, x: int, y: int, w: int, h: int, /) -> NDArray[np.uint8]: ...


def convert(
    annotation: Annotation,
    to: Granularity,
    *,
    image: ImageSource | None = None,
    method: ClickMethod = ClickMethod.NETWORK,
    options: ClickOptions | None = None,
) -> Annotation:
    """The annotation at another granularity, as a derived record.

    Parameters
    ----------
    annotation : Annotation
        PIXEL, ELLIPSE, BOX or POINT, or SPARSE (to PIXEL only).
    to : Granularity
        PIXEL, ELLIPSE, BOX or POINT. What has it already is returned as it is.
    image : ImageSource, optional
        Needed where a POINT becomes anything else; with it a BOX becomes the object inside, without it the filled box.
    method, options
        How to find the object under a click, see :func:`.click_masks`; radii in level-0 pixels.

    Returns
    -------
    Annotation
        Its parent is the original; found in the image, it carries the confidence of the finding.

    Raises
    ------
    AnnotationError
        If the annotation does not say enough.

    Examples
    --------
    >>> box = Annotation("slide", Granularity.BOX, Box(0, 0, 4, 2), class_id=1)
    >>> convert(box, Granularity.ELLIPSE).geometry
    Ellipse(cx=2.0, cy=1.0, a=2.0, b=1.0, angle=0.0)
    """
    return convert_all([annotation], to, image=image, method=method, options=options)[0]


def convert_all(
    annotations: Sequence[Annotation],
    to: Granularity,
    *,
    image: ImageSource | None = None,
    method: ClickMethod = ClickMethod.NETWORK,
    options: ClickOptions | None = None,
) -> list[Annotation]:
    """Each annotation as :func:`convert` gives it, in order; clicks on neighbouring objects keep out of each other."""
    found: dict[int, Annotation] = {}
    lookups: list[int] = []
    for n, annotation in enumerate(annotations):
        if _needs_image(annotation, to, image):
            lookups.append(n)
        elif annotation.granularity is to:
            found[n] = annotation
        else:
            geometry = convert_geometry(annotation.geometry, annotation.granularity, to)
            found[n] = annotation.derived(granularity=to, geometry=geometry)
    if lookups:
        if image is None:
            raise AnnotationError(
                f"a click does not say how far its object reaches: converting it to {to.value} needs the slide's image"
            )
        chosen = [annotations[n] for n in lookups]
        for n, record in _look_up(chosen, to, image, method, options or ClickOptions()):
            found[lookups[n]] = record
    return [found[n] for n in range(len(annotations))]


def convert_geometry(geometry: Geometry, granularity: Granularity, to: Granularity) -> Geometry:
    """The shape alone at another granularity, without looking at the image.

    Raises
    ------
    AnnotationError
        If the shape does not say enough.
    """
    if granularity is to:
        return geometry
    if granularity is Granularity.SPARSE and to is Granularity.PIXEL:
        return outline(geometry)
    if granularity not in _OBJECTS or to not in _OBJECTS:
        hint = "convert it to pixel first" if granularity is Granularity.SPARSE else "only objects can be converted"
        raise AnnotationError(f"a {granularity.value} annotation cannot become {to.value}: {hint}")
    if granularity is Granularity.POINT:
        raise AnnotationError(f"a click does not say how far its object reaches; it cannot become {to.value} by itself")
    match to:
        case Granularity.PIXEL:
            return outline(geometry)
        case Granularity.ELLIPSE:
            return ellipse_of(geometry)
        case Granularity.BOX:
            return box_of(geometry)
    return interior_point(geometry)


def outline(geometry: Geometry) -> Area:
    """The shape as a polygon; an ellipse becomes one of the same area and the same second moments."""
    if isinstance(geometry, Ellipse):
        step = 2 * math.pi / _OUTLINE_VERTICES
        scale = math.sqrt(step / math.sin(step))
        turn = np.arange(_OUTLINE_VERTICES) * step
        u, v = geometry.a * scale * np.cos(turn), geometry.b * scale * np.sin(turn)
        cos, sin = math.cos(geometry.angle), math.sin(geometry.angle)
        return Area(shapely.Polygon(np.stack([geometry.cx + u * cos - v * sin, geometry.cy + u * sin + v * cos], 1)))
    if isinstance(geometry, Area):
        return geometry
    return Area(_polygon_of(geometry))


def ellipse_of(geometry: Geometry) -> Ellipse:
    """Area-matched ellipse of the second moments; for a box the ellipse that touches its four sides."""
    if isinstance(geometry, Ellipse):
        return geometry
    if isinstance(geometry, Box):
        a, b = geometry.width / 2, geometry.height / 2
        cx, cy = geometry.x + a, geometry.y + b
        return Ellipse(cx, cy, a, b) if a >= b else Ellipse(cx, cy, b, a, math.pi / 2)
    return ellipse_of_moments(polygon_moments(_polygon_of(geometry)))


def box_of(geometry: Geometry) -> Box:
    """Tight axis-parallel box."""
    if isinstance(geometry, Box):
        return geometry
    x0, y0, x1, y1 = geometry.bounds
    if not (x1 > x0 and y1 > y0 and math.isfinite(x1 - x0)):
        raise AnnotationError(f"a {type(geometry).__name__.lower()} without extent has no box")
    return Box(x0, y0, x1 - x0, y1 - y0)


def interior_point(geometry: Geometry) -> Point:
    """A point well inside the shape: the centre, or for polygons the point farthest from the outline."""
    if isinstance(geometry, Point):
        return geometry
    if isinstance(geometry, Box | Ellipse):
        x0, y0, x1, y1 = geometry.bounds
        return Point((x0 + x1) / 2, (y0 + y1) / 2)
    polygon = _polygon_of(geometry)
    circle = shapely.maximum_inscribed_circle(polygon, tolerance=_POLE_TOLERANCE * math.sqrt(polygon.area))
    x, y = shapely.get_coordinates(circle)[0].tolist()
    if not shapely.contains_xy(polygon, x, y):
        inside = shapely.point_on_surface(polygon)
        x, y = inside.x, inside.y
    return Point(x, y)


def _polygon_of(geometry: Geometry) -> shapely.Polygon | shapely.MultiPolygon:
    """Valid polygon of a shape with an area; what crosses itself is repaired, slivers without area are dropped."""
    shape = geometry.shape
    if not shape.is_valid:
        parts = [part for part in shapely.get_parts(shapely.make_valid(shape)) if part.area > 0]
        shape = shapely.union_all(parts)
    if not isinstance(shape, shapely.Polygon | shapely.MultiPolygon) or not shape.area > 0:
        raise AnnotationError(f"a {type(geometry).__name__.lower()} without area cannot be converted")
    return shape


def _needs_image(annotation: Annotation, to: Granularity, image: ImageSource | None) -> bool:
    if to is annotation.granularity or to not in _OBJECTS:
        return False
    if annotation.granularity is Granularity.POINT:
        return True
    return annotation.granularity is Granularity.BOX and to is Granularity.PIXEL and image is not None


def _look_up(
    annotations: Sequence[Annotation], to: Granularity, image: ImageSource, method: ClickMethod, options: ClickOptions
) -> Iterator[tuple[int, Annotation]]:
    """Annotations found in the image, block by block, with their number."""
    boxes = np.array([annotation.bounds for annotation in annotations])
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    blocks = np.floor(centres / _BLOCK).astype(np.int64)
    # A pixel clicked twice is one look-up for both.
    _, first, twin = np.unique(np.floor(centres), axis=0, return_index=True, return_inverse=True)
    unique = np.zeros(len(centres), bool)
    unique[first] = True
    for block in np.unique(blocks, axis=0):
        own = np.flatnonzero((blocks == block).all(axis=1) & unique)
        if not len(own):
            continue
        margin = 2 * options.max_radius
        x0, y0 = np.floor(boxes[own, :2].min(axis=0) - margin).astype(int)
        x1, y1 = np.ceil(boxes[own, 2:].max(axis=0) + margin).astype(int)
        others = ((centres >= (x0, y0)) & (centres < (x1, y1))).all(axis=1) & unique
        others[own] = False
        extents = boxes[own] - (x0, y0, x0, y0)
        masks = click_masks(
            image(int(x0), int(y0), int(x1 - x0), int(y1 - y0)),
            centres[own] - (x0, y0),
            method=method,
            exclusion=centres[others] - (x0, y0),
            boxes=np.where((extents[:, 2] > extents[:, 0])[:, None], extents, np.nan),
            options=options,
        )
        shapes = _largest_parts(masks.labels, (float(x0), float(y0)))
        for k, found in enumerate(own.tolist()):
            geometry = convert_geometry(shapes[k + 1], Granularity.PIXEL, to)
            confidence = float(masks.confidence[k])
            for n in np.flatnonzero(twin == twin[found]).tolist():
                yield n, annotations[n].derived(granularity=to, geometry=geometry, confidence=confidence)


def _largest_parts(labels: NDArray[Any], origin: tuple[float, float]) -> dict[int, Area]:
    shapes: dict[int, Area] = {}
    for value, area in vectorize(labels, origin=origin):
        if value not in shapes or shapes[value].polygon.area < area.polygon.area:
            shapes[value] = area
    return shapes
