"""Shapes and edits without a window: round trips, exact fills."""

from __future__ import annotations

import math

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from napari_histoanno.annotation.geometry import Area, Box, Ellipse, Scribble
from napari_histoanno.layers.drawn import Drawn, from_drawn, same_drawn, to_drawn
from napari_histoanno.layers.edits import Filled, Painted, enclosed_area, flood
from napari_histoanno.layers.slide import raster_placement

COORDINATE = st.floats(0, 1000)
LENGTH = st.floats(1, 300)


@given(COORDINATE, COORDINATE, LENGTH, LENGTH, st.floats(-1.5, 1.5))
def test_an_ellipse_comes_back_whole(cx: float, cy: float, a: float, b: float, angle: float) -> None:
    drawn = to_drawn(Ellipse(cx, cy, a, b, angle))
    assert drawn is not None
    back = from_drawn(drawn)
    assert isinstance(back, Ellipse)
    assert (back.cx, back.cy, back.a, back.b, back.angle) == pytest.approx((cx, cy, a, b, angle), abs=1e-6)


@given(COORDINATE, COORDINATE, LENGTH, LENGTH)
def test_boxes_and_scribbles_come_back_whole(x: float, y: float, w: float, h: float) -> None:
    for geometry in (Box(x, y, w, h), Scribble(((x, y), (x + w, y + h), (x, y + h)), w)):
        drawn = to_drawn(geometry)
        assert drawn is not None
        back = from_drawn(drawn)
        assert type(back) is type(geometry)
        np.testing.assert_allclose(back.bounds, geometry.bounds, atol=1e-9)


def test_holes_and_parts_survive_one_line() -> None:
    ring = shapely.box(0, 0, 100, 100).difference(
        shapely.union_all([shapely.box(10, 10, 30, 30), shapely.box(50, 50, 90, 70)])
    )
    parts = shapely.MultiPolygon([ring, shapely.box(200, 0, 250, 40)])
    for polygon in (ring, parts):
        drawn = to_drawn(Area(polygon))
        assert drawn is not None
        back = from_drawn(drawn)
        assert isinstance(back, Area)
        assert back.polygon.symmetric_difference(polygon).area == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("shape_type", ["ellipse", "rectangle", "polygon"])
def test_what_has_no_extent_is_nothing(shape_type: str) -> None:
    assert from_drawn(Drawn(shape_type, np.full((4, 2), 7.0))) is None


def test_32_bit_vertices_are_the_same_shape() -> None:
    drawn = to_drawn(Ellipse(90_000.123, 70_000.456, 30, 20, 0.3))
    assert drawn is not None
    rounded = Drawn(drawn.shape_type, drawn.vertices.astype(np.float32).astype(float))
    assert same_drawn(rounded, drawn)
    assert not same_drawn(Drawn(drawn.shape_type, drawn.vertices + 0.5), drawn)


def test_going_round_twice_leaves_no_hole() -> None:
    angles = np.linspace(0, 4 * np.pi, 81)
    area = enclosed_area([(50 + 20 * math.cos(t), 50 + 20 * math.sin(t)) for t in angles])
    assert area is not None
    assert area.polygon.area == pytest.approx(math.pi * 400, rel=0.02)
    assert enclosed_area([(0, 0), (5, 5), (10, 10)]) is None


def max_pooled(labels: np.ndarray, step: int) -> np.ndarray:
    h, w = (size // step for size in labels.shape)
    return labels.reshape(h, step, w, step).max((1, 3))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([1, 2, 4]))
def test_a_fill_stays_inside_what_hangs_together(seed: int, step: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.zeros((64, 64), np.uint8)
    for _ in range(4):
        # Walls one pixel thin, as a brush of one pixel leaves them.
        at = int(rng.integers(4, 60))
        (labels[at] if rng.random() < 0.5 else labels[:, at])[:] = 1
    tile = max_pooled(labels, step)
    row, column = (int(value) for value in rng.integers(0, 64 // step, 2))
    old = int(tile[row, column])
    edit = Filled(flood(tile, row, column), (0, 0), step, old, 9)

    def read(y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        return labels[y0 : min(y1, 64), x0 : min(x1, 64)]

    changed = edit.mask(labels, 0, 0, read)
    parts, _ = ndimage.label(labels == old)
    seeds = np.kron(flood(tile, row, column), np.ones((step, step), bool)) & (labels == old)
    together = np.isin(parts, np.unique(parts[seeds])) & (labels == old)
    assert not (changed & ~together).any()
    assert (changed & seeds).sum() == seeds.sum()
    if step == 1:
        np.testing.assert_array_equal(changed, together)


@settings(deadline=None)
@given(st.integers(0, 2**31))
def test_blocks_that_are_covered_are_covered_wholly(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = tuple((float(x), float(y)) for x, y in rng.uniform(0, 400, (5, 2)))
    edit = Painted(1, [Scribble(points, float(rng.uniform(50, 400)))])
    for y in range(0, 256, 64):
        for x in range(0, 256, 64):
            mask = edit.mask(np.zeros((64, 64), np.uint8), x, y, lambda *_: np.zeros((1, 1), np.uint8))
            if edit.covers(x, y, x + 64, y + 64):
                assert mask.all()


def test_placement_puts_pixel_corners_on_world_coordinates() -> None:
    place = raster_placement(0.5, downsample=4, location=(100, 20))
    scale, translate = np.array(place["scale"]), np.array(place["translate"])
    np.testing.assert_allclose(scale * -0.5 + translate, (20 * 0.5, 100 * 0.5))
