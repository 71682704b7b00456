"""Measuring a network on patches, by its objective."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from histotrain.batches import Reader
from histotrain.errors import TrainingError
from histotrain.models import magnifications_of
from histotrain.supply import as_they_are, plain_inputs

if TYPE_CHECKING:
    from histotrain.classes import ClassList
    from histotrain.data import PatchSet
    from histotrain.devices import Device
    from histotrain.objectives import Objective
    from histotrain.recipes import Recipe


class Validator:
    """Patches to measure on, and how.

    Parameters
    ----------
    patches : PatchSet
        Those that the objective cannot use are left out.
    recipe : Recipe
        Its loss is the one that is reported.
    classes : ClassList
        Of the network.
    objective : Objective
        What is measured.

    Raises
    ------
    TrainingError
        If the objective can use none of the patches.
    """

    def __init__(self, patches: PatchSet, recipe: Recipe, classes: ClassList, objective: Objective) -> None:
        self._objective = objective
        self._size = recipe.batch_size
        self._batch = as_they_are(patches, Reader(classes, magnifications_of(recipe.model)), objective)
        if not len(self._batch):
            raise TrainingError(
                "the validation patches have no labels",
                objective.missing,
                "Annotate more, or train without validation.",
            )

    @torch.inference_mode()
    def measure(self, device: Device) -> tuple[float, dict[str, float]]:
        """Mean loss and metrics of the objective's network, whose mode is as before afterwards."""
        net = self._objective.net
        was_training = net.training
        net.eval()
        try:
            return self._measure(device)
        finally:
            net.train(was_training)

    def _measure(self, device: Device) -> tuple[float, dict[str, float]]:
        meter = self._objective.meter()
        sums: dict[str, float] = {}
        counts: dict[str, float] = {}
        for start in range(0, len(self._batch), self._size):
            part = self._batch.each(lambda tensor, at=slice(start, start + self._size): tensor[at])  # type: ignore[misc]
            inputs = plain_inputs(part, self._objective, device.torch_device)
            with device.autocast():
                outputs = self._objective.forward(inputs)
            amounts = self._objective.amounts(inputs)
            for name, term in self._objective.terms(outputs, inputs, amounts).items():
                count = float(amounts[name].sum())
                sums[name] = sums.get(name, 0.0) + float(term) * count
                counts[name] = counts.get(name, 0.0) + count
            meter.add(outputs, inputs)
        loss = sum(value / max(counts[name], 1e-6) for name, value in sums.items()) if sums else float("nan")
        return loss, meter.metrics()
