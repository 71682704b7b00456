"""Measuring a network on labelled patches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from histotrain.errors import TrainingError
from histotrain.losses import segmentation_loss
from histotrain.pixels import normalised

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from histotrain.data import PatchSet
    from histotrain.devices import Device
    from histotrain.recipes import Recipe


class Validator:
    """Patches to measure on, and how.

    Parameters
    ----------
    patches : PatchSet
        With pixel labels.
    lookup : uint8, shape (256,)
        From class id to channel + 1.
    recipe : Recipe
        Its loss is the one that is reported.
    """

    def __init__(self, patches: PatchSet, lookup: NDArray[np.uint8], recipe: Recipe) -> None:
        if patches.labels is None or not (labels := lookup[patches.labels]).any():
            raise TrainingError(
                "the validation patches have no labels", hint="Annotate more, or train without validation."
            )
        labelled = labels.reshape(len(labels), -1).any(1)
        self._images = torch.from_numpy(np.ascontiguousarray(patches.images[labelled]))
        self._labels = torch.from_numpy(labels[labelled])
        self._recipe = recipe

    @torch.inference_mode()
    def measure(self, net: nn.Module, device: Device, *, classes: int) -> tuple[float, NDArray[np.int64]]:
        """Mean loss, and the confusion matrix of shape (C + 1, C + 1); the network's mode is as before afterwards."""
        was_training = net.training
        net.eval()
        try:
            return self._measure(net, device, classes)
        finally:
            net.train(was_training)

    def _measure(self, net: nn.Module, device: Device, classes: int) -> tuple[float, NDArray[np.int64]]:
        matrix = torch.zeros((classes + 1) ** 2, dtype=torch.int64, device=device.torch_device)
        losses, weights = 0.0, 0
        for start in range(0, len(self._images), self._recipe.batch_size):
            part = slice(start, start + self._recipe.batch_size)
            labels = self._labels[part].to(device.torch_device)
            with device.autocast():
                logits: Tensor = net(normalised(self._images[part].to(device.torch_device)))
            loss = segmentation_loss(logits, labels, loss=self._recipe.loss, balancing=self._recipe.balancing)
            count = int((labels != 0).sum())
            losses, weights = losses + float(loss) * count, weights + count
            joint = labels.long() * (classes + 1) + logits.argmax(1) + 1
            matrix += torch.bincount(joint.flatten(), minlength=len(matrix))
        matrix[: classes + 1] = 0
        return losses / max(1, weights), matrix.reshape(classes + 1, classes + 1).cpu().numpy()
