"""The building blocks that the networks without batch norm share, and their first weights."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ConvBlock(nn.Sequential):
    """3x3 convolutions with bias, each followed by ReLU.

    Parameters
    ----------
    *widths : int
        Channels before the first, between, and after the last convolution.
    """

    def __init__(self, *widths: int) -> None:
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(inplace=True)]
        super().__init__(*layers)


class UpConv(nn.Sequential):
    """Doubles height and width by a transposed 3x3 convolution and ReLU."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__(
            nn.ConvTranspose2d(before, after, 3, stride=2, padding=1, output_padding=1), nn.ReLU(inplace=True)
        )


class Final(nn.Sequential):
    """3x3 convolution and ReLU, then 1x1 convolution to the classes."""

    def __init__(self, before: int, width: int, classes: int) -> None:
        super().__init__(ConvBlock(before, width), nn.Conv2d(width, classes, 1))


def initialise(net: nn.Module) -> None:
    """He et al. (2015) for ReLU networks: normal, by the inputs of each convolution; biases 0."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
        elif isinstance(module, nn.ConvTranspose2d):
            # Each output pixel sees a stride-th of the kernel, and weights are stored (in, out, height, width).
            taps = module.kernel_size[0] * module.kernel_size[1] / (module.stride[0] * module.stride[1])
            nn.init.normal_(module.weight, std=(2.0 / (module.in_channels * taps)) ** 0.5)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def pad_around(images: Tensor, divisor: int) -> tuple[Tensor, int, int]:
    """Repeat the border on all sides until both sides are multiples of the divisor.

    Parameters
    ----------
    images : Tensor, shape (..., H, W)
        With one or two dimensions before the last two.
    divisor : int
        At least 1.

    Returns
    -------
    padded, top, left : Tensor, int, int
        The images and where the original begins in them. The centre stays the centre, to half a pixel.
    """
    height, width = images.shape[-2:]
    tall, wide = -height % divisor, -width % divisor
    if not (tall or wide):
        return images, 0, 0
    top, left = tall // 2, wide // 2
    return F.pad(images, (left, wide - left, top, tall - top), mode="replicate"), top, left


def pad_up_to(images: Tensor, smallest: int) -> Tensor:
    """Repeat the border of images (N, C, H, W) below and right until no side is shorter than this."""
    below, right = (max(smallest - side, 0) for side in images.shape[-2:])
    return F.pad(images, (0, right, 0, below), mode="replicate") if below or right else images


def crop_centre(maps: Tensor, factor: float) -> Tensor:
    """The middle of maps (N, C, H, W), its sides shorter by the factor (at least one pixel)."""
    height, width = (max(round(int(side) / factor), 1) for side in maps.shape[-2:])  # int for torch's recorder
    top, left = (maps.shape[-2] - height) // 2, (maps.shape[-1] - width) // 2
    return maps[..., top : top + height, left : left + width]


def fit(maps: Tensor, like: Tensor) -> Tensor:
    """Maps at the height and width of others: unchanged if they have them, else resampled linearly."""
    if maps.shape[-2:] == like.shape[-2:]:
        return maps
    return F.interpolate(maps, size=like.shape[-2:], mode="bilinear", align_corners=False)


def joined(*maps: Tensor) -> Tensor:
    """Maps side by side in the channels."""
    return torch.cat(maps, dim=1)
