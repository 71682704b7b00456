"""Intervals of scores: certain where images agree, wide where they do not, the same each time."""

import math

import numpy as np
import pytest

from histotrain.metrics import accuracy, confusion
from histotrain.metrics.resampling import bootstrap_interval


def images(shares: list[float]) -> np.ndarray:
    """One image of 100 pixels for each share of them that is right."""
    return np.stack([confusion(np.ones(100, int), np.where(np.arange(100) < 100 * s, 1, 2), classes=2) for s in shares])


def test_images_that_agree_leave_no_doubt() -> None:
    assert bootstrap_interval(images([0.7] * 9), accuracy) == pytest.approx((0.7, 0.7))


def test_the_interval_is_that_of_the_normal_approximation() -> None:
    shares = np.random.default_rng(3).beta(8, 4, 200).round(2)
    low, high = bootstrap_interval(images(shares.tolist()), accuracy)
    half = 1.96 * shares.std() / math.sqrt(len(shares))
    assert (low, high) == pytest.approx((shares.mean() - half, shares.mean() + half), abs=0.006)


def test_draws_are_repeatable_and_a_level_of_a_half_is_narrower() -> None:
    some = images([0.1, 0.5, 0.9, 0.4])
    wide = bootstrap_interval(some, accuracy)
    assert wide == bootstrap_interval(some, accuracy)
    narrow = bootstrap_interval(some, accuracy, level=0.5)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_one_image_or_no_score_has_no_interval() -> None:
    assert all(map(math.isnan, bootstrap_interval(images([0.5]), accuracy)))
    assert all(map(math.isnan, bootstrap_interval(np.zeros((4, 3, 3), int), accuracy)))
