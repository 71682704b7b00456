"""Losses over partially labelled masks: an unlabelled pixel has no part in the value and gets no gradient."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from histotrain.balancing import Balancing, pixel_weights


def masked_cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy, weighted and averaged over the labelled pixels.

    Parameters
    ----------
    logits : Tensor, float, shape (N, C, H, W)
        Before the softmax.
    labels : Tensor, integer, shape (N, H, W)
        Channel + 1; 0 is unlabelled.
    weights : Tensor, float, shape (N, H, W)
        0 where unlabelled.

    Returns
    -------
    Tensor
        Σ w·l divided by the number of labelled pixels; 0 if there are none.
    """

    losses = F.cross_entropy(logits.float(), (labels.long() - 1), reduction="none", ignore_index=-1)
    return (losses * weights).sum() / (labels != 0).sum().clamp(min=1)


def masked_dice(logits: Tensor, labels: Tensor) -> Tensor:
    """One minus the soft Dice coefficient over the labelled pixels, averaged over the classes that are present.

    Shapes as in `masked_cross_entropy`; 0 if nothing is labelled.
    """
    labelled = (labels != 0).unsqueeze(1)
    probabilities = logits.float().softmax(1) * labelled
    truth = F.one_hot(labels.long(), logits.shape[1] + 1)[..., 1:].movedim(-1, 1).float()
    both = (probabilities * truth).sum((0, 2, 3))
    each = probabilities.sum((0, 2, 3)) + truth.sum((0, 2, 3))
    present = truth.sum((0, 2, 3)) > 0
    dice = 2 * both / each.clamp(min=1e-6)
    return ((1 - dice) * present).sum() / present.sum().clamp(min=1)


def segmentation_loss(logits: Tensor, labels: Tensor, *, loss: str, balancing: Balancing | str) -> Tensor:
    """The loss a recipe names: "cross-entropy", or the same plus `masked_dice`. Shapes as in `masked_cross_entropy`."""
    weights = pixel_weights(labels, balancing, classes=logits.shape[1])
    value = masked_cross_entropy(logits, labels, weights)
    if loss == "cross-entropy+dice":
        value = value + masked_dice(logits, labels)
    return torch.as_tensor(value)
