"""Losses equal their definitions; unlabelled pixels give neither value nor gradient."""

import numpy as np
import pytest
import torch

from histotrain.losses import masked_cross_entropy, masked_dice, segmentation_loss


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, 5, generator=generator, requires_grad=True)
    return logits, torch.randint(0, 4, (2, 4, 5), generator=generator, dtype=torch.uint8)


def test_cross_entropy_is_the_weighted_mean_over_labelled_pixels() -> None:
    logits, labels = batch()
    logits = logits.detach()
    weights = torch.rand(2, 4, 5) * (labels != 0)
    expected = 0.0
    for n, i, j in np.ndindex(2, 4, 5):
        if labels[n, i, j]:
            p = logits[n, :, i, j].softmax(0)[int(labels[n, i, j]) - 1]
            expected -= float(weights[n, i, j] * p.log())
    assert masked_cross_entropy(logits, labels, weights).item() == pytest.approx(
        expected / int((labels != 0).sum()), rel=1e-5
    )


@pytest.mark.parametrize("loss", ["cross-entropy", "cross-entropy+dice"])
@pytest.mark.parametrize("balancing", ["none", "instance", "mini-batch"])
def test_unlabelled_pixels_get_no_gradient(loss: str, balancing: str) -> None:
    logits, labels = batch()
    segmentation_loss(logits, labels, loss=loss, balancing=balancing).backward()
    assert logits.grad is not None
    assert not logits.grad[(labels == 0)[:, None].expand_as(logits)].any()
    assert logits.grad[(labels != 0)[:, None].expand_as(logits)].all()


@pytest.mark.parametrize("loss", ["cross-entropy", "cross-entropy+dice"])
def test_a_batch_without_labels_is_worth_nothing(loss: str) -> None:
    logits, labels = batch()
    value = segmentation_loss(logits, torch.zeros_like(labels), loss=loss, balancing="mini-batch")
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_dice_of_the_right_and_of_the_wrong_answer() -> None:
    labels = torch.tensor([[[1, 2, 0, 1]]])
    right = torch.tensor([[[[9.0, -9, 9, 9]], [[-9.0, 9, -9, -9]]]]) * 5
    assert masked_dice(right, labels).item() == pytest.approx(0, abs=1e-6)
    assert masked_dice(-right, labels).item() == pytest.approx(1, abs=1e-6)
