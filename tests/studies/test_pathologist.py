"""Going over dots: what is wrong is put right, what is right costs no click."""

from __future__ import annotations

import numpy as np
import pytest

from napari_histoanno.studies.pathologist import Dots, Pathologist, matched

TRUTH = Dots(np.array([[10.0, 10], [50, 50], [90, 90]]), np.array([1, 2, 1]))
CAREFUL = Pathologist(classes=(1, 2), radius=6.0, oversight=0.0, confusion=0.0)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def as_set(dots: Dots) -> set[tuple[float, float, int]]:
    return {(x, y, c) for (x, y), c in zip(dots.points.tolist(), dots.classes.tolist(), strict=True)}


def test_right_dots_are_looked_at_and_left() -> None:
    after, effort = CAREFUL.correct(TRUTH, TRUTH, rng())
    assert as_set(after) == as_set(TRUTH)
    assert (effort.looked, effort.clicks) == (3, 0)


def test_wrong_dots_are_put_right() -> None:
    found = Dots(np.array([[12.0, 10], [50, 53], [30, 90]]), np.array([1, 1, 2]))
    after, effort = CAREFUL.correct(found, TRUTH, rng())
    assert (effort.relabelled, effort.deleted, effort.added, effort.classes) == (1, 1, 1, 1)
    assert as_set(after) == {(12, 10, 1), (50, 53, 2), (90, 90, 1)}


def test_without_a_network_every_nucleus_is_a_click() -> None:
    after, effort = CAREFUL.annotate(TRUTH, rng())
    assert as_set(after) == as_set(TRUTH)
    assert effort.clicks == effort.added == 3
    assert CAREFUL.correct(Dots.none(), TRUTH, rng())[1].clicks == 3


def test_people_overlook_and_confuse_as_often_as_they_are_told_to() -> None:
    many = Dots(np.stack([np.arange(4000.0) * 20, np.zeros(4000)], 1), np.ones(4000, np.int64))
    hand = Pathologist(classes=(1, 2, 3), radius=6.0, oversight=0.1, confusion=0.2)
    after, effort = hand.annotate(many, rng())
    assert effort.added == pytest.approx(3600, rel=0.03)
    assert (after.classes != 1).mean() == pytest.approx(0.2, abs=0.03)
    blind = Pathologist(classes=(1, 2), radius=6.0, oversight=1.0)
    found = Dots(np.array([[12.0, 10], [300, 300]]), np.array([2, 2]))
    kept, nothing = blind.correct(found, TRUTH, rng())
    assert as_set(kept) == as_set(found)
    assert nothing.clicks == 0


def test_a_single_class_cannot_be_confused() -> None:
    hand = Pathologist(classes=(1,), radius=6.0, oversight=0.0, confusion=1.0)
    assert hand.annotate(Dots(TRUTH.points, np.ones(3, np.int64)), rng())[0].classes.tolist() == [1, 1, 1]


def test_dots_are_matched_one_to_one() -> None:
    first, second = matched(np.array([[0.0, 0], [4, 0]]), np.array([[3.0, 0], [9, 0]]), 6.0)
    assert list(zip(first.tolist(), second.tolist(), strict=True)) == [(0, 0), (1, 1)]
    assert len(matched(np.empty((0, 2)), np.array([[3.0, 0]]), 6.0)[0]) == 0
