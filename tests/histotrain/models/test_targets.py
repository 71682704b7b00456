"""What the maps of the networks for nuclei should be, on objects whose maps are known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from histotrain.models.separation import by_boundary, by_distance, by_offsets, classes_of, peaks
from histotrain.models.targets import BOUNDARY, INSIDE, OUTSIDE, bumps, centres, clicks, distances, offsets, parts

Instances = NDArray[np.int32]


@pytest.fixture
def twins() -> Instances:
    """Two discs that touch, one alone, and one cut by the image's edge; numbers with gaps."""
    rows, columns = np.mgrid[:64, :96]
    instances = np.zeros((64, 96), np.int32)
    for number, (x, y) in {3: (20, 20), 7: (37, 20), 11: (70, 40), 20: (94, 8)}.items():
        instances[((columns - x) ** 2 + (rows - y) ** 2 <= 81) & (instances == 0)] = number
    return instances


def same_objects(found: Instances, truth: Instances) -> bool:
    """Whether each object is found as one, by more than nine tenths of the union."""
    numbers = np.unique(truth[truth > 0])
    if len(np.unique(found[found > 0])) != len(numbers):
        return False
    for number in numbers:
        mask = truth == number
        other = np.bincount(found[mask]).argmax()
        if other == 0 or (mask & (found == other)).sum() / (mask | (found == other)).sum() < 0.9:
            return False
    return True


def test_parts_separate_touching_objects(twins: Instances) -> None:
    found = parts(twins)
    assert (found[twins == 0] == OUTSIDE).all()
    assert (found[twins > 0] != OUTSIDE).all()
    assert found[20, 20] == found[20, 37] == INSIDE
    assert (found[20, 26:32] == BOUNDARY).sum() >= 2


def test_distance_of_a_square() -> None:
    square = np.zeros((11, 11), np.int32)
    square[2:9, 2:9] = 5
    found = distances(square)
    assert found.max() == found[5, 5] == 4
    assert found[2, 2] == 1
    assert (found[square == 0] == 0).all()


def test_offsets_run_from_side_to_side() -> None:
    square = np.zeros((9, 12), np.int32)
    square[2:7, 3:10] = 1
    horizontal, vertical = offsets(square)
    np.testing.assert_allclose(horizontal[4, 3:10], np.linspace(-1, 1, 7), atol=1e-6)
    np.testing.assert_allclose(vertical[2:7, 5], np.linspace(-1, 1, 5), atol=1e-6)
    assert (horizontal[square == 0] == 0).all()


def test_offsets_of_a_single_pixel_are_zero() -> None:
    dot = np.zeros((3, 3), np.int32)
    dot[1, 1] = 9
    assert not offsets(dot).any()


@pytest.mark.parametrize("value", [0, 4])
def test_one_value_everywhere(value: int) -> None:
    plain = np.full((6, 8), value, np.int32)
    assert np.isfinite(distances(plain)).all()
    assert np.isfinite(offsets(plain)).all()
    assert (parts(plain) == (INSIDE if value else OUTSIDE)).all()


def test_centres_and_commonest_classes(twins: Instances) -> None:
    labels = np.zeros(twins.shape, np.uint8)
    labels[twins == 3] = 2
    labels[18, 15:20] = 1
    labels[twins == 11] = 1
    points, classes = centres(twins, labels)
    assert classes.tolist() == [1, -1, 0, -1]
    np.testing.assert_allclose(points[2], (70, 40), atol=1e-9)


def test_bumps_are_gaussians_at_their_points() -> None:
    maps = bumps(np.array([[10.0, 5.0], [10.5, 19.0], [3.0, 3.0]]), np.array([0, 1, -1]), (2, 20, 24), sigma=2.0)
    assert maps[0, 5, 10] == 1
    assert maps[0, 5, 12] == pytest.approx(np.exp(-0.5))
    assert maps[1, 19, 10] == pytest.approx(maps[1, 19, 11]) == pytest.approx(np.exp(-0.25 / 8))
    assert maps[0].sum() == pytest.approx(2 * np.pi * 4, rel=0.05)


def test_clicks_are_discs() -> None:
    inclusion, exclusion = clicks((8.0, 4.0), np.array([[0.0, 0.0], [99.0, 99.0]]), (10, 16))
    assert inclusion.sum() == 13
    assert inclusion[4, 8] == exclusion[0, 0] == 1
    assert exclusion.sum() == 6


def test_true_parts_give_the_objects_back(twins: Instances) -> None:
    found = parts(twins)
    assert same_objects(
        by_boundary((found == INSIDE).astype(np.float32), (found == BOUNDARY).astype(np.float32)), twins
    )


def test_true_offsets_give_the_objects_back(twins: Instances) -> None:
    assert same_objects(by_offsets((twins > 0).astype(np.float32), offsets(twins)), twins)


def test_true_distances_give_the_objects_back(twins: Instances) -> None:
    assert same_objects(by_distance(distances(twins)), twins)


def test_true_bumps_give_the_points_back(twins: Instances) -> None:
    labels = np.choose(np.searchsorted([3, 7, 11, 20], twins), [1, 2, 1, 2]) * (twins > 0)
    points, classes = centres(twins, labels)
    found, kinds, scores = peaks(bumps(points, classes, (2, *twins.shape)))
    assert (scores > 0.8).all()
    order = [int(np.argmin(((found - p) ** 2).sum(1))) for p in points]
    assert sorted(order) == [0, 1, 2, 3]
    assert np.abs(found[order] - points).max() <= 1
    assert kinds[order].tolist() == classes.tolist()


def test_nothing_there_gives_nothing() -> None:
    nothing = np.zeros((16, 20), np.float32)
    assert not by_boundary(nothing, nothing).any()
    assert not by_offsets(nothing, np.zeros((2, 16, 20), np.float32)).any()
    assert not by_distance(nothing).any()
    assert len(peaks(nothing[None])[0]) == 0
    assert classes_of(np.zeros((4, 4), np.int32), np.ones((2, 4, 4), np.float32))[0].shape == (0,)


def test_class_of_an_object_is_that_of_its_mean_probability() -> None:
    instances = np.repeat(np.array([[0, 1, 1, 2]], np.int32), 2, axis=0)
    probabilities = np.zeros((2, 2, 4), np.float32)
    probabilities[0, :, 1], probabilities[1, :, 1:] = 0.4, [0.6, 0.8, 0.1]
    probabilities[0, :, 3] = 0.9
    classes, scores = classes_of(instances, probabilities)
    assert classes.tolist() == [1, 0]
    np.testing.assert_allclose(scores, [0.7, 0.9], atol=1e-6)
