"""Losses over partially labelled masks: an unlabelled pixel has no part in the value and gets no gradient.

Cross-entropy and focal loss are means over the labelled pixels of a step, so they are kept as sums divided by the
step's count: parts of a step (accumulated batches, ranks) then add up exactly. Dice, Tversky and Lovász speak of a
whole set of pixels and do not add up; each part counts by its share of the step's labelled pixels. They weigh the
classes alike by themselves, so balancing and class weights are for cross-entropy and focal loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from histotrain.balancing import Balancing, class_factors, count_classes, spread

if TYPE_CHECKING:
    from histotrain.recipes import Recipe


@dataclass(frozen=True, slots=True)
class LossSettings:
    """Which loss, and how its classes are balanced: see `histotrain.recipes.Recipe`."""

    loss: str = "cross-entropy"
    balancing: Balancing | str = Balancing.NONE
    focal_gamma: float = 2.0
    tversky_alpha: float = 0.5

    @classmethod
    def of(cls, recipe: Recipe) -> LossSettings:
        return cls(recipe.loss, recipe.balancing, recipe.focal_gamma, recipe.tversky_alpha)


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
    return (_entropies(logits, labels) * weights).sum() / (labels != 0).sum().clamp(min=1)


def masked_dice(logits: Tensor, labels: Tensor) -> Tensor:
    """One minus the soft Dice coefficient over the labelled pixels, averaged over the classes that are present.

    Shapes as in `masked_cross_entropy`; 0 if nothing is labelled.
    """
    return tversky_of(logits, _one_hot(labels, logits.shape[1]), alpha=0.5)


def tversky_of(logits: Tensor, truth: Tensor, *, alpha: float) -> Tensor:
    """One minus the soft Tversky index tp / (tp + α·fp + (1 - α)·fn), averaged over the classes that are present.

    Parameters
    ----------
    logits : Tensor, float, shape (N, C, H, W)
        Before the softmax.
    truth : Tensor, float32, shape (N, C, H, W)
        Share of each class; a pixel of which all are 0 is unlabelled.
    alpha : float
        Cost of what is wrongly found; 0.5 is Dice.
    """
    labelled = truth.sum(1, keepdim=True) > 0
    probabilities = logits.float().softmax(1) * labelled
    both, found, true = ((m).sum((0, 2, 3)) for m in (probabilities * truth, probabilities, truth))
    index = both / (both + alpha * (found - both) + (1 - alpha) * (true - both)).clamp(min=1e-6)
    present = true > 0
    return ((1 - index) * present).sum() / present.sum().clamp(min=1)


def lovasz(logits: Tensor, labels: Tensor) -> Tensor:
    """Lovász-softmax loss (Berman et al. 2018) of all labelled pixels together, over the classes that are present.

    Shapes as in `masked_cross_entropy`; 0 if nothing is labelled. It is that of segmentation-models-pytorch, which
    drops the ignored pixels before it sorts.
    """
    if not (labels != 0).any():
        return logits.sum() * 0.0
    from histotrain._torchvision import ensure_torchvision

    ensure_torchvision()
    from segmentation_models_pytorch.losses import LovaszLoss

    loss = LovaszLoss(mode="multiclass", ignore_index=-1, from_logits=True)
    return torch.as_tensor(loss(logits.float(), labels.long() - 1))


def pixel_loss(
    logits: Tensor,
    labels: Tensor,
    settings: LossSettings,
    *,
    shares: Tensor | None = None,
    totals: Tensor,
    class_weights: Tensor | None = None,
) -> Tensor:
    """The part that these patches have in the loss of a step.

    Parameters
    ----------
    logits : Tensor, float, shape (N, C, H, W)
        Before the softmax.
    labels : Tensor, integer, shape (N, H, W)
        Channel + 1; 0 is unlabelled.
    settings : LossSettings
        Which loss.
    shares : Tensor, float32, shape (N, H, W, C), optional
        Soft labels in place of ``labels``: cross-entropy with a soft target. All 0 is unlabelled.
    totals : Tensor, shape (C,)
        Labelled pixels of each class (sums of shares) in the whole step, as `label_counts` counts them.
    class_weights : Tensor, float, shape (C,), optional
        By which the balanced weights are multiplied.

    Returns
    -------
    Tensor
        Scalar; the parts of a step add up to its loss. 0, with a gradient of 0, where nothing is labelled.
    """
    amount = totals.sum().clamp(min=1e-6)
    by_patch = Balancing(settings.balancing) is Balancing.INSTANCE
    counts = label_counts(labels, shares, logits.shape[1]) if by_patch else None
    factors = class_factors(settings.balancing, counts=counts, totals=totals)
    if class_weights is not None:
        factors = factors * class_weights
    value = torch.zeros((), device=logits.device)
    if settings.loss in ("cross-entropy", "cross-entropy+dice", "focal"):
        gamma = settings.focal_gamma if settings.loss == "focal" else 0.0
        value = _entropy_sum(logits, labels, shares, factors, gamma) / amount
    if settings.loss not in ("cross-entropy", "focal"):
        own = label_counts(labels, shares, logits.shape[1]).sum()
        value = value + _overlap_loss(logits, labels, shares, settings) * (own / amount)
    return value


def label_counts(labels: Tensor, shares: Tensor | None, classes: int) -> Tensor:
    """Labelled pixels of each class in each patch, (N, C): int64, or float32 sums of shares."""
    return count_classes(labels, classes) if shares is None else shares.sum((1, 2))


def segmentation_loss(logits: Tensor, labels: Tensor, *, loss: str, balancing: Balancing | str) -> Tensor:
    """The loss a recipe names, of one batch. Shapes as in `masked_cross_entropy`."""
    totals = count_classes(labels, logits.shape[1]).sum(0)
    return pixel_loss(logits, labels, LossSettings(loss, balancing), totals=totals)


def _entropies(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of each pixel; 0 where unlabelled."""
    return F.cross_entropy(logits.float(), labels.long() - 1, reduction="none", ignore_index=-1)


