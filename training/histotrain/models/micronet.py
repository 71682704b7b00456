"""Micro-Net (Raza et al. 2019), with PanNuke's branch for the classes.

What the publication adds to a U-Net: every level of the encoder sees the image again, reduced, beside the map from
the level above, so weak objects are not lost to pooling; tanh after every convolution; three auxiliary outputs from
the last three levels of the decoder, each with its own loss, whose features together give the main one.

Decided here, because PanNuke gives no sizes: 32 … 512 channels on the five levels, which a CPU can train; batch norm;
padded convolutions, so that the maps have the image's size; nuclei are told apart as in `instance_unet`, by outside,
inside and boundary; the auxiliary losses count a half, a quarter and an eighth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from histotrain.models.convolutions import joined
from histotrain.models.instance_unet import WEIGHTS
from histotrain.models.nuclei import CLASSES, VALID, NucleusNetwork, mean_over
from histotrain.models.separation import by_boundary
from histotrain.models.targets import BOUNDARY, INSIDE, parts

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

LEVELS = (32, 64, 128, 256)
BOTTOM = 512
AUXILIARY = (0.5, 0.25, 0.125)


class MicroNet(NucleusNetwork):
    """Maps "classes" (N, C, H, W), "parts" (N, 3, H, W) and "auxiliary" (N, 9, H, W), thrice "parts"; all logits."""

    divisor = 16
    needed = (("parts", 3),)

    def __init__(self, classes: int) -> None:
        super().__init__()
        befores = (3, *(2 * w for w in LEVELS[:-1]))
        self.down = nn.ModuleList(ResupplyBlock(b, w) for b, w in zip(befores, LEVELS, strict=True))
        self.bottom = nn.Sequential(*_conv(2 * LEVELS[-1], BOTTOM), *_conv(BOTTOM, BOTTOM))
        inputs = (BOTTOM, *reversed(LEVELS[1:]))
        self.up = nn.ModuleList(JoiningBlock(b, 2 * w, w) for b, w in zip(inputs, reversed(LEVELS), strict=True))
        self.sides = nn.ModuleList(nn.Sequential(*_conv(w, LEVELS[0])) for w in LEVELS[:3])
        self.auxiliary = nn.ModuleList(nn.Conv2d(LEVELS[0], 3, 3, padding=1) for _ in LEVELS[:3])
        together = 3 * LEVELS[0]
        self.heads = nn.ModuleDict({CLASSES: _head(together, classes), "parts": _head(together, 3)})

    def branches(self, images: Tensor) -> dict[str, Tensor]:
        size = images.shape[-2:]
        x, skips = images, []
        for index, block in enumerate(self.down):
            full = block(x, F.avg_pool2d(images, 2**index) if index else images)
            skips.append(full)
            x = F.max_pool2d(full, 2)
        x = self.bottom(x)
        levels: list[Tensor] = []
        for block in self.up:
            x = block(x, skips.pop())
            levels.insert(0, x)
        sides = [
            F.interpolate(side(level), size=size, mode="nearest")
            for side, level in zip(self.sides, levels[:3], strict=True)
        ]
        outputs = [output(side) for output, side in zip(self.auxiliary, sides, strict=True)]
        features = joined(*sides)
        return {name: head(features) for name, head in self.heads.items()} | {"auxiliary": joined(*outputs)}

    def branch_targets(
        self, instances: NDArray[np.int32], labels: NDArray[np.integer]
    ) -> dict[str, NDArray[np.generic]]:
        return {"parts": parts(instances)}

    def branch_loss(self, maps: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        weight = torch.tensor(WEIGHTS, device=maps["parts"].device)
        total = torch.zeros((), device=maps["parts"].device)
        outputs = (maps["parts"], *maps["auxiliary"].split(3, dim=1))
        for share, logits in zip((1.0, *AUXILIARY), outputs, strict=True):
            entropy = F.cross_entropy(logits.float(), targets["parts"], weight, reduction="none")
            total = total + share * mean_over(entropy, targets[VALID])
        return total

    def separate(self, maps: Mapping[str, NDArray[np.float32]]) -> NDArray[np.int32]:
        probabilities = torch.from_numpy(maps["parts"]).softmax(0).numpy()
        return by_boundary(probabilities[INSIDE], probabilities[BOUNDARY])


class ResupplyBlock(nn.Module):
    """Two convolutions of the map from above, beside two of the reduced image."""

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.main = nn.Sequential(*_conv(before, width), *_conv(width, width))
        self.image = nn.Sequential(*_conv(3, width), *_conv(width, width))

    def forward(self, x: Tensor, image: Tensor) -> Tensor:
        return joined(self.main(x), self.image(image))


class JoiningBlock(nn.Module):
    """Doubles the map from below, beside the encoder's map of that size."""

    def __init__(self, before: int, skip: int, width: int) -> None:
        super().__init__()
        self.up = nn.Sequential(nn.ConvTranspose2d(before, width, 2, stride=2), nn.Tanh(), *_conv(width, width))
        self.join = nn.Sequential(*_conv(width + skip, width))

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        result: Tensor = self.join(joined(self.up(x), skip))
        return result


def _conv(before: int, after: int) -> list[nn.Module]:
    return [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.Tanh()]


def _head(before: int, channels: int) -> nn.Module:
    return nn.Sequential(*_conv(before, 2 * LEVELS[0]), nn.Conv2d(2 * LEVELS[0], channels, 1))
