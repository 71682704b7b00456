"""A click-conditioned network in the manner of NuClick (Jahanifar et al. 2019), which made PanNuke's masks.

It sees the image, an inclusion map with the click and an exclusion map with all other clicks, and segments the object
under the click. Residual blocks, multi-scale blocks of dilated convolutions at two depths, an encoder and a decoder
joined by skips, as published.

Decided here, because PanNuke gives no sizes: 24 … 192 channels on four levels, 1.5 million parameters, for a mask in
tens of milliseconds on a CPU; clicks are discs of 2 px (`histotrain.models.targets.clicks`); with the image alone the
click is taken to be in its centre, which makes the network usable wherever others are. With one class its logit is the
mask's; with more, each channel is a class.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from histotrain.errors import TrainingError
from histotrain.models.convolutions import joined, pad_around

WIDTHS = (24, 48, 96, 192)
CLICK_RADIUS = 2.0


class NuClick(nn.Module):
    """Float images (N, 3, H, W), or images with both click maps (N, 5, H, W), in; logits (N, C, H, W) out.

    Parameters
    ----------
    classes : int
        C.
    widths : (int, int, int, int)
        Channels on each level; multiples of 4.
    """

    def __init__(self, classes: int, widths: tuple[int, int, int, int] = WIDTHS) -> None:
        super().__init__()
        befores = (5, *widths[:-1])
        self.down = nn.ModuleList(ResidualBlock(b, w) for b, w in zip(befores, widths, strict=True))
        self.context = nn.ModuleList([MultiScaleBlock(widths[1]), MultiScaleBlock(widths[3])])
        narrowing = zip(reversed(widths[1:]), reversed(widths[:-1]), strict=True)
        self.grow = nn.ModuleList(nn.ConvTranspose2d(wide, narrow, 2, stride=2) for wide, narrow in narrowing)
        self.up = nn.ModuleList(ResidualBlock(2 * w, w) for w in reversed(widths[:-1]))
        self.final = nn.Conv2d(widths[0], classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        if images.shape[1] == 3:
            images = joined(images, _centre_click(images))
        if images.shape[1] != 5:
            raise TrainingError(
                "the network takes images with an inclusion and an exclusion map", f"it got {images.shape[1]} channels"
            )
        x, top, left = pad_around(images, 2 ** (len(WIDTHS) - 1))
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if skips else x)
            if level in (1, 3):
                x = self.context[level // 2](x)
            skips.append(x)
        skips.pop()
        for grow, block in zip(self.grow, self.up, strict=True):
            x = block(joined(grow(x), skips.pop()))
        logits: Tensor = self.final(x)
        return logits[..., top : top + height, left : left + width]


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a 1x1 around them."""

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(before, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.shortcut = nn.Conv2d(before, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.convolutions(x) + self.shortcut(x), inplace=True)


class MultiScaleBlock(nn.Module):
    """Four 3x3 convolutions with dilations 1, 3, 6 and 9 side by side, a quarter of the channels each."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scales = nn.ModuleList(
            nn.Conv2d(width, width // 4, 3, padding=d, dilation=d, bias=False) for d in (1, 3, 6, 9)
        )
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(joined(*(scale(x) for scale in self.scales))), inplace=True)


def _centre_click(images: Tensor) -> Tensor:
    """Maps (N, 2, H, W): a disc in the middle, and nothing."""
    height, width = images.shape[-2:]
    rows = torch.arange(height, device=images.device) - (height - 1) / 2
    columns = torch.arange(width, device=images.device) - (width - 1) / 2
    disc = (rows[:, None].square() + columns.square() <= CLICK_RADIUS**2).to(images.dtype)
    inclusion = disc.expand(images.shape[0], 1, height, width)
    return joined(inclusion, torch.zeros_like(inclusion))
