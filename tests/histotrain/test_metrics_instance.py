"""Object metrics against the reference implementation's figures, and against the slow literal reading."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import linear_sum_assignment

from histotrain.metrics import aji, aji_plus, multiclass_pq, panoptic_quality
from histotrain.metrics.overlaps import overlaps

MAPS = hnp.arrays(np.int32, (6, 7), elements=st.sampled_from([0, 0, 1, 2, 5, 9]))


def oracle_cases(real_data: Path) -> list[tuple[np.ndarray, np.ndarray, dict[str, object]]]:
    cases = []
    folder = real_data / "oracles" / "instance_metrics"
    for name, expected in json.loads((folder / "expected.json").read_text())["expected"].items():
        pair = [folder / f"{name}__{side}.tif" for side in ("true", "pred")]
        if all(path.is_file() for path in pair):
            cases.append((tifffile.imread(pair[0]), tifffile.imread(pair[1]), expected))
    folder = real_data / "oracles" / "hovernet_metrics"
    for name, expected in json.loads((folder / "expected.json").read_text())["full_precision"].items():
        truth, predicted = (tifffile.imread(folder / f"{file}_labels.tif") for file in ("true", name))
        cases.append((truth, predicted, expected))
    return cases


@pytest.mark.real_data
def test_reference_figures(real_data: Path) -> None:
    cases = oracle_cases(real_data)
    assert len(cases) >= 5
    for truth, predicted, expected in cases:
        for threshold in (0.5, 0.25):
            quality, figures = panoptic_quality(truth, predicted, threshold=threshold), expected[f"pq@{threshold}"]
            assert isinstance(figures, dict)
            assert (quality.tp, quality.fp, quality.fn) == (figures["tp"], figures["fp"], figures["fn"])
            assert quality.dq == pytest.approx(figures["dq"])
            assert quality.sq == pytest.approx(figures["sq"], rel=1e-5)
            assert quality.pq == pytest.approx(figures["pq"], rel=1e-5)
        assert aji(truth, predicted) == pytest.approx(expected["aji"], rel=1e-5)
        assert aji_plus(truth, predicted) == pytest.approx(expected["aji_plus"], rel=1e-5)


def literal_ious(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    masks = [[labels == i for i in np.unique(labels) if i] for labels in (truth, predicted)]
    ious = [[(t & p).sum() / (t | p).sum() for p in masks[1]] for t in masks[0]]
    return np.array(ious).reshape(len(masks[0]), len(masks[1]))


@given(MAPS, MAPS)
def test_overlaps_are_the_literal_ones(truth: np.ndarray, predicted: np.ndarray) -> None:
    table = overlaps(truth, predicted)
    ious = np.zeros((len(table.true_labels), len(table.predicted_labels)))
    ious[table.pairs[:, 0], table.pairs[:, 1]] = table.ious
    np.testing.assert_allclose(ious, literal_ious(truth, predicted))


@given(MAPS, MAPS)
def test_quality_is_the_literal_one(truth: np.ndarray, predicted: np.ndarray) -> None:
    ious = literal_ious(truth, predicted)
    quality = panoptic_quality(truth, predicted)
    matched = ious[ious > 0.5]
    assert quality.tp == len(matched)
    assert quality.sum_iou == pytest.approx(matched.sum())
    if ious.size:
        rows, columns = linear_sum_assignment(-ious)
        low = panoptic_quality(truth, predicted, threshold=0.0)
        assert low.sum_iou == pytest.approx(ious[rows, columns].sum())


@given(MAPS)
def test_perfect_prediction(truth: np.ndarray) -> None:
    renumbered = np.where(truth > 0, truth + 100, 0)
    expected = pytest.approx(1.0 if truth.any() else np.nan, nan_ok=True)
    assert panoptic_quality(truth, renumbered).pq == expected
    assert aji(truth, renumbered) == expected
    assert aji_plus(truth, renumbered) == expected


def test_a_half_is_no_match() -> None:
    truth, predicted = np.array([[1, 1, 1, 0]]), np.array([[0, 1, 1, 1]])
    assert literal_ious(truth, predicted)[0, 0] == 0.5
    assert panoptic_quality(truth, predicted).tp == 0


def test_nothing_there_is_undefined_and_inventions_are_zero() -> None:
    nothing, something = np.zeros((3, 3), int), np.eye(3, dtype=int)
    assert np.isnan(panoptic_quality(nothing, nothing).pq)
    assert np.isnan(aji(nothing, nothing))
    assert panoptic_quality(nothing, something).pq == 0
    assert aji_plus(nothing, something) == 0


@given(MAPS, MAPS, MAPS)
def test_invalid_pixels_do_not_count(truth: np.ndarray, predicted: np.ndarray, other: np.ndarray) -> None:
    valid = np.indices(truth.shape).sum(0) % 2 == 0
    elsewhere = np.where(valid, predicted, other)
    assert panoptic_quality(truth, predicted, valid=valid) == panoptic_quality(truth, elsewhere, valid=valid)


def test_qualities_add_up_over_images() -> None:
    truth, predicted = np.array([[1, 1, 0, 2]]), np.array([[1, 1, 0, 0]])
    both = panoptic_quality(truth, predicted) + panoptic_quality(truth, truth)
    assert (both.tp, both.fp, both.fn) == (3, 0, 1)
    assert both.pq == pytest.approx(3 / 3.5)


def test_classes_are_judged_apart() -> None:
    truth, predicted = np.array([[1, 1, 0, 2, 2]]), np.array([[4, 4, 0, 7, 7]])
    by_class = multiclass_pq(truth, predicted, true_classes={1: 1, 2: 2}, predicted_classes={4: 1, 7: 3}, classes=3)
    assert by_class[1].pq == 1
    assert by_class[2].pq == 0
    assert by_class[3].fp == 1


@pytest.mark.parametrize("wrong", [np.zeros((2, 3), int), np.full((3, 3), -1)])
def test_misfits(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"shape|negative"):
        panoptic_quality(np.zeros((3, 3), int), wrong)
