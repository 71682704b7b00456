"""Pixel metrics against counting by hand; the unlabelled never count, the absent are NaN."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from histotrain.metrics import (
    accuracy,
    averages,
    cancer_recall,
    class_scores,
    confusion,
    macro,
    nuclei_recall,
    share_weighted,
    summary,
)

MAPS = hnp.arrays(np.uint8, st.tuples(st.integers(0, 6), st.integers(0, 6)), elements=st.integers(0, 3))


@given(MAPS, st.randoms(use_true_random=False))
def test_confusion_counts_labelled_pixels(truth: np.ndarray, random: object) -> None:
    predicted = np.random.default_rng(random.getrandbits(32)).integers(0, 4, truth.shape)  # type: ignore[attr-defined]
    matrix = confusion(truth, predicted, classes=3)
    for t, p in np.ndindex(4, 4):
        assert matrix[t, p] == (((truth == t) & (predicted == p)).sum() if t else 0)


@given(MAPS)
def test_unlabelled_pixels_change_nothing(truth: np.ndarray) -> None:
    wrong_there = np.where(truth == 0, 1, truth)
    right_there = np.where(truth == 0, 2, truth)
    np.testing.assert_array_equal(confusion(truth, wrong_there, classes=3), confusion(truth, right_there, classes=3))


def test_scores_of_a_small_example() -> None:
    matrix = confusion([1, 1, 1, 2, 2, 0], [1, 1, 2, 2, 0, 1], classes=3)
    scores = class_scores(matrix)
    np.testing.assert_allclose(scores["iou"], [2 / 3, 1 / 3, np.nan])
    np.testing.assert_allclose(scores["dice"], [4 / 5, 2 / 4, np.nan])
    np.testing.assert_allclose(scores["precision"], [1, 1 / 2, np.nan])
    np.testing.assert_allclose(scores["recall"], [2 / 3, 1 / 2, np.nan])
    np.testing.assert_allclose(scores["f1"], scores["dice"])
    assert accuracy(matrix) == pytest.approx(3 / 5)
    assert macro(scores["iou"]) == pytest.approx(0.5)
    assert share_weighted(matrix, scores["iou"]) == pytest.approx((3 * 2 / 3 + 2 * 1 / 3) / 5)


def test_a_class_the_truth_lacks_has_no_score_even_if_predicted() -> None:
    scores = class_scores(confusion([1, 1], [1, 2], classes=2))
    assert np.isnan(scores["iou"][1])
    assert scores["precision"][1] == 0


def test_nothing_labelled() -> None:
    matrix = confusion([0, 0], [1, 2], classes=2)
    assert np.isnan(accuracy(matrix))
    assert all(np.isnan(value) for value in summary(matrix, ["a", "b"]).values())


@pytest.mark.parametrize("predicted", [[4], [-1]])
def test_values_out_of_range(predicted: list[int]) -> None:
    with pytest.raises(ValueError, match="outside"):
        confusion([1], predicted, classes=3)


def test_different_shapes() -> None:
    with pytest.raises(ValueError, match="shape"):
        confusion(np.ones((2, 3), int), np.ones((3, 2), int), classes=1)


@given(MAPS, st.integers(0, 999))
def test_recalls_of_nuclei_are_counted_pixels(truth: np.ndarray, seed: int) -> None:
    """Class 1 is stroma, 2 a healthy nucleus, 3 a cancer nucleus of one grade, 4 of another."""
    truth = truth + (truth > 0) * (truth % 2)
    predicted = np.random.default_rng(seed).integers(0, 5, truth.shape)
    matrix = confusion(truth, predicted, classes=4)
    nucleus, cancer = truth >= 2, truth >= 3
    found = (nucleus & (predicted >= 2)).sum() / nucleus.sum() if nucleus.any() else np.nan
    graded = (cancer & (predicted == truth)).sum() / cancer.sum() if cancer.any() else np.nan
    assert nuclei_recall(matrix, [2, 3, 4]) == pytest.approx(found, nan_ok=True)
    assert cancer_recall(matrix, [3, 4]) == pytest.approx(graded, nan_ok=True)


def test_a_wrong_grade_is_a_nucleus_found_but_no_cancer_recalled() -> None:
    matrix = confusion([2, 2, 2, 3], [2, 3, 1, 0], classes=3)
    assert nuclei_recall(matrix, {2, 3}) == pytest.approx(2 / 4)
    assert cancer_recall(matrix, {2, 3}) == pytest.approx(1 / 4)
    assert np.isnan(nuclei_recall(matrix, []))
    with pytest.raises(ValueError, match="outside"):
        cancer_recall(matrix, [0])


@given(MAPS, st.integers(0, 999))
def test_averages_weigh_classes_alike_or_by_their_share(truth: np.ndarray, seed: int) -> None:
    predicted = np.random.default_rng(seed).integers(1, 4, truth.shape)
    found = averages(confusion(truth, predicted, classes=3))
    scores, shares = [], []
    for label in {int(value) for value in truth.ravel()} - {0}:
        own, said = truth == label, (predicted == label) & (truth > 0)
        scores.append(2 * (own & said).sum() / (own.sum() + said.sum()))
        shares.append(own.sum())
    literal = (np.mean(scores), np.average(scores, weights=shares)) if scores else (np.nan, np.nan)
    assert (found["macro_f1"], found["micro_f1"]) == pytest.approx(literal, nan_ok=True)
    assert found["micro_recall"] == pytest.approx(accuracy(confusion(truth, predicted, classes=3)), nan_ok=True)


def test_a_class_the_truth_lacks_is_in_no_average() -> None:
    found = averages(confusion([1, 1, 1, 1], [1, 1, 1, 2], classes=2))
    assert found["macro_precision"] == 1
    assert found["macro_recall"] == 3 / 4
