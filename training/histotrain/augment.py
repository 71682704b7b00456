"""Variation of training patches, batched, on the training device.

Colour is varied in optical density, where stains add up: the amounts of haematoxylin and eosin are scaled apart from
each other, the exponent (gamma) scales both and brightness is an offset. All of that is one 3x3 matrix and one offset
per patch, so it costs a logarithm, a product and an exponential per pixel, with contrast and the network's
normalisation folded into what follows.

All chance is drawn beforehand from a numpy generator, so a batch is varied in the same way on every device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from histotrain.pixels import MEAN, STD

if TYPE_CHECKING:
    from histotrain.recipes import AugmentSettings

STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
"""Optical densities (rows: haematoxylin, eosin, residual; columns: RGB) of Ruifrok and Johnston (2001)."""

UNSTAIN = np.linalg.inv(STAINS)


def augmented(
    images: Tensor, labels: Tensor, settings: AugmentSettings, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Varied patches, ready for the network.

    Parameters
    ----------
    images : Tensor, uint8, shape (N, H, W, 3)
        RGB.
    labels : Tensor, uint8, shape (N, H, W)
        0 is unlabelled.
    settings : AugmentSettings
        What to vary, and how far.
    rng : numpy Generator
        Source of all chance.

    Returns
    -------
    images : Tensor, float32, shape (N, 3, H, W)
        Normalised; channels last in memory.
    labels : Tensor, uint8, shape (N, H, W)
        What is moved in from outside the patch is 0, unlabelled.
    """
    if settings.dihedral:
        images, labels = dihedral(images, labels, rng)
    pixels = coloured(images, settings, rng)
    if settings.affine > 0 or settings.elastic > 0:
        pixels, labels = warped(pixels, labels, settings, rng)
    if settings.blur > 0:
        pixels = blurred(pixels, settings, rng)
    return pixels, labels


def dihedral(images: Tensor, labels: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Each patch in one of its eight orientations (four if it is not square), equally likely."""
    square = images.shape[1] == images.shape[2]
    chosen = rng.integers(0, 2, size=(len(images), 3))
    pairs = [_oriented(i, m, c, square) for i, m, c in zip(images, labels, chosen.tolist(), strict=True)]
    return torch.stack([i for i, _ in pairs]), torch.stack([m for _, m in pairs])


def _oriented(image: Tensor, label: Tensor, choice: list[int], square: bool) -> tuple[Tensor, Tensor]:
    vertical, horizontal, transposed = choice
    axes = [axis for axis, flip in enumerate((vertical, horizontal)) if flip]
    if axes:
        image, label = image.flip(axes), label.flip(axes)
    if transposed and square:
        image, label = image.transpose(0, 1), label.transpose(0, 1)
    return image, label


def coloured(images: Tensor, settings: AugmentSettings, rng: np.random.Generator) -> Tensor:
    """Stain, gamma, brightness and contrast varied, and normalised: float32 (N, 3, H, W) of uint8 (N, H, W, 3)."""
    count, height, width, _ = images.shape
    mixing, offset, contrast = _colour_draws(count, settings, rng)
    density = torch.log(images.float().add_(1.0).mul_(1 / 256)).reshape(count, height * width, 3)
    density = torch.baddbmm(_on(images, offset), density, _on(images, mixing))
    intensity = density.exp_().clamp_(max=1.0)
    contrast = contrast[:, None, None] / np.array(STD)
    middle = intensity[:, ::7].mean(1, keepdim=True)  # every seventh pixel says enough
    shift = middle * _on(images, 1 / np.array(STD) - contrast) - _on(images, np.array(MEAN) / np.array(STD))
    pixels = torch.addcmul(shift, intensity, _on(images, contrast))
    return pixels.reshape(count, height, width, 3).permute(0, 3, 1, 2)


def _on(like: Tensor, values: np.ndarray) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float32, device=like.device)


def _colour_draws(
    count: int, settings: AugmentSettings, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per patch: mixing (N, 3, 3) and offset (N, 1, 1) of log intensity, and contrast (N,)."""
    draws = rng.uniform(-1, 1, size=(count, 6))
    amounts = 1 + settings.stain * draws[:, :3]
    amounts *= (1 + settings.gamma) ** draws[:, 3:4]
    mixing = np.einsum("ij,nj,jk->nik", UNSTAIN, amounts, STAINS)
    return mixing, settings.brightness * draws[:, 4, None, None], (1 + settings.contrast) ** draws[:, 5]


def warped(
    pixels: Tensor, labels: Tensor, settings: AugmentSettings, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Some patches rotated, scaled and bent; images bilinear with mirrored borders, labels by the nearest pixel."""
    moves = rng.random((len(pixels), 2)) < (settings.affine, settings.elastic)
    chosen = np.flatnonzero(moves.any(1))
    if not len(chosen):
        return pixels, labels
    grids = [_sampling_grid(pixels.shape[-2:], bool(moves[i, 0]), bool(moves[i, 1]), settings, rng) for i in chosen]
    grid = torch.stack(grids).to(pixels.device)
    where = torch.as_tensor(chosen, device=pixels.device)
    pixels, labels = pixels.clone(memory_format=torch.preserve_format), labels.clone()
    pixels[where] = F.grid_sample(pixels[where], grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    moved = F.grid_sample(labels[where, None].float(), grid, mode="nearest", padding_mode="zeros", align_corners=False)
    labels[where] = moved[:, 0].to(labels.dtype)
    return pixels, labels


def _sampling_grid(
    size: torch.Size, affine: bool, elastic: bool, settings: AugmentSettings, rng: np.random.Generator
) -> Tensor:
    """Where each pixel comes from, in grid_sample's -1 … 1 coordinates, shape (H, W, 2)."""
    height, width = size
    matrix = np.eye(2)
    if affine:
        angle = np.deg2rad(rng.uniform(-settings.rotation, settings.rotation))
        zoom = 1 + rng.uniform(-settings.scale, settings.scale)
        matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / zoom
    half = np.array([width, height]) / 2
    matrix = matrix * half[None, :] / half[:, None]  # the rotation is one of pixels, also where the patch is not square
    theta = torch.tensor(np.concatenate([matrix, np.zeros((2, 1))], axis=1)[None], dtype=torch.float32)
    grid = F.affine_grid(theta, [1, 1, height, width], align_corners=False)[0]
    if elastic:
        nodes = rng.normal(0.0, settings.elastic_sigma, size=(1, 2, settings.elastic_grid, settings.elastic_grid))
        nodes /= half[None, :, None, None]
        bend = F.interpolate(
            torch.tensor(nodes, dtype=torch.float32), size=(height, width), mode="bicubic", align_corners=True
        )
        grid = grid + bend[0].permute(1, 2, 0)
    return grid


def blurred(pixels: Tensor, settings: AugmentSettings, rng: np.random.Generator) -> Tensor:
    """Some patches smoothed by a Gaussian."""
    draws = rng.random((len(pixels), 2))
    chosen = np.flatnonzero(draws[:, 0] < settings.blur)
    if not len(chosen):
        return pixels
    pixels = pixels.clone(memory_format=torch.preserve_format)
    for i in chosen:
        kernel = _gaussian(max(0.3, draws[i, 1] * settings.blur_sigma)).to(pixels.device)
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