def _entropy_sum(logits: Tensor, labels: Tensor, shares: Tensor | None, factors: Tensor, gamma: float) -> Tensor:
    """Σ w · (1 - p)^γ · (-log p), with weights (N, C) or (1, C) of each class."""
    if shares is None:
        entropies = _entropies(logits, labels)
        if gamma:
            entropies = entropies * _doubt(-entropies) ** gamma
        return (entropies * spread(factors, labels)).sum()
    logarithms = logits.float().log_softmax(1)
    if gamma:
        logarithms = logarithms * _doubt(logarithms) ** gamma
    return -(logarithms * shares.movedim(-1, 1) * factors[:, :, None, None]).sum()


def _doubt(logarithms: Tensor) -> Tensor:
    """1 - p; not quite 0, where a small power has an infinite slope."""
    return (1 - logarithms.exp()).clamp(min=1e-6)


def _overlap_loss(logits: Tensor, labels: Tensor, shares: Tensor | None, settings: LossSettings) -> Tensor:
    if settings.loss == "lovasz":
        return lovasz(logits, labels if shares is None else _likeliest(shares))
    truth = _one_hot(labels, logits.shape[1]) if shares is None else shares.movedim(-1, 1)
    return tversky_of(logits, truth, alpha=settings.tversky_alpha if settings.loss == "tversky" else 0.5)


def _one_hot(labels: Tensor, classes: int) -> Tensor:
    return F.one_hot(labels.long(), classes + 1)[..., 1:].movedim(-1, 1).float()


def _likeliest(shares: Tensor) -> Tensor:
    """Labels (N, H, W) of the largest share (N, H, W, C); 0 where all are 0."""
    return torch.where(shares.sum(-1) > 0, shares.argmax(-1) + 1, 0)
