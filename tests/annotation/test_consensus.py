"""Agreement against the textbook, consensus against counting votes."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_histoanno.annotation import (
    AnnotationError,
    Area,
    Ellipse,
    Point,
    agreement,
    consensus,
    fleiss,
    pairwise_agreement,
)

LABELS = hnp.arrays(np.uint8, (4, 6), elements=st.integers(0, 3))


def votes_on(maps: list[np.ndarray], where: tuple[int, ...]) -> Counter[int]:
    return Counter(int(labels[where]) for labels in maps if labels[where])


@given(st.lists(LABELS, min_size=1, max_size=5))
def test_consensus_is_more_than_half_of_the_votes(maps: list[np.ndarray]) -> None:
    result = consensus(maps)
    for where in np.ndindex(4, 6):
        votes = votes_on(maps, where)
        winners = [label for label, count in votes.items() if 2 * count > votes.total()]
        assert result[where] == (winners[0] if winners else 0)


def test_ties_and_the_unlabelled_stay_unlabelled() -> None:
    maps = [np.array([1, 1, 0, 1]), np.array([2, 0, 0, 2]), np.array([0, 0, 0, 3])]
    assert consensus(maps).tolist() == [0, 1, 0, 0]
    assert consensus(maps, min_votes=2).tolist() == [0, 0, 0, 0]


def test_kappa_of_a_textbook_table() -> None:
    """Cohen's example with 20/5/10/15 answers: observed 0.7, expected 0.5."""
    pairs = [(1, 1)] * 20 + [(1, 2)] * 5 + [(2, 1)] * 10 + [(2, 2)] * 15
    a, b = np.array(pairs).T
    result = agreement(a, b)
    assert (result.kappa, result.observed, result.expected) == pytest.approx((0.4, 0.7, 0.5))
    assert result.confusion.tolist() == [[20, 5], [10, 15]]


@given(LABELS, LABELS)
def test_kappa_ignores_what_one_left_open(a: np.ndarray, b: np.ndarray) -> None:
    both = (a > 0) & (b > 0)
    result, restricted = agreement(a, b, classes=3), agreement(a * both, b * both, classes=3)
    assert result.count == both.sum()
    assert (result.only_a, result.only_b) == ((a > 0).sum() - both.sum(), (b > 0).sum() - both.sum())
    assert result.kappa == restricted.kappa or (math.isnan(result.kappa) and math.isnan(restricted.kappa))


@given(LABELS, LABELS)
def test_kappa_is_symmetric_and_at_most_one(a: np.ndarray, b: np.ndarray) -> None:
    one, other = agreement(a, b).kappa, agreement(b, a).kappa
    assert one == pytest.approx(other, nan_ok=True)
    assert math.isnan(one) or one <= 1


def test_undefined_kappa_is_nan() -> None:
    ones = np.ones(5, int)
    assert math.isnan(agreement(ones, ones).kappa)
    assert math.isnan(agreement(ones, 0 * ones).kappa)


def test_fleiss_of_the_textbook_table() -> None:
    """Fleiss 1971 as tabulated in the usual example: 10 subjects, 14 raters, 5 categories, kappa 0.210."""
    table = [
        (0, 0, 0, 0, 14), (0, 2, 6, 4, 2), (0, 0, 3, 5, 6), (0, 3, 9, 2, 0), (2, 2, 8, 1, 1),
        (7, 7, 0, 0, 0), (3, 2, 6, 3, 0), (2, 5, 3, 2, 2), (6, 5, 2, 1, 0), (0, 2, 2, 3, 7),
    ]  # fmt: skip
    answers = np.array([np.repeat(np.arange(1, 6), row) for row in table])
    assert fleiss(list(answers.T)) == pytest.approx(0.210, abs=5e-4)


def test_fleiss_counts_only_what_everyone_labelled() -> None:
    maps = [np.array([1, 2, 1, 0]), np.array([1, 2, 2, 1]), np.array([1, 2, 1, 1])]
    assert fleiss(maps) == pytest.approx(fleiss([m[:3] for m in maps]))


def test_objects_match_by_overlap_and_by_clicks_inside() -> None:
    ours = [(1, Ellipse(10, 10, 5, 5)), (2, Ellipse(30, 10, 5, 5)), (1, Point(52, 10)), (2, Ellipse(90, 9, 3, 3))]
    theirs = [(1, Area(shapely.box(6, 6, 14, 14))), (1, Ellipse(30, 11, 5, 5)), (1, Ellipse(50, 10, 5, 5))]
    result = agreement(ours, theirs, level="object")
    assert result.confusion.tolist() == [[2, 0], [1, 0]]
    assert (result.count, result.only_a, result.only_b) == (3, 1, 0)


def test_objects_of_maps_are_their_components() -> None:
    a = np.array([[1, 1, 0, 2, 2], [1, 1, 0, 2, 2]])
    b = np.array([[1, 1, 0, 1, 1], [1, 0, 0, 1, 1]])
    assert agreement(a, b, level="object").confusion.tolist() == [[1, 0], [1, 0]]
    assert agreement(a, 0 * b, level="object").only_a == 2


def test_pairs() -> None:
    maps = [np.array([1, 2]), np.array([1, 2]), np.array([2, 1])]
    assert {pair: result.kappa for pair, result in pairwise_agreement(maps).items()} == {
        (0, 1): 1,
        (0, 2): -1,
        (1, 2): -1,
    }


def test_refuses_maps_that_cannot_be_compared() -> None:
    with pytest.raises(AnnotationError, match="one shape"):
        agreement(np.ones(3, int), np.ones(4, int))
    with pytest.raises(AnnotationError, match="labels must lie"):
        agreement(np.array([3]), np.array([1]), classes=2)
    with pytest.raises(AnnotationError, match="at least 1"):
        consensus([])
    with pytest.raises(AnnotationError, match="rasterize"):
        agreement([(1, Point(0, 0))], [(1, Point(0, 0))])
