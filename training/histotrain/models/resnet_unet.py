"""U-Net over a ResNet-18 or -34 encoder, or over a ResNet-18 of half its width.

The structure, the parameter names and the first weights' distribution are those of ``smp.Unet("resnet18")``, so
weights go both ways. It is written out here because importing segmentation-models-pytorch (torchvision, timm, and
through them sympy) takes 3 to 5 s on a cold worker, half of the time in which a first preview has to be on the
screen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Sequence

LAYOUTS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet18-half": (2, 2, 2, 2)}
"""Residual blocks in each of the four stages."""

STEMS = {"resnet18-half": 32}
"""Channels of the first convolution, where they are not 64; those of all other layers follow from them."""

DECODER_WIDTHS = (256, 128, 64, 32, 16)
"""Of the decoder over a stem of 64 channels."""


NARROWEST = 16
"""Fewest channels of a decoder's block: the last ones are all that the classes are told apart by."""


def encoder_widths(stem: int) -> tuple[int, ...]:
    """Channels of the four stages over a first convolution of ``stem`` channels."""
    return (stem, 2 * stem, 4 * stem, 8 * stem)


def decoder_widths(stem: int) -> tuple[int, ...]:
    """Channels of the five blocks of the decoder over such an encoder."""
    return tuple(max(NARROWEST, width * stem // 64) for width in DECODER_WIDTHS)


class ResNetUnet(nn.Module):
    """Encoder with five halvings, decoder with five doublings and skip connections.

    Parameters
    ----------
    layout : sequence of int
        Residual blocks in each of the four stages.
    classes : int
        Output channels.
    stem : int
        Channels of the first convolution.
    """

    def __init__(self, layout: Sequence[int], classes: int, stem: int = 64) -> None:
        super().__init__()
        self.encoder = ResNetEncoder(layout, stem)
        self.decoder = UnetDecoder(stem)
        self.segmentation_head = nn.Sequential(nn.Conv2d(decoder_widths(stem)[-1], classes, 3, padding=1))
        initialise_unet(self.encoder, self.decoder, self.segmentation_head)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.segmentation_head(self.decoder(self.encoder(images)))
        return logits


class ResNetEncoder(nn.Module):
    """Feature maps at 1/2, 1/4 … 1/32 of the input; fewer if the layout has fewer than four stages."""

    def __init__(self, layout: Sequence[int], stem: int = 64) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, stem, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        before = stem
        self.stages = len(layout)
        for stage, (width, blocks) in enumerate(zip(encoder_widths(stem), layout, strict=False), 1):
            stride = 1 if stage == 1 else 2
            layers = [BasicBlock(before, width, stride), *(BasicBlock(width, width, 1) for _ in range(blocks - 1))]
            self.add_module(f"layer{stage}", nn.Sequential(*layers))
            before = width

    def forward(self, images: Tensor) -> list[Tensor]:
        features = [F.relu(self.bn1(self.conv1(images)), inplace=True)]
        x = self.maxpool(features[0])
        for stage in range(1, self.stages + 1):
            x = self.get_submodule(f"layer{stage}")(x)
            features.append(x)
        return features


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and an identity around them."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample: nn.Module | None = None
        if stride != 1 or before != width:
            self.downsample = nn.Sequential(
                nn.Conv2d(before, width, 1, stride=stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = self.bn2(self.conv2(x))
        x += identity
        return F.relu(x, inplace=True)


class UnetDecoder(nn.Module):
    """Doubles five times; joins the encoder's map of the same size before each pair of convolutions but the last."""

    def __init__(self, stem: int = 64) -> None:
        super().__init__()
        encoded, widths = encoder_widths(stem), decoder_widths(stem)
        skips = (*reversed(encoded[:-1]), stem, 0)
        before = (encoded[-1], *widths[:-1])
        self.blocks = nn.ModuleList(DecoderBlock(b + s, w) for b, s, w in zip(before, skips, widths, strict=True))

    def forward(self, features: list[Tensor]) -> Tensor:
        x, *skips = reversed(features)
        for block, skip in zip(self.blocks, (*skips, None), strict=True):
            x = F.interpolate(x, scale_factor=2, mode="nearest")
            if skip is not None:
                x = torch.cat([x, skip], dim=1)
            x = block(x)
        return x


class DecoderBlock(nn.Module):
    """Two 3x3 convolutions, each with batch norm and ReLU."""

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.conv1 = _conv_norm(before, width)
        self.conv2 = _conv_norm(width, width)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.conv2(self.conv1(x))
        return result


def _conv_norm(before: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
    )


def initialise_encoder(encoder: nn.Module) -> None:
    """First weights of a ResNet's convolutions, as in torchvision."""
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def initialise_unet(encoder: nn.Module, decoder: nn.Module, heads: nn.Module) -> None:
    """First weights of encoder, decoder and last convolutions, as in segmentation-models-pytorch."""
    initialise_encoder(encoder)
    for module in decoder.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_uniform_(module.weight, mode="fan_in", nonlinearity="relu")
    for name, parameter in heads.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        else:
            nn.init.xavier_uniform_(parameter)
