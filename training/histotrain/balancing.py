"""Weights that let every class count alike in partially annotated patches.

In a sparsely annotated batch most pixels say nothing, and of the rest most belong to whatever was quickest to paint.
Bokhorst et al. (2019) weigh each labelled pixel so that all classes present have the same total weight: within its
patch (equation 1) or within the mini-batch (equation 2). Equation 2 is the better one on purely sparse annotation,
equation 1 where some patches are dense.

Weights follow from the labels alone. Under distributed training the counts of equation 2 are those of all ranks
together: otherwise each rank would balance a different batch than the one the gradient is taken of.
"""

from __future__ import annotations

from enum import StrEnum

import torch
from torch import Tensor


class Balancing(StrEnum):
    """How the classes of a mini-batch share the loss."""

    NONE = "none"
    INSTANCE = "instance"
    MINI_BATCH = "mini-batch"


def pixel_weights(labels: Tensor, balancing: Balancing | str, *, classes: int) -> Tensor:
    """Weight of every pixel in the loss.

    Parameters
    ----------
    labels : Tensor, integer, shape (N, H, W)
        Class of each pixel, 1 … ``classes``; 0 is unlabelled.
    balancing : Balancing
        ``INSTANCE`` is L_I / (C_I · C_ij), counted within each patch; ``MINI_BATCH`` is L_B / (C_B · C_ij), counted
        over all patches (of all ranks); ``NONE`` is 1.
    classes : int
        Number of classes C.

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
    groups = labels.long().flatten(1)
    counts = _count_classes(groups, classes)
    if balancing is Balancing.MINI_BATCH:
        counts = _sum_over_ranks(counts.sum(0, keepdim=True)).expand(len(groups), -1)
    return _share_equally(counts).gather(1, groups).reshape(labels.shape)


def _share_equally(counts: Tensor) -> Tensor:
    """Weight of a pixel of class 0 … C in each group, shape (G, C + 1), from the counts of class 1 … C."""
    labelled = counts.sum(1, keepdim=True)
    present = (counts > 0).sum(1, keepdim=True)
    weights = labelled / (present * counts).clamp(min=1)
    return torch.cat([torch.zeros_like(weights[:, :1]), weights], dim=1).float()


def _count_classes(groups: Tensor, classes: int) -> Tensor:
    """Pixels of class 1 … C in each row, int64 (G, C)."""
    first = torch.arange(len(groups), device=groups.device)[:, None] * (classes + 1)
    counts = torch.bincount((groups + first).flatten(), minlength=len(groups) * (classes + 1))
    return counts.reshape(len(groups), classes + 1)[:, 1:]


def _sum_over_ranks(counts: Tensor) -> Tensor:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        counts = counts.clone()
        torch.distributed.all_reduce(counts)
    return counts
