"""Panoptic quality over images and classes equals the definitions read literally."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from histotrain.metrics import ImageQuality, image_quality, multiclass_pq, panoptic_quality, panoptic_summary
from histotrain.metrics.overlaps import overlaps

MAPS = hnp.arrays(np.int32, (5, 6), elements=st.sampled_from([0, 0, 1, 1, 2, 5, 9]))
CLASSES = st.fixed_dictionaries({label: st.integers(0, 3) for label in (1, 2, 5, 9)})
IMAGES = st.lists(st.tuples(MAPS, MAPS, CLASSES, CLASSES), min_size=1, max_size=3)


def measured(image: tuple[np.ndarray, np.ndarray, dict[int, int], dict[int, int]]) -> ImageQuality:
    truth, predicted, true_classes, predicted_classes = image
    return image_quality(truth, predicted, true_classes=true_classes, predicted_classes=predicted_classes, classes=3)


def literal_counts(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """tp, fp, fn and the sum of IoU, object by object."""
    masks = [[labels == i for i in np.unique(labels) if i] for labels in (truth, predicted)]
    matched = [iou for t in masks[0] for p in masks[1] if (iou := (t & p).sum() / (t | p).sum()) > 0.5]
    return np.array([len(matched), len(masks[1]) - len(matched), len(masks[0]) - len(matched), sum(matched)])


def literal_pq(counts: np.ndarray) -> float:
    """NaN where the truth has no object."""
    tp, fp, fn, total = counts
    return total / (tp + fp / 2 + fn / 2) if tp + fn else float("nan")


def literal_class(labels: np.ndarray, of_object: dict[int, int], which: int) -> np.ndarray:
    return np.where(np.isin(labels, [label for label, own in of_object.items() if own == which]), labels, 0)


def nanmean(values: list[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return sum(known) / len(known) if known else float("nan")


def same(value: float) -> object:
    return pytest.approx(value, nan_ok=True)


@given(IMAGES)
def test_averages_are_the_literal_ones(
    images: list[tuple[np.ndarray, np.ndarray, dict[int, int], dict[int, int]]],
) -> None:
    found = panoptic_summary(map(measured, images))
    binary = [literal_counts(t, p) for t, p, _, _ in images]
    classes = [
        [literal_counts(literal_class(t, ct, c), literal_class(p, cp, c)) for c in (1, 2, 3)] for t, p, ct, cp in images
    ]
    assert found["bpq"] == same(nanmean([literal_pq(counts) for counts in binary]))
    assert found["bpq_plus"] == same(literal_pq(sum(binary)))
    assert found["mpq"] == same(nanmean([nanmean([literal_pq(own) for own in image]) for image in classes]))
    pooled = np.sum(classes, axis=0)
    assert found["mpq_plus"] == same(nanmean([literal_pq(own) for own in pooled]))
    for index in range(3):
        assert found[f"pq/{index + 1}"] == same(nanmean([literal_pq(image[index]) for image in classes]))
        assert found[f"pq_plus/{index + 1}"] == same(literal_pq(pooled[index]))
        assert found[f"dq_plus/{index + 1}"] * found[f"sq_plus/{index + 1}"] == same(literal_pq(pooled[index]))


@given(MAPS, MAPS, CLASSES, CLASSES, st.sampled_from([0.0, 0.5]))
def test_one_table_serves_all_classes(
    truth: np.ndarray, predicted: np.ndarray, of_true: dict[int, int], of_predicted: dict[int, int], threshold: float
) -> None:
    found = multiclass_pq(
        truth, predicted, true_classes=of_true, predicted_classes=of_predicted, classes=3, threshold=threshold
    )
    for label, quality in found.items():
        alone = literal_class(truth, of_true, label), literal_class(predicted, of_predicted, label)
        assert quality == panoptic_quality(*alone, threshold=threshold)


def test_a_class_only_predicted_is_undefined_in_an_image_but_counts_in_the_pool() -> None:
    without = image_quality([[1]], [[1]], true_classes={1: 1}, predicted_classes={1: 2}, classes=2)
    assert np.isnan(without.class_pq[1])
    assert without.bpq == 1
    assert without.mpq == 0
    having = image_quality([[1]], [[1]], true_classes={1: 2}, predicted_classes={1: 2}, classes=2)
    found = panoptic_summary([without, having])
    assert found["pq/2"] == 1
    assert found["pq_plus/2"] == pytest.approx(1 / 1.5)


def test_unknown_pixels_do_not_count() -> None:
    found = image_quality(
        [[1, 1, 1]], [[4, 4, 0]], true_classes={1: 1}, predicted_classes={4: 1}, classes=1, valid=[[True, True, False]]
    )
    assert found.bpq == 1
    assert found.mpq == 1


def test_no_images_and_empty_images() -> None:
    empty = image_quality([[0]], [[0]], true_classes={}, predicted_classes={}, classes=2)
    assert np.isnan(list(panoptic_summary([]).values())).all()
    assert np.isnan(list(panoptic_summary([empty, empty]).values())).all()


def test_class_counts_must_agree() -> None:
    images = [image_quality([[0]], [[0]], true_classes={}, predicted_classes={}, classes=n) for n in (1, 2)]
    with pytest.raises(ValueError, match="number of classes"):
        panoptic_summary(images)


def test_labels_of_any_size() -> None:
    huge = 2**40
    truth, predicted = np.array([[1, 1, huge]]), np.array([[huge, huge, huge + 1]])
    assert overlaps(truth, predicted).pairs.tolist() == [[0, 0], [1, 1]]
    assert panoptic_quality(truth, predicted).pq == 1
