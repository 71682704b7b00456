"""Deep multi-magnification networks: Ho et al. (2021), "Deep Multi-Magnification Networks for Multi-Class Breast Cancer
Image Segmentation", section 2.4, figure 4 and table 2.

A target patch is segmented from several patches of the same size and the same centre, each at a lower magnification
than the one before. Six networks of the paper: ``SegNet`` and ``UNet`` see the target alone, ``UNet`` with more
input channels is DMMN-S2, ``MultiEncoder`` is DMMN-MS, ``SingleConcatenation`` DMMN-M2S and ``MultiConcatenation`` the
proposed DMMN-M3. With 7 output channels and magnifications 20x, 10x and 5x their numbers of parameters are those of
table 2.

Decided where the paper is silent: transposed convolutions have 3x3 kernels and a stride of 2, and there is no batch
norm (the parameters then agree); the first weights are those of He et al. (2015), since a network this deep without
batch norm hardly learns from smaller ones; a low magnification is cropped before it is magnified, as the networks
do that the paper took MS and M2S from. The paper's seventh channel stood for unlabelled pixels; here every channel is
a class.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from histotrain.errors import TrainingError
from histotrain.models.convolutions import ConvBlock, Final, UpConv, crop_centre, fit, initialise, joined, pad_around
from histotrain.models.magnifications import PAPER
from histotrain.models.views import views_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FULL = (64, 128, 256, 512, 1024)
"""Channels at each level of the U-Net of Ronneberger et al. (2015)."""

HALF = (32, 64, 128, 256, 512)
"""Those of the networks with one encoder per magnification (section 3: "reduced by a factor of 2")."""

LEVELS = len(FULL)


def build_dmmn(kind: str, classes: int, magnifications: Sequence[float] = PAPER, width: int = FULL[0]) -> nn.Module:
    """One of the six networks.

    Parameters
    ----------
    kind : str
        "segnet", "unet", "s2", "ms", "m2s" or "m3".
    classes : int
        Number of output channels C.
    magnifications : sequence of float
        How many times larger than in the target patch a pixel of each patch is, the target's 1 first: (1, 2, 4) for
        20x, 10x and 5x. "segnet" and "unet" always see the target alone.
    width : int
        Channels of the U-Net's first level, 64 in the paper; even. All others are in the paper's proportion to it.

    Returns
    -------
    nn.Module
        See `MultiMagnification` for what it takes and gives.
    """
    factors = tuple(float(f) for f in magnifications)
    full = tuple(width * 2**level for level in range(LEVELS))
    half = tuple(w // 2 for w in full)
    net: nn.Module
    if kind in ("segnet", "unet"):
        net, factors, divisor = (SegNet if kind == "segnet" else UNet)(3, classes, full), (1.0,), 16
    elif kind == "s2":
        net, divisor = UNet(3 * len(factors), classes, full), 16
    elif kind == "ms":
        net, divisor = MultiEncoder(factors, classes, half), 16 * min(2 ** max(map(_doublings, factors)), 4)
    elif kind == "m2s":
        net, divisor = SingleConcatenation(factors, classes, half), 16
    elif kind == "m3":
        net, divisor = MultiConcatenation(factors, classes, half), 16
    else:
        raise TrainingError(f"there is no network dmmn-{kind}", hint="Try dmmn-m3.")
    initialise(net)
    return MultiMagnification(net, factors, divisor=divisor)


class MultiMagnification(nn.Module):
    """Brings patches into the shape in which the networks below take them.

    Called with one of

    - a sequence of M float tensors (N, 3, H, W), or one tensor (N, M, 3, H, W): the concentric patches, target first;
    - one tensor (N, 3, H, W): the target alone. The lower magnifications are then made of it, with zeros where they
      reach beyond (the mean colour, once images are normalised). So previews and ordinary patches work, with less
      context.

    Any H and W. The result is float logits (N, C, H, W) for the target.
    """

    def __init__(self, net: nn.Module, magnifications: tuple[float, ...], *, divisor: int) -> None:
        super().__init__()
        self.net = net
        self.magnifications = magnifications
        self.divisor = divisor

    def forward(self, patches: Tensor | Sequence[Tensor]) -> Tensor:
        views = self._views(patches)
        height, width = views.shape[-2:]
        padded, top, left = pad_around(views.flatten(1, 2), self.divisor)
        logits: Tensor = self.net(padded)
        return logits[..., top : top + height, left : left + width]

    def _views(self, patches: Tensor | Sequence[Tensor]) -> Tensor:
        if not isinstance(patches, Tensor):
            patches = torch.stack(list(patches), dim=1)
        if patches.ndim == 4:
            patches = views_of(patches, self.magnifications)
        if patches.shape[1] != len(self.magnifications):
            raise TrainingError(
                f"the network takes {len(self.magnifications)} magnifications",
                f"it was given {patches.shape[1]}",
                "Sample the patches at the magnifications of the recipe's network.",
            )
        return patches


class UNet(nn.Module):
    """Figure 4 (a); with the patches of all magnifications as its input channels, figure 4 (b).

    Parameters
    ----------
    channels : int
        Of the input (N, channels, H, W); H and W are multiples of 16.
    classes : int
        Of the output.
    widths : sequence of int
        Channels at each level.
    """

    def __init__(self, channels: int, classes: int, widths: Sequence[int] = FULL) -> None:
        super().__init__()
        self.encoder = Encoder(channels, widths)
        self.decoder = Decoder(widths, widths[:0:-1])
        self.final = Final(widths[0], widths[0], classes)

    def forward(self, images: Tensor) -> Tensor:
        features = self.encoder(images)
        x = features[-1]
        for stage, skip in enumerate(reversed(features[:-1])):
            x = self.decoder(stage, x, skip)
        logits: Tensor = self.final(x)
        return logits


class Encoder(nn.Module):
    """Feature maps at each level, halved by max-pooling between them."""

    def __init__(self, channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        befores = (channels, *widths[:-1])
        self.blocks = nn.ModuleList(ConvBlock(b, w, w) for b, w in zip(befores, widths, strict=True))
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> list[Tensor]:
        features: list[Tensor] = []
        for block in self.blocks:
            x = block(self.pool(x) if features else x)
            features.append(x)
        return features


class Decoder(nn.Module):
    """The way back up, one stage at a time: transposed convolution, the encoder's map beside it, a block.

    Parameters
    ----------
    widths : sequence of int
        Channels of the encoder's levels.
    inputs : sequence of int
        Channels that go into each stage's transposed convolution, the deepest first.
    """

    def __init__(self, widths: Sequence[int], inputs: Iterable[int]) -> None:
        super().__init__()
        outputs = tuple(reversed(widths[:-1]))
        self.ups = nn.ModuleList(UpConv(b, w) for b, w in zip(inputs, outputs, strict=True))
        self.blocks = nn.ModuleList(ConvBlock(2 * w, w, w) for w in outputs)

    def forward(self, stage: int, x: Tensor, skip: Tensor) -> Tensor:
        result: Tensor = self.blocks[stage](joined(self.ups[stage](x), skip))
        return result


class SegNet(nn.Module):
    """The paper's SegNet: levels and channels of the U-Net, unpooling with the encoder's indices instead of skips.

    Section 3: "The number of convolutional layers, the number of downsampling and upsampling layers, and the number of
    channels are kept the same" as in the U-Net.
    """

    def __init__(self, channels: int, classes: int, widths: Sequence[int] = FULL) -> None:
        super().__init__()
        upper, deepest = widths[:-1], widths[-1]
        befores = (channels, *upper[:-1])
        self.encoder = nn.ModuleList(ConvBlock(b, w, w) for b, w in zip(befores, upper, strict=True))
        self.pool = nn.MaxPool2d(2, return_indices=True)
        self.bottom = ConvBlock(upper[-1], deepest, upper[-1])
        afters = (*reversed(upper[:-1]), upper[0])
        self.decoder = nn.ModuleList(ConvBlock(w, w, a) for w, a in zip(reversed(upper), afters, strict=True))
        self.final = Final(upper[0], upper[0], classes)

    def forward(self, x: Tensor) -> Tensor:
        places: list[tuple[Tensor, Tensor]] = []
        for block in self.encoder:
            full = block(x)
            x, indices = self.pool(full)
            places.append((full, indices))
        x = self.bottom(x)
        for block in self.decoder:
            x = block(_unpool(x, *places.pop()))
        logits: Tensor = self.final(x)
        return logits


def _unpool(x: Tensor, like: Tensor, indices: Tensor) -> Tensor:
    """Each value where the maximum was, zeros elsewhere; by scatter, which can be exported, unlike max_unpool2d."""
    empty = torch.zeros_like(like, dtype=x.dtype).flatten(2)
    return empty.scatter(2, indices.flatten(2), x.flatten(2)).view(like.shape)


class _PerMagnification(nn.Module):
    """One encoder of half the U-Net's width for each magnification."""

    def __init__(self, magnifications: Sequence[float], widths: Sequence[int]) -> None:
        super().__init__()
        self.factors = tuple(magnifications)
        self.encoders = nn.ModuleList(Encoder(3, widths) for _ in magnifications)

    def encode(self, views: Tensor) -> list[list[Tensor]]:
        """Features of each magnification from views (N, 3 M, H, W)."""
        return [encoder(view) for encoder, view in zip(self.encoders, views.split(3, dim=1), strict=True)]


