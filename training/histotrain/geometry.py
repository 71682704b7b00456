"""Movement of patches, with everything that is known of their pixels and with their lower magnifications.

Orientation, rotation and scaling are about the centre, which all magnifications share, so each is moved by the same
matrix in its own pixels. A bend is a field of displacements over the target patch: a lower magnification, whose pixel
is f times as large, is bent by the field at the same place on the slide, a 1/f-th as many pixels, and around the target
by what the target's nearest border is bent by. What is known of pixels moves by the nearest pixel.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from histotrain.batches import Batch, Known
    from histotrain.chance import Chance
    from histotrain.recipes import AugmentSettings


def turned(batch: Batch, chance: Chance) -> Batch:
    """Each patch in one of its eight orientations (four if it is not square), equally likely."""
    choices = chance.coins(3).tolist()
    square = batch.images.shape[1] == batch.images.shape[2]

    def turn(tensor: Tensor, first: int = 0) -> Tensor:
        pairs = zip(tensor, choices, strict=True)
        return torch.stack([_oriented(patch, choice, square, first) for patch, choice in pairs])

    contexts = None if batch.contexts is None else turn(batch.contexts, 1)
    return replace(batch, images=turn(batch.images), known=batch.known.each_mask(turn), contexts=contexts)


def _oriented(patch: Tensor, choice: list[int], square: bool, first: int) -> Tensor:
    vertical, horizontal, transposed = choice
    axes = [first + axis for axis, flip in enumerate((vertical, horizontal)) if flip]
    if axes:
        patch = patch.flip(axes)
    return patch.transpose(first, first + 1) if transposed and square else patch


def warped(
    pixels: list[Tensor],
    known: Known,
    settings: AugmentSettings,
    chance: Chance,
    magnifications: tuple[float, ...] = (1.0,),
) -> tuple[list[Tensor], Known]:
    """Some patches rotated, scaled and bent; images bilinear with mirrored borders.

    Parameters
    ----------
    pixels : list of Tensor, float32, shape (N, 3, H, W)
        One for each magnification, the target first.
    known : Known
        Of the target.
    settings : AugmentSettings
        How far, and how probably.
    chance : Chance
        For N patches.
    magnifications : tuple of float
        Sizes of a pixel in each of ``pixels``, relative to the target's.
    """
    moves = chance.random(2) < (settings.affine, settings.elastic)
    generators = chance.generators()
    chosen = np.flatnonzero(moves.any(1))
    if not len(chosen):
        return pixels, known
    size = pixels[0].shape[-2:]
    drawn = [_movement(size, bool(moves[i, 0]), bool(moves[i, 1]), settings, generators[i]) for i in chosen]
    device = pixels[0].device
    where = torch.as_tensor(chosen, device=device)
    grids = [
        torch.stack([_grid(size, matrix, bend, factor) for matrix, bend in drawn]).to(device)
        for factor, _ in zip(magnifications, pixels, strict=False)
    ]
    moved = [_sampled(images, where, grid) for images, grid in zip(pixels, grids, strict=True)]
    sources, inside = _nearest(grids[0])
    return moved, known.each_mask(lambda mask: _gathered(mask, where, sources, inside))


def _movement(
    size: torch.Size, affine: bool, elastic: bool, settings: AugmentSettings, rng: np.random.Generator
) -> tuple[np.ndarray, Tensor | None]:
    """A matrix (2, 2) of pixels about the centre, and the bend (1, 2, H, W) in pixels."""
    matrix = np.eye(2)
    if affine:
        angle = np.deg2rad(rng.uniform(-settings.rotation, settings.rotation))
        zoom = 1 + rng.uniform(-settings.scale, settings.scale)
        matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / zoom
    if not elastic:
        return matrix, None
    nodes = rng.normal(0.0, settings.elastic_sigma, size=(1, 2, settings.elastic_grid, settings.elastic_grid))
    field = torch.tensor(nodes, dtype=torch.float32)
    return matrix, F.interpolate(field, size=tuple(size), mode="bicubic", align_corners=True)


def _grid(size: torch.Size, matrix: np.ndarray, bend: Tensor | None, factor: float) -> Tensor:
    """Where each pixel of a magnification comes from, in grid_sample's -1 … 1 coordinates, shape (H, W, 2)."""
    height, width = size
    half = np.array([width, height]) / 2
    scaled = matrix * half[None, :] / half[:, None]  # the rotation is one of pixels, also where a patch is not square
    theta = torch.tensor(np.concatenate([scaled, np.zeros((2, 1))], axis=1)[None], dtype=torch.float32)
    grid = F.affine_grid(theta, [1, 1, height, width], align_corners=False)[0]
    if bend is None:
        return grid
    if factor != 1:
        places = factor * F.affine_grid(torch.eye(2, 3)[None], [1, 1, height, width], align_corners=False)
        bend = F.grid_sample(bend, places, mode="bilinear", padding_mode="border", align_corners=False) / factor
    relative = bend[0] / torch.as_tensor(half, dtype=torch.float32)[:, None, None]
    return grid + relative.permute(1, 2, 0)


def _sampled(images: Tensor, where: Tensor, grid: Tensor) -> Tensor:
    images = images.clone(memory_format=torch.preserve_format)
    images[where] = F.grid_sample(images[where], grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return images


def _nearest(grid: Tensor) -> tuple[Tensor, Tensor]:
    """Row-major index of the pixel that each one comes from, int64 (n, H·W), and whether it is inside."""
    height, width = grid.shape[1:3]
    x, y = (((grid[..., axis] + 1) * side - 1) / 2 for axis, side in enumerate((width, height)))
    column, row = x.round().long(), y.round().long()
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    index = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
    return index.flatten(1), inside.flatten(1)


def _gathered(mask: Tensor, where: Tensor, sources: Tensor, inside: Tensor) -> Tensor:
    mask = mask.clone()
    chosen = mask[where].flatten(1, 2)
    beyond = (slice(None), slice(None), *[None] * (chosen.ndim - 2))
    moved = chosen.gather(1, sources[beyond].expand_as(chosen)) * inside[beyond]
    mask[where] = moved.reshape(mask[where].shape)
    return mask
