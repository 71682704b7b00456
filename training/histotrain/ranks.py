"""What the processes of one training have to tell each other; with a single process, nothing.

Each process (rank) has some patches of every batch. Counts are added up over all of them before a loss is divided by
them, so the sum of all ranks' gradients is the gradient of the whole batch, whatever the loss is balanced by.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterable


def several() -> bool:
    """Whether this process is one of several."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def rank() -> int:
    """Number of this process, 0 for the first."""
    return torch.distributed.get_rank() if several() else 0


def ranks() -> int:
    """How many processes there are."""
    return torch.distributed.get_world_size() if several() else 1


def summed(values: Tensor) -> Tensor:
    """The sum over all ranks."""
    if several():
        values = values.clone()
        torch.distributed.all_reduce(values)
    return values


def told(value: Any) -> Any:
    """What the first rank says."""
    if not several():
        return value
    box = [value]
    torch.distributed.broadcast_object_list(box)
    return box[0]


@torch.no_grad()
def share_gradients(parameters: Iterable[Tensor]) -> None:
    """Replace each gradient by its sum over all ranks; one that no rank has stays absent."""
    if not several():
        return
    listed = list(parameters)
    present = summed(torch.tensor([float(p.grad is not None) for p in listed], device=listed[0].device))
    active = [p for p, there in zip(listed, present.tolist(), strict=True) if there]
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in active]
    if not gradients:
        return
    together = summed(torch.cat([g.reshape(-1) for g in gradients]))
    for parameter, gradient in zip(active, together.split([g.numel() for g in gradients]), strict=True):
        parameter.grad = gradient.reshape(parameter.shape)