class MultiEncoder(_PerMagnification):
    """DMMN-MS, figure 4 (c): the encoders' maps of every level join the one decoder, of the target.

    With H and W multiples of 64 the paper's magnifications are cropped exactly.
    """

    def __init__(self, magnifications: Sequence[float], classes: int, widths: Sequence[int] = HALF) -> None:
        super().__init__(magnifications, widths)
        count = len(self.factors)
        self.magnifiers = nn.ModuleList(LevelMagnifier(widths, f) for f in self.factors[1:])
        self.decoder = Decoder(widths, [count * w for w in widths[:0:-1]])
        self.final = Final(count * widths[0], widths[0], classes)

    def forward(self, views: Tensor) -> Tensor:
        target, *others = self.encode(views)
        contexts = [magnify(maps, target) for magnify, maps in zip(self.magnifiers, others, strict=True)]
        x = joined(target[-1], *(levels[-1] for levels in contexts))
        for stage, level in enumerate(range(LEVELS - 2, -1, -1)):
            x = joined(self.decoder(stage, x, target[level]), *(levels[level] for levels in contexts))
        logits: Tensor = self.final(x)
        return logits


class SingleConcatenation(_PerMagnification):
    """DMMN-M2S, figure 4 (d): whole encoder-decoder pairs that meet before the final convolutions."""

    def __init__(self, magnifications: Sequence[float], classes: int, widths: Sequence[int] = HALF) -> None:
        super().__init__(magnifications, widths)
        self.decoders = nn.ModuleList(Decoder(widths, widths[:0:-1]) for _ in self.factors)
        self.magnifiers = nn.ModuleList(Magnifier(widths[0], f) for f in self.factors[1:])
        self.final = Final(len(self.factors) * widths[0], widths[0], classes)

    def forward(self, views: Tensor) -> Tensor:
        last: list[Tensor] = []
        for decoder, features in zip(self.decoders, self.encode(views), strict=True):
            x = features[-1]
            for stage, skip in enumerate(reversed(features[:-1])):
                x = decoder(stage, x, skip)
            last.append(x)
        target, *others = last
        contexts = [magnify(maps, target) for magnify, maps in zip(self.magnifiers, others, strict=True)]
        logits: Tensor = self.final(joined(target, *contexts))
        return logits


