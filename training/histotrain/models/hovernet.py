"""HoVer-Net (Graham et al. 2019): nuclei by their horizontal and vertical offsets; PanNuke's best baseline.

A pre-activated ResNet-50 whose first convolution keeps the resolution and that is not pooled, so its stages have
strides 1, 2, 4 and 8; three decoders with the same layout, for nucleus or not, for the offsets and for the classes:
up-sample, add the encoder's map, a 5x5 convolution, densely connected units, a 1x1 convolution; twice so, then one
convolution.

Decided where it differs from the publication: convolutions in the decoders are padded, so that the maps have the
image's size (published: 80 px of 270 or 164 px of 256); the decoder for the classes gives the C classes, and background
is one of them only if the label scheme has it; the loss is the published sum, cross-entropy and Dice for nucleus and
classes, squared error of the offsets and twice that of their gradients within nuclei, with plain central differences
for gradients.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from histotrain.models.convolutions import initialise, joined
from histotrain.models.nuclei import CLASSES, VALID, NucleusNetwork, dice_loss, mean_over
from histotrain.models.separation import by_offsets
from histotrain.models.targets import offsets

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

UNITS = (3, 4, 6, 3)
WIDTHS = (64, 128, 256, 512)
EXPANSION = 4
GRADIENT_WEIGHT = 2.0


class HoverNet(NucleusNetwork):
    """Maps "classes" (N, C, H, W) and "nucleus" (N, 1, H, W), logits, and "offsets" (N, 2, H, W).

    Parameters
    ----------
    classes : int
        C.
    """

    divisor = 8
    needed = (("nucleus", 1), ("offsets", 2))
    vectors = ("offsets",)

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, WIDTHS[0], 7, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(WIDTHS[0])
        befores = (WIDTHS[0], *(w * EXPANSION for w in WIDTHS[:-1]))
        self.stages = nn.ModuleList(
            Stage(before, width, units, stride=1 if index == 0 else 2)
            for index, (before, width, units) in enumerate(zip(befores, WIDTHS, UNITS, strict=True))
        )
        self.bottom = nn.Conv2d(WIDTHS[-1] * EXPANSION, 1024, 1, bias=False)
        self.decoders = nn.ModuleDict({CLASSES: Decoder(classes), "nucleus": Decoder(1), "offsets": Decoder(2)})
        initialise(self)

    def branches(self, images: Tensor) -> dict[str, Tensor]:
        x = F.relu(self.norm(self.stem(images)), inplace=True)
        features: list[Tensor] = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        features[-1] = self.bottom(x)
        return {name: decoder(features) for name, decoder in self.decoders.items()}

    def branch_targets(
        self, instances: NDArray[np.int32], labels: NDArray[np.integer]
    ) -> dict[str, NDArray[np.generic]]:
        return {"nucleus": (instances > 0).astype("float32"), "offsets": offsets(instances)}

    def branch_loss(self, maps: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        logits, nucleus, valid = maps["nucleus"][:, 0].float(), targets["nucleus"], targets[VALID]
        found = mean_over(F.binary_cross_entropy_with_logits(logits, nucleus, reduction="none"), valid)
        found = found + dice_loss(logits.sigmoid(), nucleus, valid)
        known = targets[CLASSES] != 0
        probabilities = maps[CLASSES].float().softmax(1)
        for channel in range(probabilities.shape[1]):
            truth = (targets[CLASSES] == channel + 1).float()
            found = found + dice_loss(probabilities[:, channel], truth, known) / probabilities.shape[1]
        difference = maps["offsets"].float() - targets["offsets"]
        within = valid * nucleus
        slope = _slope(difference[:, 0], -1).square() + _slope(difference[:, 1], -2).square()
        squares = mean_over(difference.square().mean(1), valid)
        return found + squares + GRADIENT_WEIGHT * mean_over(slope, within)

    def separate(self, maps: Mapping[str, NDArray[np.float32]]) -> NDArray[np.int32]:
        return by_offsets(torch.from_numpy(maps["nucleus"][0]).sigmoid().numpy(), maps["offsets"])


class Stage(nn.Module):
    """Pre-activated bottleneck units of one resolution; the first changes it."""

    def __init__(self, before: int, width: int, units: int, *, stride: int) -> None:
        super().__init__()
        after = width * EXPANSION
        self.shortcut = nn.Conv2d(before, after, 1, stride=stride, bias=False)
        self.units = nn.ModuleList(
            nn.Sequential(
                *([] if index == 0 else _norm(after)),  # the stage's input is activated already
                nn.Conv2d(before if index == 0 else after, width, 1, bias=False),
                *_norm(width),
                nn.Conv2d(width, width, 3, stride=stride if index == 0 else 1, padding=1, bias=False),
                *_norm(width),
                nn.Conv2d(width, after, 1, bias=False),
            )
            for index in range(units)
        )
        self.last = nn.Sequential(*_norm(after))

    def forward(self, x: Tensor) -> Tensor:
        total = self.shortcut(x)
        for index, unit in enumerate(self.units):
            total = total + unit(x if index == 0 else total)
        result: Tensor = self.last(total)
        return result


class Decoder(nn.Module):
    """From the maps of the four stages to one branch's maps."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.third = nn.Sequential(_wide(1024, 256), Dense(256, units=8), nn.Conv2d(512, 512, 1, bias=False))
        self.second = nn.Sequential(_wide(512, 128), Dense(128, units=4), nn.Conv2d(256, 256, 1, bias=False))
        self.first = nn.Sequential(_wide(256, 64), *_norm(64), nn.Conv2d(64, channels, 1))

    def forward(self, features: list[Tensor]) -> Tensor:
        x = self.third(_doubled(features[3]) + features[2])
        x = self.second(_doubled(x) + features[1])
        result: Tensor = self.first(_doubled(x) + features[0])
        return result


class Dense(nn.Module):
    """Units of a 1x1 and a grouped 5x5 convolution that each add 32 channels to all before them."""

    def __init__(self, before: int, *, units: int) -> None:
        super().__init__()
        self.units = nn.ModuleList(
            nn.Sequential(
                *_norm(before + 32 * index),
                nn.Conv2d(before + 32 * index, 128, 1, bias=False),
                *_norm(128),
                nn.Conv2d(128, 32, 5, padding=2, groups=4, bias=False),
            )
            for index in range(units)
        )
        self.last = nn.Sequential(*_norm(before + 32 * units))

    def forward(self, x: Tensor) -> Tensor:
        for unit in self.units:
            x = joined(x, unit(x))
        result: Tensor = self.last(x)
        return result


def _norm(width: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(width), nn.ReLU(inplace=True)]


def _wide(before: int, after: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, 5, padding=2, bias=False)


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


def _slope(maps: Tensor, axis: int) -> Tensor:
    """Central differences of maps (N, H, W) along an axis; 0 at the edges."""
    length = maps.shape[axis]
    inner = (maps.narrow(axis, 2, length - 2) - maps.narrow(axis, 0, length - 2)) / 2
    return F.pad(inner, (1, 1) if axis == -1 else (0, 0, 1, 1))
