"""The U-Net of Bokhorst et al. (2019), "Learning from sparsely annotated data for semantic segmentation in
histopathology images", section 3 "Training" and figure 2b.

Five levels with 32, 64 … 512 filters; the input of each block is concatenated with its last feature map; up-sampling
and a convolution in place of transposed convolutions; first weights of He et al. (2015).

Decided where the paper is silent: two 3x3 convolutions with bias and ReLU per block and no batch norm, as in the U-Net
it follows; padding, so that the output has the input's size; nearest up-sampling and a 3x3 convolution that halves the
filters; what goes down and across is the concatenated map; a 1x1 convolution gives the classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional as F

from histotrain.models.anysize import AnySize
from histotrain.models.convolutions import ConvBlock, initialise, joined

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTHS = (32, 64, 128, 256, 512)


def build_bokhorst(classes: int) -> nn.Module:
    """Network for images of any size: float (N, 3, H, W) in, logits (N, C, H, W) out."""
    return AnySize(BokhorstUnet(classes), divisor=2 ** (len(WIDTHS) - 1))


class BokhorstUnet(nn.Module):
    """Figure 2b.

    Parameters
    ----------
    classes : int
        Output channels.
    widths : sequence of int
        Filters at each level; H and W of the input must be multiples of 2 to the number of levels less one.
    """

    def __init__(self, classes: int, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        self.down, self.grow, self.up = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        channels, skips = 3, []
        for width in widths:
            self.down.append(KeepingBlock(channels, width))
            channels += width
            skips.append(channels)
        for width, skip in zip(reversed(widths[:-1]), reversed(skips[:-1]), strict=True):
            self.grow.append(ConvBlock(channels, width))
            self.up.append(KeepingBlock(width + skip, width))
            channels = 2 * width + skip
        self.final = nn.Conv2d(channels, classes, 1)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        skips: list[Tensor] = []
        for block in self.down:
            x = block(F.max_pool2d(x, 2) if skips else x)
            skips.append(x)
        skips.pop()
        for convolution, block in zip(self.grow, self.up, strict=True):
            x = convolution(F.interpolate(x, scale_factor=2, mode="nearest"))
            x = block(joined(x, skips.pop()))
        logits: Tensor = self.final(x)
        return logits


class KeepingBlock(nn.Module):
    """Two convolutions, with what went in kept beside what came out."""

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.block = ConvBlock(before, width, width)

    def forward(self, x: Tensor) -> Tensor:
        return joined(x, self.block(x))
