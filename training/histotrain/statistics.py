"""Batch statistics that belong to the weights of this moment.

Batch norm predicts with running means of what it saw while the weights were still others. After thousands of steps
that hardly matters; in the first hundred, when somebody is waiting for a preview, the network can have learnt its
patches by heart and still paint every slide in one colour. So before a network is looked at, its statistics are taken
anew from the latest training batches (Wu and Johnson 2021, "Rethinking batch in BatchNorm", call it precise BN).
Training itself does not use them, so looking changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from histotrain.devices import Device

BATCHES = 8
"""Batches that the statistics of kept weights are taken from."""

PREVIEW_BATCHES = 3
"""Those of a preview, which should come fast."""


@torch.no_grad()
def settle_statistics(
    net: nn.Module, batches: Collection[Tensor], device: Device, run: Callable[[Tensor], object] | None = None
) -> None:
    """Replace the running statistics of all batch norms by those of the batches; the modules' modes stay.

    Parameters
    ----------
    net : nn.Module
        Unchanged if it has no batch norm; one that the forward pass does not reach keeps its statistics.
    batches : collection of Tensor, float, shape (N, 3, H, W) or (N, M, 3, H, W)
        As the network is fed; nothing happens without any.
    device : Device
        Where they are.
    run : callable, optional
        What is called with each batch; by default the network.
    """
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms or not batches:
        return
    modes = {module: module.training for module in net.modules()}
    momenta = [norm.momentum for norm in norms]
    before = [{k: v.clone() for k, v in norm.named_buffers()} for norm in norms]
    net.eval()  # dropout would draw from the generator that training draws from
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean
        norm.train()
    try:
        for images in batches:
            with device.autocast():
                (run or net)(images)
    finally:
        for norm, momentum, old in zip(norms, momenta, before, strict=True):
            norm.momentum = momentum
            if norm.num_batches_tracked == 0:
                for name, buffer in norm.named_buffers():
                    buffer.copy_(old[name])
        for module, mode in modes.items():
            module.training = mode
