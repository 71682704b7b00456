"""Losses equal their definitions, read one pixel at a time; unlabelled pixels give neither value nor gradient."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from histotrain.losses import (
    LossSettings,
    label_counts,
    lovasz,
    masked_cross_entropy,
    masked_dice,
    pixel_loss,
    segmentation_loss,
    tversky_of,
)

LOSSES = ["cross-entropy", "cross-entropy+dice", "focal", "dice", "tversky", "lovasz"]
BALANCINGS = ["none", "instance", "mini-batch"]
CLASSES = 3


def batch(seed: int = 0, labelled: float = 0.8) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(2, CLASSES, 3, 4, generator=generator)
    labels = torch.randint(1, CLASSES + 1, (2, 3, 4), generator=generator, dtype=torch.uint8)
    return logits, labels * (torch.rand(2, 3, 4, generator=generator) < labelled)


def soft(labels: Tensor) -> Tensor:
    """Three votes for each labelled pixel, one of them for another class."""
    generator = torch.Generator().manual_seed(1)
    votes = torch.nn.functional.one_hot(labels.long(), CLASSES + 1)[..., 1:] * 2.0
    other = torch.randint(0, CLASSES, labels.shape, generator=generator)
    return (votes + torch.nn.functional.one_hot(other, CLASSES) * (labels != 0)[..., None]) / 3


def whole(logits: Tensor, labels: Tensor, options: LossSettings, shares: Tensor | None = None) -> Tensor:
    totals = label_counts(labels, shares, CLASSES).sum(0)
    return pixel_loss(logits, labels, options, shares=shares, totals=totals)


def test_cross_entropy_is_the_weighted_mean_over_labelled_pixels() -> None:
    logits, labels = batch()
    weights = torch.rand(2, 3, 4) * (labels != 0)
    expected = 0.0
    for n, i, j in np.ndindex(2, 3, 4):
        if labels[n, i, j]:
            p = logits[n, :, i, j].softmax(0)[int(labels[n, i, j]) - 1]
            expected -= float(weights[n, i, j] * p.log())
    assert masked_cross_entropy(logits, labels, weights).item() == pytest.approx(
        expected / int((labels != 0).sum()), rel=1e-5
    )


def literal_entropy(logits: Tensor, truth: np.ndarray, weights: np.ndarray, gamma: float) -> float:
    """Σ w·s·(1-p)^γ·(-log p) / Σ s, with shares s (N, H, W, C) and weights (N, C)."""
    total = 0.0
    for n, i, j, c in np.ndindex(*truth.shape):
        p = float(logits[n, :, i, j].double().softmax(0)[c])
        total -= weights[n, c] * truth[n, i, j, c] * (1 - p) ** gamma * math.log(p)
    return total / truth.sum()


def literal_weights(truth: np.ndarray, balancing: str) -> np.ndarray:
    counts = truth.sum((1, 2))
    if balancing == "none":
        return np.ones_like(counts)
    if balancing == "mini-batch":
        counts = np.broadcast_to(counts.sum(0), counts.shape)
    present = (counts > 0).sum(1, keepdims=True)
    weights = counts.sum(1, keepdims=True) / np.maximum(present * counts, 1e-12)
    return np.where(counts > 0, weights, 0)


@pytest.mark.parametrize("hard", [True, False], ids=["labels", "shares"])
@pytest.mark.parametrize("balancing", BALANCINGS)
@pytest.mark.parametrize("loss", ["cross-entropy", "focal"])
def test_entropies_are_their_sums(loss: str, balancing: str, hard: bool) -> None:
    logits, labels = batch()
    shares = None if hard else soft(labels)
    truth = np.eye(CLASSES + 1)[labels.numpy()][..., 1:] if shares is None else shares.double().numpy()
    expected = literal_entropy(logits, truth, literal_weights(truth, balancing), 2.0 if loss == "focal" else 0.0)
    assert whole(logits, labels, LossSettings(loss, balancing), shares).item() == pytest.approx(expected, rel=1e-5)


def test_focal_without_gamma_is_cross_entropy() -> None:
    logits, labels = batch()
    focal = whole(logits, labels, LossSettings("focal", "none", focal_gamma=0.0))
    assert focal.item() == pytest.approx(whole(logits, labels, LossSettings("cross-entropy", "none")).item())


@pytest.mark.parametrize("alpha", [0.2, 0.5, 0.9])
def test_tversky_is_its_definition(alpha: float) -> None:
    logits, labels = batch()
    probabilities = logits.double().softmax(1)
    values = []
    for c in range(CLASSES):
        tp = fp = fn = 0.0
        for n, i, j in np.ndindex(2, 3, 4):
            if labels[n, i, j]:
                p, t = float(probabilities[n, c, i, j]), float(labels[n, i, j] == c + 1)
                tp, fp, fn = tp + p * t, fp + p * (1 - t), fn + (1 - p) * t
        values.append(1 - tp / (tp + alpha * fp + (1 - alpha) * fn))
    found = whole(logits, labels, LossSettings("tversky", tversky_alpha=alpha))
    assert found.item() == pytest.approx(np.mean(values), rel=1e-5)


def test_dice_is_tversky_with_one_half() -> None:
    logits, labels = batch()
    assert masked_dice(logits, labels).item() == pytest.approx(
        whole(logits, labels, LossSettings("tversky", tversky_alpha=0.5)).item()
    )


def test_dice_of_the_right_and_of_the_wrong_answer() -> None:
    labels = torch.tensor([[[1, 2, 0, 1]]])
    right = torch.tensor([[[[9.0, -9, 9, 9]], [[-9.0, 9, -9, -9]]]]) * 5
    assert masked_dice(right, labels).item() == pytest.approx(0, abs=1e-6)
    assert masked_dice(-right, labels).item() == pytest.approx(1, abs=1e-6)


def jaccard_loss(wrong: set[int], truth: set[int]) -> float:
    """Of predicting a class for all its pixels but the wrong ones, and for the wrong others (Berman 2018, eq. 5)."""
    union = truth | wrong
    return len(wrong) / len(union) if union else 0.0


def test_lovasz_is_the_extension_of_the_jaccard_loss() -> None:
    """Σ m_(i) · (loss of the i worst pixels - loss of the i - 1 worst), over the pixels by their error m."""
    logits, labels = batch()
    keep = (labels != 0).flatten()
    truth = labels.flatten()[keep].numpy() - 1
    probabilities = logits.movedim(1, -1).reshape(-1, CLASSES)[keep].double().softmax(1).numpy()
    values = []
    for c in np.unique(truth):
        own = {int(i) for i in np.flatnonzero(truth == c)}
        errors = np.abs((truth == c) - probabilities[:, c])
        order = [int(i) for i in np.argsort(-errors)]
        steps = [jaccard_loss(set(order[: k + 1]), own) - jaccard_loss(set(order[:k]), own) for k in range(len(order))]
        values.append(float(np.dot(errors[order], steps)))
    assert lovasz(logits, labels).item() == pytest.approx(np.mean(values), rel=1e-5)


@pytest.mark.parametrize("hard", [True, False], ids=["labels", "shares"])
@pytest.mark.parametrize("loss", LOSSES)
@given(seed=st.integers(0, 1000), labelled=st.sampled_from([0.0, 0.3, 0.9]), balancing=st.sampled_from(BALANCINGS))
@settings(max_examples=12)
def test_unlabelled_pixels_give_neither_value_nor_gradient(
    loss: str, hard: bool, seed: int, labelled: float, balancing: str
) -> None:
    logits, labels = batch(seed, labelled)
    logits.requires_grad_()
    shares = None if hard else soft(labels)
    options = LossSettings(loss, balancing, focal_gamma=0.5)
    value = whole(logits, labels, options, shares)
    value.backward()
    assert logits.grad is not None
    outside = (labels == 0)[:, None].expand_as(logits)
    assert torch.isfinite(logits.grad).all()
    assert not logits.grad[outside].any()
    moved = torch.where(outside, logits.detach() + 3 * torch.randn_like(logits), logits.detach())
    assert whole(moved, labels, options, shares).item() == pytest.approx(value.item(), rel=1e-6, abs=1e-9)
    if not (labels != 0).any():
        assert value.item() == 0


@pytest.mark.parametrize("loss", ["cross-entropy", "cross-entropy+dice", "focal"])
def test_labelled_pixels_do_teach(loss: str) -> None:
    logits, labels = batch()
    logits.requires_grad_()
    segmentation_loss(logits, labels, loss=loss, balancing="mini-batch").backward()
    assert logits.grad is not None
    assert logits.grad[(labels != 0)[:, None].expand_as(logits)].all()


@pytest.mark.parametrize("balancing", BALANCINGS)
@pytest.mark.parametrize("loss", ["cross-entropy", "focal"])
def test_parts_of_a_step_add_up_to_it(loss: str, balancing: str) -> None:
    """The parts differ in their classes, and are balanced by what the whole step has."""
    logits, labels = batch()
    labels[1][labels[1] == 2] = 1
    options = LossSettings(loss, balancing)
    totals = label_counts(labels, None, CLASSES).sum(0)
    parts = [pixel_loss(logits[n : n + 1], labels[n : n + 1], options, totals=totals) for n in range(2)]
    assert float(parts[0] + parts[1]) == pytest.approx(whole(logits, labels, options).item(), rel=1e-5)


def test_class_weights_multiply_those_of_balancing() -> None:
    logits, labels = batch()
    weights = torch.tensor([0.9, 0.5, 0.1])
    totals = label_counts(labels, None, CLASSES).sum(0)
    found = pixel_loss(logits, labels, LossSettings(), totals=totals, class_weights=weights)
    per_pixel = torch.cat([torch.zeros(1), weights])[labels.long()]
    assert found.item() == pytest.approx(masked_cross_entropy(logits, labels, per_pixel).item(), rel=1e-6)


def test_tversky_leaves_absent_classes_out() -> None:
    truth = torch.zeros(1, 2, 1, 4)
    truth[:, 0] = 1
    sure = torch.tensor([9.0, -9.0])[None, :, None, None].expand(1, 2, 1, 4)
    assert tversky_of(sure, truth, alpha=0.5).item() == pytest.approx(0, abs=1e-4)
