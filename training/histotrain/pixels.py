"""From bytes to what a network is fed, and the inverse of nothing: the one normalisation of this package."""

from __future__ import annotations

import torch
from torch import Tensor

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""Those of ImageNet, on 0 … 1: what pretrained encoders expect. Stored with each model, which is fed by its own."""


def normalised(images: Tensor, mean: tuple[float, ...] = MEAN, std: tuple[float, ...] = STD) -> Tensor:
    """Float32 (N, 3, H, W), channels last in memory, of uint8 (N, H, W, 3)."""
    scale = torch.tensor([1 / (255 * s) for s in std], device=images.device)
    shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], device=images.device)
    return torch.addcmul(shift, images.float(), scale).permute(0, 3, 1, 2)
