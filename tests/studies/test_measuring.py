"""Metrics of pixels from a confusion matrix that can be checked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from napari_histoanno.studies import Cell, Result
from napari_histoanno.studies.measuring import confusion_of, mean_confusion, pixel_metrics


def test_ids_with_gaps_are_counted_in_their_order() -> None:
    matrix = confusion_of(np.array([[4, 4, 9, 0]], np.uint8), np.array([[4, 9, 9, 9]], np.uint8), (9, 4))
    assert matrix.tolist() == [[0, 0, 0], [0, 1, 0], [0, 1, 1]]


def test_scores_and_rows_of_the_confusion_matrix() -> None:
    metrics = pixel_metrics(np.array([[0, 0, 0], [0, 3, 1], [0, 0, 4]]), ("a", "b"))
    assert metrics["iou/a"] == 0.75
    assert metrics["iou/b"] == 0.8
    assert metrics["recall/a"] == 0.75
    assert metrics["precision/b"] == 0.8
    assert metrics["mean_iou"] == pytest.approx(0.775)
    assert [metrics[f"confusion/a/{found}"] for found in "ab"] == [0.75, 0.25]


def test_confusion_is_the_mean_over_seeds_that_have_the_class() -> None:
    several = [
        Result(str(seed), Cell.of(a=1).seeded(seed), pixel_metrics(np.array(matrix), ("a", "b")), 1, 1, "cpu", "", "")
        for seed, matrix in enumerate(([[0, 0, 0], [0, 2, 2], [0, 0, 4]], [[0, 0, 0], [0, 4, 0], [0, 0, 0]]))
    ]
    np.testing.assert_allclose(mean_confusion(several, ("a", "b")), [[0.75, 0.25], [0, 1]])
