"""Classification of whole patches: networks that give logits (N, C)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from histotrain.objectives.base import Meter, Objective
from histotrain.objectives.matrices import ConfusionCounts, classification_summary
from histotrain.objectives.terms import PatchTerm

if TYPE_CHECKING:
    from collections.abc import Mapping

    from histotrain.batches import Batch, Inputs
    from histotrain.classes import ClassList
    from histotrain.objectives.weighting import ClassWeights
    from histotrain.recipes import Recipe


class Patches(Objective):
    """The class of each patch; patches without one are ignored. The recipe's loss takes a patch for a pixel.

    Of the recipe's ``supervision`` only the weight of "patch" matters, and it must not be 0.
    """

    uses = ("patch_classes",)
    monitors = ("macro_f1",)
    missing = "no patch has a class"

    def __init__(self, net: nn.Module, recipe: Recipe, classes: ClassList, weights: ClassWeights) -> None:
        super().__init__(net, recipe, classes, weights)
        self._term = PatchTerm(recipe, len(classes), weights)

    def usable(self, batch: Batch) -> Tensor:
        return classified(batch)

    def amounts(self, inputs: Inputs) -> dict[str, Tensor]:
        return self._term.amounts(inputs.known)

    def forward(self, inputs: Inputs) -> Tensor:
        logits: Tensor = self.net(inputs.pixels)
        return logits

    def terms(self, outputs: Tensor, inputs: Inputs, totals: Mapping[str, Tensor]) -> dict[str, Tensor]:
        classes = inputs.known.patch_classes
        return {} if classes is None or not totals else self._term.of(outputs, classes, totals)

    def meter(self) -> Meter:
        return PatchMeter(self.classes)


class PatchMeter(Meter):
    """Metrics of `classification_summary`."""

    def __init__(self, classes: ClassList) -> None:
        self._names = classes.names
        self._counts = ConfusionCounts(len(classes))

    def add(self, outputs: Tensor, inputs: Inputs) -> None:
        if inputs.known.patch_classes is not None:
            self._counts.add(inputs.known.patch_classes, outputs.argmax(1))

    def metrics(self) -> dict[str, float]:
        return classification_summary(self._counts.matrix, self._names)


def classified(batch: Batch) -> Tensor:
    """Which patches have a class, bool (N,)."""
    classes = batch.known.patch_classes
    return torch.zeros(len(batch), dtype=torch.bool) if classes is None else classes != 0
