"""Segmentation of regions: networks that give logits (N, C, H, W), of one magnification or of several."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from histotrain.metrics import summary
from histotrain.objectives.base import Meter, Objective
from histotrain.objectives.matrices import ConfusionCounts
from histotrain.objectives.terms import PatchTerm, PixelTerms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from histotrain.batches import Batch, Inputs
    from histotrain.classes import ClassList
    from histotrain.objectives.weighting import ClassWeights
    from histotrain.recipes import Recipe


class Regions(Objective):
    """Labelled pixels and, where the recipe has ``supervision``, the classes of whole patches.

    A patch's class is compared with the mean probability of its pixels (the logarithm of the mean of their softmaxes):
    that is the predicted share of the class in the patch, and is high as soon as most pixels agree. The mean of
    logarithms would ask every pixel of the patch to be of its class, which a patch's label does not say.
    """

    uses = ("labels",)
    monitors = ("mean_iou",)
    missing = "no pixel is labelled"

    def __init__(self, net: nn.Module, recipe: Recipe, classes: ClassList, weights: ClassWeights) -> None:
        super().__init__(net, recipe, classes, weights)
        self._pixels = PixelTerms(recipe, len(classes), weights)
        self._patch = None if recipe.supervision is None else PatchTerm(recipe, len(classes), weights)

    @classmethod
    def uses_of(cls, recipe: Recipe) -> tuple[str, ...]:
        weighs_patches = recipe.supervision is not None and recipe.supervision.patch > 0
        return ("labels", "patch_classes") if weighs_patches else cls.uses

    def usable(self, batch: Batch) -> Tensor:
        return labelled(batch)

    def amounts(self, inputs: Inputs) -> dict[str, Tensor]:
        counts = self._pixels.amounts(inputs.known)
        return counts if self._patch is None else counts | self._patch.amounts(inputs.known)

    def forward(self, inputs: Inputs) -> Tensor:
        logits: Tensor = self.net(inputs.pixels)
        return logits

    def terms(self, outputs: Tensor, inputs: Inputs, totals: Mapping[str, Tensor]) -> dict[str, Tensor]:
        terms = self._pixels.of(outputs, inputs.known, totals)
        classes = inputs.known.patch_classes
        if self._patch is not None and self._patch.factor and classes is not None:
            terms |= self._patch.of(pooled(outputs), classes, totals)
        return terms

    def meter(self) -> Meter:
        return RegionMeter(self.classes)


class RegionMeter(Meter):
    """Metrics of `histotrain.metrics.summary`."""

    def __init__(self, classes: ClassList) -> None:
        self._names = classes.names
        self._counts = ConfusionCounts(len(classes))

    def add(self, outputs: Tensor, inputs: Inputs) -> None:
        if inputs.known.labels is not None:
            self._counts.add(inputs.known.labels, outputs.argmax(1))

    def metrics(self) -> dict[str, float]:
        return summary(self._counts.matrix, self._names)


def labelled(batch: Batch) -> Tensor:
    """Which patches have a labelled pixel, bool (N,)."""
    said = batch.known.labels if batch.known.shares is None else batch.known.shares
    return torch.zeros(len(batch), dtype=torch.bool) if said is None else (said.flatten(1) != 0).any(1)


def pooled(logits: Tensor) -> Tensor:
    """Logarithm of the mean probability of each class over a patch, (N, C) of logits (N, C, H, W)."""
    logarithms = logits.float().log_softmax(1).flatten(2)
    return logarithms.logsumexp(2) - math.log(logarithms.shape[2])
