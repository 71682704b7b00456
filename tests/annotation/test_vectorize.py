"""Outlines that follow the cracks give the mask back, pixel for pixel."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from napari_histoanno.annotation import AnnotationError, rasterize, vectorize

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9))
MASKS = st.one_of(
    hnp.arrays(np.int32, SHAPES, elements=st.integers(0, 1)),
    hnp.arrays(np.int32, SHAPES, elements=st.integers(0, 3)),
    hnp.arrays(np.int32, SHAPES, elements=st.sampled_from([0, 70_000, -3])),
)


def component_count(mask: np.ndarray) -> int:
    """Twin of the component kernel, one label at a time."""
    return sum(ndimage.label(mask == label)[1] for label in np.unique(mask) if label)


@settings(max_examples=400)
@given(MASKS)
def test_round_trip_is_exact(mask: np.ndarray) -> None:
    found = vectorize(mask)
    np.testing.assert_array_equal(rasterize(found, mask.shape[::-1], dtype=np.int32), mask)
    assert all(area.polygon.is_valid and isinstance(area.polygon, shapely.Polygon) for _, area in found)
    assert sum(area.polygon.area for _, area in found) == np.count_nonzero(mask)
    assert len(found) == component_count(mask)


@given(MASKS, st.floats(-1e5, 1e5), st.floats(-1e5, 1e5), st.sampled_from([0.5, 1.0, 2.0, 3.7, 16.0]))
def test_round_trip_at_any_origin_and_downsample(mask: np.ndarray, x: float, y: float, downsample: float) -> None:
    found = vectorize(mask, origin=(x, y), downsample=downsample)
    back = rasterize(found, mask.shape[::-1], origin=(x, y), downsample=downsample, dtype=np.int32)
    np.testing.assert_array_equal(back, mask)


def test_components_touching_at_a_corner_stay_apart() -> None:
    assert [area.polygon.area for _, area in vectorize(np.eye(3, dtype=np.uint8))] == [1, 1, 1]


def test_rings_meeting_at_a_corner_are_valid() -> None:
    mask = np.array([[1, 1, 1, 0], [1, 0, 1, 0], [1, 1, 0, 1], [0, 0, 1, 1]], np.uint8)
    ring, corner = (area.polygon for _, area in vectorize(mask))
    assert ring.is_valid
    assert len(ring.interiors) == 1
    assert corner.area == 3


def test_corners_only() -> None:
    ((_, area),) = vectorize(np.ones((5, 9), bool))
    assert shapely.get_num_coordinates(area.polygon) == 5


def test_min_area_counts_level_0_pixels() -> None:
    mask = np.array([[1, 0, 2, 2], [0, 0, 2, 2]])
    assert [label for label, _ in vectorize(mask, downsample=2, min_area=5)] == [2]
    assert [label for label, _ in vectorize(mask, downsample=2, min_area=4)] == [1, 2]


@given(hnp.arrays(np.uint8, st.tuples(st.integers(8, 24), st.integers(8, 24)), elements=st.integers(0, 1)))
def test_simplified_outlines_are_valid_and_near(noise: np.ndarray) -> None:
    mask = ndimage.binary_opening(ndimage.zoom(noise, 3, order=0), iterations=2).astype(np.uint8)
    exact, simple = vectorize(mask), vectorize(mask, simplify=1.0)
    assert len(exact) == len(simple)
    for (_, before), (_, after) in zip(exact, simple, strict=True):
        assert after.polygon.is_valid
        assert shapely.hausdorff_distance(before.polygon.boundary, after.polygon.boundary) <= 1.5
        assert shapely.get_num_coordinates(after.polygon) <= shapely.get_num_coordinates(before.polygon)


@pytest.mark.parametrize("mask", [np.zeros((2, 2)), np.zeros(4, int), np.zeros((2, 2, 3), np.uint8)])
def test_refuses_what_is_no_label_mask(mask: np.ndarray) -> None:
    with pytest.raises(AnnotationError, match="2-d array of integers"):
        vectorize(mask)


def test_empty_masks() -> None:
    assert vectorize(np.zeros((0, 5), np.uint8)) == []
    assert vectorize(np.zeros((4, 0), np.uint8)) == []
