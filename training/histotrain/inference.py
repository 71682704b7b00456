"""One forward pass over bytes, and images too large for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from histotrain.fusion import takes_bf16
from histotrain.pixels import normalised
from histotrain.tiling import TileGrid

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from histotrain.devices import Device

LARGEST = 1024
"""Side of the largest image predicted in one pass, pixels; some 0.7 GB for the default network."""


@torch.inference_mode()
def probabilities_of(
    net: nn.Module, images: Tensor, device: Device, mean: tuple[float, ...], std: tuple[float, ...]
) -> Tensor:
    """Class probabilities float32 (N, H, W, C) of images uint8 (N, H, W, 3); the network must be in eval mode."""
    pixels = normalised(images.to(device.torch_device, non_blocking=True), mean, std)
    if takes_bf16(net):
        logits: Tensor = net(pixels.to(torch.bfloat16))
    else:
        with device.autocast():
            logits = net(pixels)
    return logits.permute(0, 2, 3, 1).float().softmax(-1)


def predict_image(
    predict_batch: Callable[[NDArray[np.uint8]], NDArray[np.float32]], image: NDArray[np.uint8], *, channels: int
) -> NDArray[np.float32]:
    """Probabilities float32 (H, W, C) of an image uint8 (H, W, 3): in one pass, or by blended tiles if it is large."""
    height, width = image.shape[:2]
    if height <= LARGEST and width <= LARGEST:
        whole: NDArray[np.float32] = predict_batch(np.ascontiguousarray(image)[None])[0]
        return whole
    grid = TileGrid(width, height, tile=LARGEST, overlap=64)
    total = np.zeros((height, width, channels), dtype=np.float32)
    for row in range(grid.rows):
        for column in range(grid.columns):
            x, y, w, h = grid.inside(row, column)
            probabilities = predict_batch(np.ascontiguousarray(image[y : y + h, x : x + w])[None])[0]
            total[y : y + h, x : x + w] += probabilities * grid.window(row, column)[:h, :w, None]
    return total
