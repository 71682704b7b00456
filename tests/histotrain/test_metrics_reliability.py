"""Calibration against its definitions, pixel by pixel and bin by bin."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from histotrain.metrics import Calibration, calibration


def drawn(seed: int, pixels: int, sharpness: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, sharpness, (pixels, 3))
    return rng.integers(0, 4, pixels), np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)


def literal(truth: np.ndarray, probabilities: np.ndarray, bins: int) -> tuple[float, float, float]:
    """ECE, MCE and Brier score."""
    edges = np.linspace(0, 1, bins + 1)
    pixels = [(t, p) for t, p in zip(truth.tolist(), probabilities, strict=True) if t]
    gaps = []
    for low, high in pairwise(edges):
        inside = [(t, p) for t, p in pixels if low < p.max() <= high]
        if inside:
            right = np.mean([p.argmax() == t - 1 for t, p in inside])
            gaps.append((abs(right - np.mean([p.max() for _, p in inside])), len(inside)))
    if not pixels:
        return float("nan"), float("nan"), float("nan")
    brier = np.mean([((p - np.eye(3)[t - 1]) ** 2).sum() for t, p in pixels])
    return sum(g * n for g, n in gaps) / len(pixels), max(g for g, _ in gaps), float(brier)


@given(st.integers(0, 999), st.integers(0, 60), st.sampled_from([1, 4, 15]))
def test_figures_are_the_literal_ones(seed: int, pixels: int, bins: int) -> None:
    truth, probabilities = drawn(seed, pixels)
    found = calibration(truth, probabilities, bins=bins)
    assert (found.ece, found.mce, found.brier) == pytest.approx(literal(truth, probabilities, bins), nan_ok=True)


@given(st.integers(0, 999))
def test_images_add_up(seed: int) -> None:
    truth, probabilities = drawn(seed, 40)
    whole = calibration(truth, probabilities)
    parts = calibration(truth[:13], probabilities[:13]) + calibration(truth[13:], probabilities[13:])
    np.testing.assert_allclose(parts.accuracy, whole.accuracy)
    np.testing.assert_allclose(parts.confidence, whole.confidence)
    assert (parts.ece, parts.brier) == pytest.approx((whole.ece, whole.brier))


def test_probabilities_that_are_true_are_calibrated() -> None:
    rng = np.random.default_rng(0)
    _, probabilities = drawn(1, 40_000, 1.0)
    truth = (rng.random((40_000, 1)) > probabilities.cumsum(-1)).sum(-1).clip(max=2) + 1
    assert calibration(truth, probabilities).ece < 0.015
    sharper = probabilities**3 / (probabilities**3).sum(-1, keepdims=True)
    assert calibration(truth, sharper).ece > 0.1


def test_sure_and_right_or_wrong() -> None:
    sure = np.array([[[1.0, 0.0], [1.0, 0.0]]])
    right, wrong = calibration([[1, 1]], sure), calibration([[2, 2]], sure)
    assert (right.ece, right.brier) == (0, 0)
    assert (wrong.ece, wrong.mce, wrong.brier) == (1, 1, 2)
    assert np.isnan(right.accuracy[:-1]).all()


def test_unlabelled_pixels_do_not_count_whatever_they_hold() -> None:
    found = calibration([1, 0], [[0.8, 0.2], [np.nan, 7]])
    assert found.counts.sum() == 1
    assert found.brier == pytest.approx(0.08)


@pytest.mark.parametrize(
    ("truth", "probabilities", "message"),
    [
        ([1, 1], [[0.5, 0.5]], "fit"),
        ([3], [[0.5, 0.5]], "outside"),
        ([1], [[0.9, 0.9]], "sum to 1"),
        ([1], [[1.2, -0.2]], "negative"),
        ([1], [[np.nan, 0.5]], "sum to 1"),
    ],
)
def test_misfits(truth: list[int], probabilities: list[list[float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        calibration(truth, probabilities)


def test_other_bins_do_not_add_up() -> None:
    one: Calibration = calibration([1], [[0.5, 0.5]], bins=5)
    with pytest.raises(ValueError, match="bins"):
        one + calibration([1], [[0.5, 0.5]], bins=6)


def test_a_confidence_on_an_edge_belongs_below() -> None:
    assert calibration([1], [[0.5, 0.5]], bins=2).counts.tolist() == [1, 0]
