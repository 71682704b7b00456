"""Points are matched one to one, as many as possible, then as near as possible."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from histotrain.metrics import detection_f1

POINTS = hnp.arrays(np.int64, st.tuples(st.integers(0, 4), st.just(2)), elements=st.integers(0, 20))


def most_matches(truth: np.ndarray, predicted: np.ndarray, radius: float) -> int:
    few, many = sorted((truth, predicted), key=len)
    near = np.linalg.norm(few[:, None] - many[None], axis=-1) <= radius
    return max(sum(near[i, j] for i, j in enumerate(order)) for order in permutations(range(len(many)), len(few)))


@given(POINTS, POINTS)
def test_as_many_matches_as_there_can_be(truth: np.ndarray, predicted: np.ndarray) -> None:
    found = detection_f1(truth, predicted, radius=6)
    assert found.tp == most_matches(truth, predicted, 6)
    assert found.tp + found.fn == len(truth)
    assert found.tp + found.fp == len(predicted)


def test_the_radius_is_part_of_the_match() -> None:
    assert detection_f1([[0, 0]], [[12, 0]]).tp == 1
    assert detection_f1([[0, 0]], [[12.01, 0]]).tp == 0


def test_nothing_to_find() -> None:
    empty = detection_f1(np.empty((0, 2)), np.empty((0, 2)))
    assert np.isnan([empty.precision, empty.recall, empty.f1]).all()
    assert detection_f1([[1, 1]], np.empty((0, 2))).recall == 0


def test_a_wrong_class_is_missed_in_one_and_invented_in_the_other() -> None:
    found = detection_f1([[0, 0], [50, 0]], [[1, 0], [51, 0]], true_classes=[1, 2], predicted_classes=[1, 3])
    assert found.f1 == 1
    assert {c: (d.tp, d.fp, d.fn) for c, d in found.per_class.items()} == {1: (1, 0, 0), 2: (0, 0, 1), 3: (0, 1, 0)}


def test_one_sided_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="neither"):
        detection_f1([[0, 0]], [[0, 0]], true_classes=[1])
