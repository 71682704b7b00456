"""Weights that let every class count alike in partially annotated patches.

In a sparsely annotated batch most pixels say nothing, and of the rest most belong to whatever was quickest to paint.
Bokhorst et al. (2019) weigh each labelled pixel so that all classes present have the same total weight: within its
patch (equation 1) or within the mini-batch (equation 2). Equation 2 is the better one on purely sparse annotation,
equation 1 where some patches are dense.

Weights follow from the labels alone. The counts of equation 2 are those of everything that one step of the optimiser
learns from: of all ranks and of all batches whose gradients are accumulated. Otherwise each part would be balanced by
itself, and the step would not be that of the whole.
"""

from __future__ import annotations

from enum import StrEnum

import torch
from torch import Tensor

from histotrain.ranks import summed


class Balancing(StrEnum):
    """How the classes of a mini-batch share the loss."""

    NONE = "none"
    INSTANCE = "instance"
    MINI_BATCH = "mini-batch"


def pixel_weights(labels: Tensor, balancing: Balancing | str, *, classes: int, totals: Tensor | None = None) -> Tensor:
    """Weight of every pixel in the loss.

    Parameters
    ----------
    labels : Tensor, integer, shape (N, H, W)
        Class of each pixel, 1 … ``classes``; 0 is unlabelled.
    balancing : Balancing
        ``INSTANCE`` is L_I / (C_I · C_ij), counted within each patch; ``MINI_BATCH`` is L_B / (C_B · C_ij), counted
        over all patches of the step; ``NONE`` is 1.
    classes : int
        Number of classes C.
    totals : Tensor, shape (C,), optional
        Pixels of each class in the whole step; by default those of ``labels``, over all ranks.

    Returns
    -------
    Tensor, float32, shape (N, H, W)
        0 where unlabelled. The balanced weights of a group sum to its number of labelled pixels.

    Examples
    --------
    >>> pixel_weights(torch.tensor([[[2, 1, 1, 0]]]), Balancing.MINI_BATCH, classes=2)
    tensor([[[1.5000, 0.7500, 0.7500, 0.0000]]])
    """
    balancing = Balancing(balancing)
    if balancing is Balancing.NONE:
        return (labels != 0).float()
    if balancing is Balancing.MINI_BATCH and totals is None:
        totals = summed(count_classes(labels, classes).sum(0))
    counts = count_classes(labels, classes) if balancing is Balancing.INSTANCE else None
    weights = class_factors(balancing, counts=counts, totals=totals)
    return spread(weights, labels)


def class_factors(balancing: Balancing | str, *, counts: Tensor | None, totals: Tensor | None) -> Tensor:
    """Weight of each class, float32 (N, C) from ``counts`` (N, C) of each patch, or (1, C) from ``totals`` (C,).

    Counts may be fractions (of soft labels). Raises ValueError if what the balancing counts is not given.
    """
    balancing = Balancing(balancing)
    known = counts if balancing is Balancing.INSTANCE else None if totals is None else totals[None]
    if known is None:
        raise ValueError(f"{balancing} balancing without its counts")
    if balancing is Balancing.NONE:
        return torch.ones_like(known, dtype=torch.float32)
    labelled = known.sum(1, keepdim=True)
    present = (known > 0).sum(1, keepdim=True)
    shares = present * known
    return torch.where(known > 0, labelled / torch.where(shares > 0, shares, 1), 0.0).float()


def spread(weights: Tensor, labels: Tensor) -> Tensor:
    """Weight of each pixel, float32 (N, H, W), from those of the classes (N, C) or (1, C); 0 where unlabelled."""
    table = torch.cat([torch.zeros_like(weights[:, :1]), weights], dim=1)
    flat = labels.long().flatten(1)
    return table.expand(len(flat), -1).gather(1, flat).reshape(labels.shape)


def count_classes(labels: Tensor, classes: int) -> Tensor:
    """Pixels of class 1 … C in each patch, int64 (N, C), of labels (N, …)."""
    groups = labels.long().flatten(1)
    first = torch.arange(len(groups), device=groups.device)[:, None] * (classes + 1)
    counts = torch.bincount((groups + first).flatten(), minlength=len(groups) * (classes + 1))
    return counts.reshape(len(groups), classes + 1)[:, 1:]
