"""Let a network that halves its input several times take images of any size."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class AnySize(nn.Module):
    """Pads to a multiple of ``divisor`` by repeating the border, runs the network and crops.

    Parameters
    ----------
    net : nn.Module
        Float (N, 3, H, W) to (N, C, H, W) for H and W that are multiples of the divisor.
    divisor : int
        Usually 2 to the number of halvings.
    """

    def __init__(self, net: nn.Module, *, divisor: int) -> None:
        super().__init__()
        self.net = net
        self.divisor = divisor

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        below, right = -height % self.divisor, -width % self.divisor
        if below or right:
            images = F.pad(images, (0, right, 0, below), mode="replicate")
        logits: Tensor = self.net(images)
        return logits[..., :height, :width] if below or right else logits
