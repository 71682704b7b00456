"""One forward pass over bytes, and images too large for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from histotrain.fusion import takes_bf16
from histotrain.pixels import normalised
from histotrain.tiling import TileGrid, padded, window_overlap

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from histotrain.devices import Device

    UInt8 = NDArray[np.uint8]
    Floats = NDArray[np.float32]

LARGEST = 1024
"""Side of the largest image predicted in one pass, pixels; some 0.7 GB for the default network."""

CLASSES = "classes"
"""Name of the class logits among the maps of a network for nuclei."""


def probabilities_of(
    net: nn.Module, images: Tensor, device: Device, mean: tuple[float, ...], std: tuple[float, ...]
) -> Tensor:
    """Class probabilities of images, from a network in evaluation mode.

    Parameters
    ----------
    net : nn.Module
        Segments, or classifies whole images.
    images : Tensor, uint8, shape (N, H, W, 3) or (N, M, H, W, 3)
        The latter for networks that see M magnifications, the target first.
    device : Device
        Where the network is.
    mean, std : tuple of float
        Of the normalisation.

    Returns
    -------
    Tensor, float32, shape (N, H, W, C), or (N, C) from a classifier
    """
    return maps_of(net, net, images, device, mean, std)[CLASSES].softmax(-1)


@torch.inference_mode()
def maps_of(
    net: nn.Module,
    call: Callable[[Tensor], Tensor | dict[str, Tensor]],
    images: Tensor,
    device: Device,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> dict[str, Tensor]:
    """What ``call``, the network or a method of it, gives for images: float32 maps by name, channels last.

    Parameters are those of `probabilities_of`; a plain result is called "classes".
    """
    views = images.to(device.torch_device, non_blocking=True)
    pixels = normalised(views.reshape(-1, *views.shape[-3:]), mean, std)
    if views.ndim == 5:
        pixels = pixels.unflatten(0, (views.shape[0], views.shape[1]))
    if takes_bf16(net):
        found = call(pixels.to(torch.bfloat16))
    else:
        with device.autocast():
            found = call(pixels)
    maps = {CLASSES: found} if isinstance(found, Tensor) else found
    return {k: (m.permute(0, 2, 3, 1) if m.ndim == 4 else m).float() for k, m in maps.items()}


def predict_image(
    predict_batch: Callable[[UInt8], Floats], image: UInt8, *, channels: int, contexts: UInt8 | None = None
) -> Floats:
    """Probabilities of one image: in one pass, or by blended tiles if it is large.

    Parameters
    ----------
    predict_batch : callable
        Images uint8 (N, H, W, 3), or with contexts (N, M, H, W, 3), to probabilities float32 (N, H, W, C); from a
        classifier (N, C), which then stand for each pixel.
    image : uint8, shape (H, W, 3)
        RGB.
    channels : int
        C.
    contexts : uint8, shape (M - 1, H, W, 3), optional
        The same centre at lower magnifications; the image is then predicted in one pass, whatever its size.

    Returns
    -------
    float32, shape (H, W, C)
    """
    height, width = image.shape[:2]
    if contexts is not None:
        return _spread(predict_batch(np.concatenate([image[None], contexts])[None])[0], height, width)
    if height <= LARGEST and width <= LARGEST:
        return _spread(predict_batch(np.ascontiguousarray(image)[None])[0], height, width)
    grid = TileGrid(width, height, tile=LARGEST, overlap=64)
    total = np.zeros((height, width, channels), dtype=np.float32)
    for row in range(grid.rows):
        for column in range(grid.columns):
            x, y, w, h = grid.inside(row, column)
            result = predict_batch(np.ascontiguousarray(image[y : y + h, x : x + w])[None])
            total[y : y + h, x : x + w] += _spread(result[0], h, w) * grid.window(row, column)[:h, :w, None]
    return total


def _spread(probabilities: Floats, height: int, width: int) -> Floats:
    """(H, W, C) of (C,), or as it is."""
    if probabilities.ndim == 3:
        return probabilities
    return np.broadcast_to(probabilities, (height, width, len(probabilities)))


def by_windows(classify: Callable[[UInt8], Floats], images: UInt8, *, window: int, channels: int) -> Floats:
    """What a classifier says of each pixel: the blended probabilities of the windows around it.

    Windows overlap by half of their side. In images of ``window_tile(window, …)`` pixels they fit without a rest.

    Parameters
    ----------
    classify : callable
        Windows uint8 (n, S, S, 3) to probabilities float32 (n, C).
    images : uint8, shape (N, H, W, 3)
        RGB.
    window : int
        S, the side of what is classified at once, pixels.
    channels : int
        C.

    Returns
    -------
    float32, shape (N, H, W, C)
    """
    count, height, width = images.shape[:3]
    grid = TileGrid(width, height, tile=window, overlap=window_overlap(window))
    places = [(row, column) for row in range(grid.rows) for column in range(grid.columns)]
    result = np.zeros((count, height, width, channels), dtype=np.float32)
    for image, total in zip(images, result, strict=True):
        patches = [_patch(image, grid, place) for place in places]
        found = _classified(classify, patches)
        for (row, column), probabilities in zip(places, found, strict=True):
            x, y, w, h = grid.inside(row, column)
            total[y : y + h, x : x + w] += grid.window(row, column)[:h, :w, None] * probabilities
    return result


_AT_ONCE = 32


def _classified(classify: Callable[[UInt8], Floats], patches: Sequence[UInt8]) -> Floats:
    parts = [classify(np.stack(patches[i : i + _AT_ONCE])) for i in range(0, len(patches), _AT_ONCE)]
    return np.concatenate(parts)


def _patch(image: UInt8, grid: TileGrid, place: tuple[int, int]) -> UInt8:
    x, y, w, h = grid.inside(*place)
    return padded(image[y : y + h, x : x + w], grid.tile)