class MultiConcatenation(_PerMagnification):
    """DMMN-M3, figure 4 (e): the decoders' maps meet before each transposed convolution of the target's decoder.

    A map of a lower magnification comes from as many levels further up as its magnification is halved; cropped to the
    target's field it has the size of the target's map, so nothing is magnified and no context is cut off before
    the lower decoders have used it. Beyond 16 times the finest map is what there is; it is resampled.
    """

    def __init__(self, magnifications: Sequence[float], classes: int, widths: Sequence[int] = HALF) -> None:
        super().__init__(magnifications, widths)
        self.lower = nn.ModuleList(Decoder(widths, widths[:0:-1]) for _ in self.factors[1:])
        inputs = [
            widths[level] + sum(widths[level - d] for d in map(_levels_up, self.factors[1:]) if d <= level)
            for level in range(LEVELS - 1, 0, -1)
        ]
        surplus = widths[0] * sum(_levels_up(f) == 0 for f in self.factors[1:])
        self.decoder = Decoder(widths, inputs)
        self.final = Final(widths[0] + surplus, widths[0], classes)

    def forward(self, views: Tensor) -> Tensor:
        target, *others = self.encode(views)
        ladders = [_decoded(d, features) for d, features in zip(self.lower, others, strict=True)]
        x = target[-1]
        for stage, level in enumerate(range(LEVELS - 1, 0, -1)):
            x = self.decoder(stage, joined(x, *self._contexts(ladders, level, x)), target[level - 1])
        logits: Tensor = self.final(joined(x, *self._contexts(ladders, 0, x)))
        return logits

    def _contexts(self, ladders: list[list[Tensor]], level: int, like: Tensor) -> list[Tensor]:
        found: list[Tensor] = []
        for factor, maps in zip(self.factors[1:], ladders, strict=True):
            above = level - _levels_up(factor)
            if above >= 0:
                found.append(fit(crop_centre(maps[above], factor), like))
        return found


def _decoded(decoder: nn.Module, features: list[Tensor]) -> list[Tensor]:
    """The decoder's maps by level, the finest first; the deepest level has the encoder's."""
    maps = [features[-1]]
    for stage, skip in enumerate(reversed(features[:-1])):
        maps.insert(0, decoder(stage, maps[0], skip))
    return maps


class Magnifier(nn.Module):
    """CONV_TR_u: the middle of a map of low magnification, doubled until it is as large as the target's map."""

    def __init__(self, width: int, factor: float) -> None:
        super().__init__()
        self.factor = factor
        self.ups = nn.Sequential(*(UpConv(width, width) for _ in range(_doublings(factor))))

    def forward(self, maps: Tensor, like: Tensor) -> Tensor:
        return fit(self.ups(crop_centre(maps, self.factor)), like)


class LevelMagnifier(nn.Module):
    """A `Magnifier` for each level of an encoder."""

    def __init__(self, widths: Sequence[int], factor: float) -> None:
        super().__init__()
        self.levels = nn.ModuleList(Magnifier(width, factor) for width in widths)

    def forward(self, features: list[Tensor], likes: list[Tensor]) -> list[Tensor]:
        return [magnify(maps, like) for magnify, maps, like in zip(self.levels, features, likes, strict=True)]


def _doublings(factor: float) -> int:
    """2 for a factor of 4, and for 3; a rest that is no doubling is made up by resampling."""
    return round(math.log2(factor))


def _levels_up(factor: float) -> int:
    return min(_doublings(factor), LEVELS - 1)
