"""Boxes, ellipses and interior points of instance maps against one object at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_histoanno.annotation import (
    AnnotationError,
    Ellipse,
    Granularity,
    boxes_of,
    convert_mask,
    ellipses_of,
    interior_points_of,
    rasterize,
)

MAPS = hnp.arrays(np.int32, st.tuples(st.integers(1, 10), st.integers(1, 10)), elements=st.sampled_from([0, 2, 5, 90]))


def chamfer(inside: np.ndarray) -> np.ndarray:
    """Twin of the depth kernel: 3-4 distance to the outside, relaxed until nothing changes."""
    depth = np.where(np.pad(inside, 1), 10**6, 0)
    while True:
        best = depth.copy()
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                if dy or dx:
                    best = np.minimum(best, np.roll(depth, (dy, dx), (0, 1)) + 2 + abs(dy) + abs(dx))
        best[0] = best[-1] = best[:, 0] = best[:, -1] = 0
        if (best == depth).all():
            return depth[1:-1, 1:-1]
        depth = best


@given(MAPS)
def test_boxes_are_tight(labels: np.ndarray) -> None:
    ids, boxes = boxes_of(labels)
    assert ids.tolist() == [i for i in np.unique(labels) if i]
    for i, (x, y, width, height) in zip(ids, boxes, strict=True):
        rows, cols = np.nonzero(labels == i)
        assert (x, y, x + width, y + height) == (cols.min(), rows.min(), cols.max() + 1, rows.max() + 1)


@given(MAPS)
def test_ellipses_have_the_area_and_moments_of_unit_squares(labels: np.ndarray) -> None:
    for i, (cx, cy, a, b, angle) in zip(*ellipses_of(labels), strict=True):
        rows, cols = np.nonzero(labels == i)
        assert a >= b
        assert math.pi * a * b == pytest.approx(len(rows))
        assert (cx, cy) == pytest.approx((cols.mean() + 0.5, rows.mean() + 0.5))
        covariance = np.cov(np.stack([cols, rows]), bias=True) + np.eye(2) / 12
        along, across = np.linalg.eigvalsh(covariance)[::-1]
        assert a / b == pytest.approx(math.sqrt(along / across), rel=1e-6)
        if along > across * (1 + 1e-6):
            direction = np.array([math.cos(angle), math.sin(angle)])
            assert direction @ covariance @ direction == pytest.approx(along)


@given(MAPS)
def test_interior_points_are_as_deep_as_possible(labels: np.ndarray) -> None:
    for i, (x, y) in zip(*interior_points_of(labels), strict=True):
        depth = chamfer(labels == i)
        assert depth[int(y), int(x)] == depth.max() > 0


def test_moments_do_not_cancel_far_from_the_origin() -> None:
    labels = np.zeros((40, 40_000), np.uint8)
    labels[5:25, -30:] = 1
    ((_, _, a, b, _),) = ellipses_of(labels)[1]
    assert a / b == pytest.approx(1.5, rel=1e-12)


def test_a_drawn_ellipse_is_found_again() -> None:
    ellipse = Ellipse(60.3, 49.7, 31, 17, 0.6)
    found = ellipses_of(rasterize([(ellipse, 1)], (120, 100)))[1][0]
    assert found == pytest.approx([ellipse.cx, ellipse.cy, ellipse.a, ellipse.b, ellipse.angle], rel=5e-3)


@pytest.mark.parametrize("to", [Granularity.PIXEL, Granularity.ELLIPSE, Granularity.BOX, Granularity.POINT])
def test_convert_mask_names_each_instance(to: Granularity) -> None:
    labels = np.kron(np.array([[7, 0], [0, 3]]), np.ones((4, 4), int))
    assert {i for i, _ in convert_mask(labels, to)} == {3, 7}


def test_convert_mask_refuses_other_granularities() -> None:
    with pytest.raises(AnnotationError, match="image"):
        convert_mask(np.ones((2, 2), int), Granularity.IMAGE)


def test_an_empty_map_has_nothing() -> None:
    labels = np.zeros((3, 3), int)
    assert [len(found(labels)[0]) for found in (boxes_of, ellipses_of, interior_points_of)] == [0, 0, 0]
