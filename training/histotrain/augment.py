"""Variation of training patches, batched, on the training device.

Colour is varied in optical density, where stains add up: the amounts of haematoxylin and eosin are scaled apart from
each other, the exponent (gamma) scales both and brightness is an offset. All of that is one 3x3 matrix and one offset
per patch, so it costs a logarithm, a product and an exponential per pixel, with contrast and the network's
normalisation folded into what follows.

The lower magnifications of a patch get the same colours and the same movement about the common centre as the patch;
see `histotrain.geometry`. A blur is one of the scan, so it is reduced with the magnification.

All chance is drawn beforehand from a numpy generator, so a batch is varied in the same way on every device.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from histotrain.batches import Batch, Inputs, Known
from histotrain.chance import Chance
from histotrain.geometry import turned, warped
from histotrain.pixels import MEAN, STD, normalised

if TYPE_CHECKING:
    from histotrain.recipes import AugmentSettings

STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
"""Optical densities (rows: haematoxylin, eosin, residual; columns: RGB) of Ruifrok and Johnston (2001)."""

UNSTAIN = np.linalg.inv(STAINS)

NARROWEST = 0.3
"""Standard deviation of the smallest blur, pixels."""


def varied(
    batch: Batch, settings: AugmentSettings, chance: Chance, magnifications: tuple[float, ...] = (1.0,)
) -> Inputs:
    """Varied patches, ready for the network.

    Parameters
    ----------
    batch : Batch
        As drawn.
    settings : AugmentSettings
        What to vary, and how far.
    chance : Chance
        Source of all chance, for as many patches.
    magnifications : tuple of float
        Sizes of a pixel in the patch (1) and in each of its contexts.

    Returns
    -------
    Inputs
        What is known of pixels has moved with them, and is 0 where they come from outside the patch.
    """
    if settings.dihedral:
        batch = turned(batch, chance)
    colours = Colours.drawn(len(batch), settings, chance)
    target = colours.intensity(batch.images)
    middle = target[:, ::7].mean(1, keepdim=True)  # every seventh pixel says enough
    size = batch.images.shape[1:3]
    pixels = [colours.normalised(target, middle, size)]
    if batch.contexts is not None:
        lower = map(colours.intensity, batch.contexts.unbind(1))
        pixels += [colours.normalised(intensity, middle, size) for intensity in lower]
    known = batch.known
    if settings.affine > 0 or settings.elastic > 0:
        pixels, known = warped(pixels, known, settings, chance, magnifications)
    if settings.blur > 0:
        pixels = blurred(pixels, settings, chance, magnifications)
    return Inputs(pixels[0] if len(pixels) == 1 else torch.stack(pixels, 1), known)


def unvaried(batch: Batch) -> Inputs:
    """Patches as they are, normalised."""
    pixels = normalised(batch.images)
    if batch.contexts is not None:
        pixels = torch.stack([pixels, *(normalised(images) for images in batch.contexts.unbind(1))], 1)
    return Inputs(pixels, batch.known)


def augmented(
    images: Tensor, labels: Tensor, settings: AugmentSettings, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """`varied` for images uint8 (N, H, W, 3) and labels uint8 (N, H, W): pixels (N, 3, H, W), channels last in memory,
    and labels (N, H, W)."""
    inputs = varied(Batch(images, Known(labels=labels)), settings, Chance.of(rng, len(images)))
    moved = inputs.known.labels
    assert moved is not None
    return inputs.pixels, moved


@dataclass(frozen=True, slots=True)
class Colours:
    """Drawn changes of colour of N patches.

    ``mixing`` (N, 3, 3) and ``offset`` (N, 1, 1) apply to log intensity, ``contrast`` (N,) to intensity.
    """

    mixing: np.ndarray
    offset: np.ndarray
    contrast: np.ndarray

    @classmethod
    def drawn(cls, count: int, settings: AugmentSettings, chance: Chance) -> Colours:
        """Colours of as many patches as the chance is for."""
        draws = chance.uniform(-1, 1, 6)
        assert len(draws) == count
        amounts = 1 + settings.stain * draws[:, :3]
        amounts *= (1 + settings.gamma) ** draws[:, 3:4]
        mixing = np.einsum("ij,nj,jk->nik", UNSTAIN, amounts, STAINS)
        return cls(mixing, settings.brightness * draws[:, 4, None, None], (1 + settings.contrast) ** draws[:, 5])

    def intensity(self, images: Tensor) -> Tensor:
        """Changed intensity (N, H·W, 3), 0 … 1, of images uint8 (N, H, W, 3)."""
        density = torch.log(images.flatten(1, 2).float().add_(1.0).mul_(1 / 256))
        density = torch.baddbmm(_on(images, self.offset), density, _on(images, self.mixing))
        intensity: Tensor = density.exp_().clamp_(max=1.0)
        return intensity

    def normalised(self, intensity: Tensor, middle: Tensor, size: torch.Size) -> Tensor:
        """Contrast changed about a colour (N, 1, 3), and normalised: float32 (N, 3, H, W), channels last in memory."""
        contrast = self.contrast[:, None, None] / np.array(STD)
        shift = middle * _on(intensity, 1 / np.array(STD) - contrast) - _on(intensity, np.array(MEAN) / np.array(STD))
        pixels = torch.addcmul(shift, intensity, _on(intensity, contrast))
        return pixels.reshape(-1, *size, 3).permute(0, 3, 1, 2)


def _on(like: Tensor, values: np.ndarray) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float32, device=like.device)


def blurred(
    pixels: list[Tensor], settings: AugmentSettings, chance: Chance, magnifications: tuple[float, ...] = (1.0,)
) -> list[Tensor]:
    """Some patches smoothed by a Gaussian, in each magnification (N, 3, H, W) by as many µm."""
    draws = chance.random(2)
    chosen = np.flatnonzero(draws[:, 0] < settings.blur)
    if not len(chosen):
        return pixels
    sigmas = np.maximum(NARROWEST, draws[:, 1] * settings.blur_sigma)
    return [_smoothed(p, chosen, sigmas / f) for p, f in zip(pixels, magnifications, strict=False)]


def _smoothed(pixels: Tensor, chosen: np.ndarray, sigmas: np.ndarray) -> Tensor:
    pixels = pixels.clone(memory_format=torch.preserve_format)
    for i in chosen:
        if sigmas[i] < NARROWEST:
            continue
        kernel = _gaussian(sigmas[i]).to(pixels.device)
        pad = len(kernel) // 2
        patch = F.pad(pixels[i : i + 1], (pad, pad, pad, pad), mode="replicate")
        rows = F.conv2d(patch, kernel.view(1, 1, -1, 1).expand(3, 1, -1, 1), groups=3)
        pixels[i] = F.conv2d(rows, kernel.view(1, 1, 1, -1).expand(3, 1, 1, -1), groups=3)[0]
    return pixels


def _gaussian(sigma: float) -> Tensor:
    radius = int(np.ceil(2.5 * sigma))
    offsets = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 * (offsets / sigma) ** 2)
    return torch.tensor(kernel / kernel.sum(), dtype=torch.float32)
