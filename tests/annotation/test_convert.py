"""Each granularity from each other, exact where a closed form exists."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
import shapely
from hypothesis import assume, given
from hypothesis import strategies as st

from napari_histoanno.annotation import (
    Annotation,
    AnnotationError,
    Area,
    Box,
    ClickMethod,
    Ellipse,
    Granularity,
    Point,
    Scribble,
    Source,
    WholeSlide,
    convert,
    convert_all,
    ellipses_of,
    rasterize,
)
from napari_histoanno.annotation.moments import polygon_moments

if TYPE_CHECKING:
    from napari_histoanno.annotation.geometry import Geometry

PIXEL, ELLIPSE, BOX, POINT = Granularity.PIXEL, Granularity.ELLIPSE, Granularity.BOX, Granularity.POINT
LENGTH = st.floats(0.5, 200)
PLACE = st.floats(-1e5, 1e5)
RING = shapely.Point(50, 50).buffer(40).difference(shapely.Point(50, 50).buffer(30))
CRESCENT = shapely.Point(50, 50).buffer(40).difference(shapely.Point(62, 50).buffer(38))


def note(granularity: Granularity, geometry: Geometry) -> Annotation:
    return Annotation("slide", granularity, geometry, class_id=2, annotator="ada", confidence=0.5)


@given(PLACE, PLACE, LENGTH, LENGTH, st.floats(-1.5, 1.5))
def test_ellipse_to_pixel_and_back_is_the_same_ellipse(x: float, y: float, a: float, b: float, angle: float) -> None:
    assume(a > b * 1.01 and a < b * 50)
    there = convert(note(ELLIPSE, Ellipse(x, y, a, b, angle)), PIXEL)
    back = convert(there, ELLIPSE).geometry
    assert there.geometry.shape.area == pytest.approx(math.pi * a * b, rel=1e-6)
    assert (back.cx, back.cy, back.a, back.b) == pytest.approx((x, y, a, b), rel=1e-5, abs=1e-5)
    assert math.sin(back.angle - angle) == pytest.approx(0, abs=1e-3)


def test_rectangle_to_ellipse_in_closed_form() -> None:
    ellipse = convert(note(PIXEL, Area(shapely.box(10, 20, 16, 32))), ELLIPSE).geometry
    assert (ellipse.cx, ellipse.cy) == (13, 26)
    assert (ellipse.a, ellipse.b) == pytest.approx((12 / math.sqrt(math.pi), 6 / math.sqrt(math.pi)))
    assert ellipse.angle == pytest.approx(math.pi / 2)


def test_triangle_moments_in_closed_form() -> None:
    moments = polygon_moments(shapely.Polygon([(0, 0), (6, 0), (0, 3)]))
    assert (moments.area, moments.x, moments.y) == pytest.approx((9, 2, 1))
    assert (moments.xx, moments.yy, moments.xy) == pytest.approx((36 / 18, 9 / 18, -18 / 36))


def test_moments_with_holes_match_the_pixels() -> None:
    holes = shapely.box(0, 0, 30, 20).difference(shapely.box(3, 4, 9, 12)).union(shapely.box(40, 5, 44, 9))
    exact = convert(note(PIXEL, Area(holes)), ELLIPSE).geometry
    pixels = ellipses_of(rasterize([(Area(holes), 1)], (50, 30)))[1][0]
    assert (exact.cx, exact.cy, exact.a, exact.b, exact.angle) == pytest.approx(tuple(pixels), rel=1e-9)


@pytest.mark.parametrize("orientation", [1, -1])
def test_moments_do_not_depend_on_orientation(orientation: int) -> None:
    corners = [(0, 0), (4, 0), (4, 2), (0, 2)][::orientation]
    assert polygon_moments(shapely.Polygon(corners)).area == 8


@given(PLACE, PLACE, LENGTH, LENGTH)
def test_box_to_ellipse_and_back_is_the_same_box(x: float, y: float, width: float, height: float) -> None:
    back = convert(convert(note(BOX, Box(x, y, width, height)), ELLIPSE), BOX).geometry
    assert back.bounds == pytest.approx((x, y, x + width, y + height), abs=1e-6)


@given(LENGTH, LENGTH, st.floats(-4, 4))
def test_ellipse_box_is_tight(a: float, b: float, angle: float) -> None:
    x0, y0, x1, y1 = convert(note(ELLIPSE, Ellipse(0, 0, a, b, angle)), BOX).bounds
    turn = np.linspace(0, 2 * np.pi, 2001)
    xs = a * np.cos(turn) * math.cos(angle) - b * np.sin(turn) * math.sin(angle)
    ys = a * np.cos(turn) * math.sin(angle) + b * np.sin(turn) * math.cos(angle)
    assert (x0, y0, x1, y1) == pytest.approx((xs.min(), ys.min(), xs.max(), ys.max()), rel=1e-4, abs=1e-4 * max(a, b))


@pytest.mark.parametrize(
    "polygon", [RING, CRESCENT, shapely.box(0, 0, 100, 1), RING.union(shapely.box(200, 0, 204, 4))]
)
def test_interior_point_lies_well_inside(polygon: shapely.Polygon) -> None:
    point = convert(note(PIXEL, Area(polygon)), POINT).geometry
    deepest = shapely.maximum_inscribed_circle(polygon, tolerance=0.01).length
    assert polygon.contains(point.shape)
    assert polygon.boundary.distance(point.shape) >= 0.8 * deepest


def test_derived_record_keeps_its_origin() -> None:
    original = note(PIXEL, Area(shapely.box(0, 0, 4, 4)))
    derived = convert(original, BOX)
    assert derived.parent == original.id != derived.id
    assert (derived.source, derived.granularity) == (Source.CONVERTED, BOX)
    assert (derived.slide, derived.class_id, derived.annotator) == ("slide", 2, "ada")
    assert convert(derived, BOX) is derived


def test_scribble_becomes_the_area_under_the_pen() -> None:
    area = convert(note(Granularity.SPARSE, Scribble(((0, 0), (10, 0)), 4)), PIXEL).geometry
    assert area.shape.area == pytest.approx(40 + 4 * math.pi, rel=0.01)


@pytest.mark.parametrize(
    ("granularity", "geometry", "to"),
    [
        (POINT, Point(1, 1), BOX),
        (Granularity.SPARSE, Scribble(((0, 0), (1, 1)), 1), BOX),
        (Granularity.IMAGE, WholeSlide(), PIXEL),
        (Granularity.EXHAUSTIVE, Box(0, 0, 1, 1), ELLIPSE),
        (BOX, Box(0, 0, 1, 1), Granularity.IMAGE),
        (PIXEL, Area(shapely.Polygon([(0, 0), (1, 1), (2, 2)])), ELLIPSE),
    ],
)
def test_refuses_what_the_annotation_does_not_say(
    granularity: Granularity, geometry: Geometry, to: Granularity
) -> None:
    with pytest.raises(AnnotationError):
        convert(note(granularity, geometry), to)


def test_outline_that_crosses_itself_is_repaired() -> None:
    bow_tie = Area(shapely.Polygon([(0, 0), (4, 4), (4, 0), (0, 4)]))
    ellipse = convert(note(PIXEL, bow_tie), ELLIPSE).geometry
    assert math.pi * ellipse.a * ellipse.b == pytest.approx(8)


def dark_discs(x: int, y: int, w: int, h: int) -> np.ndarray:
    """A slide with three nuclei, white beyond its edges."""
    discs = [(Ellipse(40, 40, 12, 9), 1), (Ellipse(600, 40, 10, 10), 1), (Ellipse(64, 40, 9, 9), 1)]
    mask = rasterize(discs, (w, h), origin=(x, y)).astype(bool)
    image = np.full((h, w, 3), 230, np.uint8)
    image[mask] = (90, 50, 140)
    return image


@pytest.mark.parametrize("method", ClickMethod)
def test_clicks_find_their_objects_across_blocks(method: ClickMethod) -> None:
    clicks = [note(POINT, Point(x, 40)) for x in (40, 600, 64, 40)]
    found = convert_all(clicks, PIXEL, image=dark_discs, method=method)
    truth = [Ellipse(40, 40, 12, 9), Ellipse(600, 40, 10, 10), Ellipse(64, 40, 9, 9), Ellipse(40, 40, 12, 9)]
    for record, click, ellipse in zip(found, clicks, truth, strict=True):
        assert record.parent == click.id
        assert record.confidence > 0.5
        a, b = record.geometry.shape, ellipse.shape
        assert a.intersection(b).area / a.union(b).area > 0.75


def test_box_with_an_image_becomes_the_object_inside() -> None:
    box = note(BOX, Box(28, 31, 24, 18))
    found = convert(box, PIXEL, image=dark_discs).geometry.shape
    assert shapely.box(*box.bounds).covers(found)
    assert found.area == pytest.approx(math.pi * 12 * 9, rel=0.15)
    assert convert(box, PIXEL).geometry.shape.area == 24 * 18


def test_click_to_box_through_the_image() -> None:
    box = convert(note(POINT, Point(600, 40)), BOX, image=dark_discs).geometry
    assert box.bounds == pytest.approx((590, 30, 610, 50), abs=2)
