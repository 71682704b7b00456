"""One step of the optimiser, from one batch or from several whose gradients are added up."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from histotrain.errors import TrainingError
from histotrain.ranks import share_gradients, summed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from histotrain.batches import Inputs
    from histotrain.devices import Device
    from histotrain.objectives import Objective
    from histotrain.optim import Optimizer


class Taken(NamedTuple):
    """The loss before a step, and its terms."""

    loss: float
    terms: dict[str, float]


def take_step(
    objective: Objective, optimizer: Optimizer, parts: Sequence[Inputs], device: Device, *, rate: float
) -> Taken:
    """Learn from the parts together: one step along the gradient of their common loss.

    Nothing is learnt if the loss is no finite number. With several ranks, counts are added up before the losses are
    divided by them, and gradients afterwards, so the step is that of all ranks' patches.

    Raises
    ------
    TrainingError
        If the patches say nothing that the objective knows.
    """
    totals = _totals(objective, parts)
    if not totals:
        raise TrainingError("there is nothing to learn from", objective.missing)
    objective.weights.saw(totals)
    sums: dict[str, Tensor] = {}
    for inputs in parts:
        with device.autocast():
            outputs = objective.forward(inputs)
        terms = objective.terms(outputs, inputs, totals)
        if terms:
            torch.stack(list(terms.values())).sum().backward()
        for name, term in terms.items():
            sums[name] = sums[name] + term.detach() if name in sums else term.detach()
    share_gradients(optimizer.parameters)
    zero = torch.zeros((), device=device.torch_device)
    values = summed(torch.stack([sums.get(name, zero).float() for name in totals])).tolist()
    loss = sum(values)
    if math.isfinite(loss):
        optimizer.clip(objective.recipe.gradient_clip)
        optimizer.step(rate)
    optimizer.zero_grad()
    return Taken(loss, dict(zip(totals, values, strict=True)))


def _totals(objective: Objective, parts: Sequence[Inputs]) -> dict[str, Tensor]:
    totals: dict[str, Tensor] = {}
    for inputs in parts:
        for name, amount in objective.amounts(inputs).items():
            totals[name] = totals[name] + amount if name in totals else amount
    return {name: summed(total) for name, total in totals.items()}
