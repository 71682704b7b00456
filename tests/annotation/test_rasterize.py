"""A pixel is painted iff its centre is inside: checked one pixel at a time."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_histoanno.annotation import AnnotationError, Area, Box, Ellipse, Point, Scribble, WholeSlide, rasterize

if TYPE_CHECKING:
    from napari_histoanno.annotation.geometry import Geometry

COORDINATE = st.floats(-5, 25, allow_nan=False).map(lambda v: round(v * 8) / 8) | st.floats(-5, 25, allow_nan=False)
POSITIONS = st.tuples(COORDINATE, COORDINATE)
SIZE = (20, 16)


def centres(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.indices((size[1], size[0])) + 0.5
    return x, y


def even_odd(rings: list[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """Twin of the polygon kernel: parity of crossings at or left of each centre, all pixels against all edges."""
    x, y = centres(size)
    inside = np.zeros(x.shape, bool)
    for ring in rings:
        for a, b in itertools.pairwise(ring):
            low, high = (a, b) if a[1] < b[1] else (b, a)
            rows = (y >= low[1]) & (y < high[1])
            if rows.any():
                crossing = low[0] + (y - low[1]) * (high[0] - low[0]) / (high[1] - low[1])
                inside ^= rows & (crossing <= x)
    return inside


def capsules(points: list[tuple[float, float]], radius: float, size: tuple[int, int]) -> np.ndarray:
    """Twin of the stroke kernel: distance of each centre to each segment."""
    x, y = centres(size)
    inside = np.zeros(x.shape, bool)
    for (x0, y0), (x1, y1) in zip(points, [*points[1:], points[-1]], strict=True):
        length2 = (x1 - x0) ** 2 + (y1 - y0) ** 2
        t = np.clip(((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length2, 0, 1) if length2 else np.zeros_like(x)
        inside |= (x - x0 - t * (x1 - x0)) ** 2 + (y - y0 - t * (y1 - y0)) ** 2 <= radius**2
    return inside


@given(st.lists(POSITIONS, min_size=3, max_size=8))
def test_polygon_is_the_even_odd_rule_on_centres(points: list[tuple[float, float]]) -> None:
    polygon = shapely.Polygon(points)
    expected = even_odd([shapely.get_coordinates(polygon)], SIZE)
    np.testing.assert_array_equal(rasterize([(Area(polygon), 1)], SIZE).astype(bool), expected)


@given(COORDINATE, COORDINATE, st.floats(0.1, 12), st.floats(0.1, 12), st.floats(-4, 4))
def test_ellipse_is_its_equation_on_centres(cx: float, cy: float, a: float, b: float, angle: float) -> None:
    x, y = centres(SIZE)
    cos, sin = math.cos(angle), math.sin(angle)
    u, v = ((x - cx) * cos + (y - cy) * sin) / a, ((y - cy) * cos - (x - cx) * sin) / b
    painted = rasterize([(Ellipse(cx, cy, a, b, angle), 1)], SIZE)
    np.testing.assert_array_equal(painted, u * u + v * v <= 1)


@given(st.lists(POSITIONS, min_size=1, max_size=5), st.floats(0.1, 9))
def test_scribble_is_the_distance_to_its_path(points: list[tuple[float, float]], width: float) -> None:
    painted = rasterize([(Scribble(tuple(points), width), 1)], SIZE).astype(bool)
    np.testing.assert_array_equal(painted, capsules(points, width / 2, SIZE))


@given(POSITIONS, st.floats(0.1, 15), st.floats(0.1, 15))
def test_box_equals_its_polygon(corner: tuple[float, float], width: float, height: float) -> None:
    box = Box(*corner, width, height)
    np.testing.assert_array_equal(rasterize([(box, 1)], SIZE), rasterize([(Area(shapely.box(*box.bounds)), 1)], SIZE))


@given(st.lists(POSITIONS, min_size=3, max_size=12, unique=True))
def test_neighbours_share_every_pixel_exactly_once(points: list[tuple[float, float]]) -> None:
    """A triangulation of the plane: each centre inside the hull belongs to exactly one triangle."""
    hull = shapely.MultiPoint(points).convex_hull
    if not isinstance(hull, shapely.Polygon) or hull.area < 1e-6:
        return
    corners = shapely.get_coordinates(hull)[:-1]
    fan = [shapely.Polygon([corners[0], corners[i], corners[i + 1]]) for i in range(1, len(corners) - 1)]
    counts = sum(rasterize([(Area(part), 1)], SIZE).astype(int) for part in fan if part.area > 0)
    np.testing.assert_array_equal(counts, rasterize([(Area(hull), 1)], SIZE))


def test_centre_on_a_shared_edge_belongs_to_one_side() -> None:
    left, right = shapely.box(0, 0, 2.5, 4), shapely.box(2.5, 0, 5, 4)
    counts = sum(rasterize([(Area(part), 1)], (5, 4)) for part in (left, right))
    assert (counts == 1).all()


def test_hole_and_island() -> None:
    ring = shapely.box(0, 0, 7, 7).difference(shapely.box(1, 1, 6, 6)).union(shapely.box(3, 3, 4, 4))
    painted = rasterize([(Area(ring), 1)], (7, 7))
    assert painted.sum() == 49 - 25 + 1
    assert painted[3, 3] == 1


def test_overlapping_parts_of_an_invalid_multipolygon_do_not_cancel() -> None:
    parts = shapely.MultiPolygon([shapely.box(0, 0, 3, 3), shapely.box(1, 1, 4, 4)])
    assert rasterize([(Area(parts), 1)], (4, 4))[1, 1] == 1


@pytest.mark.parametrize("seed", range(3))
def test_area_is_unbiased(seed: int) -> None:
    rng = np.random.default_rng(seed)
    turn = np.linspace(0, 2 * np.pi, 33)[:-1]
    painted = exact = 0.0
    for _ in range(400):
        radii = rng.uniform(8, 14) * (1 + 0.1 * rng.standard_normal(32))
        polygon = shapely.Polygon(rng.uniform(30, 34, 2) + np.stack([radii * np.cos(turn), radii * np.sin(turn)], 1))
        painted += rasterize([(Area(polygon), 1)], (64, 64)).sum()
        exact += polygon.area
    assert abs(painted / exact - 1) < 1e-3


def test_point_paints_the_pixel_that_contains_it() -> None:
    painted = rasterize([(Point(2.0, 0.99), 5), (Point(-0.1, 0), 6), (Point(4, 0), 6)], (4, 2))
    assert painted.tolist() == [[0, 0, 5, 0], [0, 0, 0, 0]]


def test_later_shapes_overwrite_earlier_ones_whatever_their_kind() -> None:
    shapes: list[tuple[Geometry, int]] = [
        (WholeSlide(), 1),
        (Area(shapely.box(0, 0, 3, 1)), 2),
        (Box(1, 0, 2, 1), 3),
        (Point(2, 0), 4),
    ]
    assert rasterize(shapes, (4, 1)).tolist() == [[2, 3, 4, 1]]
    assert rasterize(shapes[::-1], (4, 1)).tolist() == [[1, 1, 1, 1]]


@given(POSITIONS, st.sampled_from([0.5, 1.0, 2.0, 4.0, 3.7]))
def test_origin_and_downsample_move_the_centres(origin: tuple[float, float], downsample: float) -> None:
    shapes: list[tuple[Geometry, int]] = [
        (Ellipse(6, 7, 5, 3, 0.7), 1),
        (Scribble(((1, 1), (12, 9)), 3), 2),
        (Box(9, 2, 4, 5), 3),
    ]
    painted = rasterize(shapes, (9, 8), origin=origin, downsample=downsample)
    x, y = centres((9, 8))
    x, y = x * downsample + origin[0], y * downsample + origin[1]
    box = (x >= 9) & (x < 13) & (y >= 2) & (y < 7)
    edge = (np.abs(np.stack([x - 9, x - 13])).min(0) < 1e-6) | (np.abs(np.stack([y - 2, y - 7])).min(0) < 1e-6)
    np.testing.assert_array_equal((painted == 3)[~edge], box[~edge])
    inside = shapely.contains_xy(Ellipse(6, 7, 4.9, 2.9, 0.7).shape, x, y)
    assert (painted[inside & (painted != 2) & ~box & ~edge] == 1).all()


def test_paints_into_a_given_array_and_any_integer_dtype() -> None:
    out = np.full((2, 3), 9, np.int32)
    assert rasterize([(Box(0, 0, 1, 1), 70_000)], (3, 2), out=out) is out
    assert out.tolist() == [[70_000, 9, 9], [9, 9, 9]]


@pytest.mark.parametrize(
    ("shapes", "options"),
    [
        ([(Box(0, 0, 1, 1), 256)], {}),
        ([(Point(math.nan, 0), 1)], {}),
        ([(Box(0, 0, 1, 1), 1)], {"dtype": float}),
        ([(Box(0, 0, 1, 1), 1)], {"downsample": 0}),
        ([(Box(0, 0, 1, 1), 1)], {"out": np.zeros((3, 4), np.uint8)}),
        ([(Box(0, 0, 1, 1), Box(0, 0, 1, 1))], {}),
    ],
)
def test_refuses_what_it_cannot_paint(shapes: list, options: dict) -> None:
    with pytest.raises(AnnotationError):
        rasterize(shapes, (4, 4), **options)


@settings(max_examples=20)
@given(st.floats(1e5, 1e9), st.floats(1e5, 1e9))
def test_far_from_the_origin_nothing_shifts(x: float, y: float) -> None:
    x, y = float(int(x)), float(int(y))
    near = rasterize([(Box(1.25, 0.75, 2.5, 3), 1)], (8, 8))
    far = rasterize([(Box(x + 1.25, y + 0.75, 2.5, 3), 1)], (8, 8), origin=(x, y))
    np.testing.assert_array_equal(near, far)
