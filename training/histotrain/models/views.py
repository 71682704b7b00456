"""Patches with the same centre at several magnifications, made from one image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Sequence


def views_of(images: Tensor, magnifications: Sequence[float]) -> Tensor:
    """What the lower magnifications of a patch would show if there were nothing around it.

    Parameters
    ----------
    images : Tensor, float, shape (N, 3, H, W)
        The target patches.
    magnifications : sequence of float
        Sizes of a pixel relative to the target's, each at least 1.

    Returns
    -------
    Tensor, float, shape (N, M, 3, H, W)
        The patch reduced by each factor, by averaging areas, in the middle of zeros.
    """
    return torch.stack([images if factor == 1 else _reduced(images, factor) for factor in magnifications], dim=1)


def _reduced(images: Tensor, factor: float) -> Tensor:
    height, width = (int(side) for side in images.shape[-2:])
    small = max(round(height / factor), 1), max(round(width / factor), 1)
    # adaptive averaging works for any factor, and unlike "area" interpolation also in bfloat16 on the CPU
    reduced = F.adaptive_avg_pool2d(images, small)
    top, left = (height - small[0]) // 2, (width - small[1]) // 2
    return F.pad(reduced, (left, width - small[1] - left, top, height - small[0] - top))
