"""Segmentation and classification by one network: Ciga and Martel (2021), "Learning to segment images with
classification labels", section "Training"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from histotrain.errors import TrainingError
from histotrain.metrics import averages, summary
from histotrain.models.ciga_martel import CigaMartel
from histotrain.objectives.base import Meter, Objective
from histotrain.objectives.matrices import ConfusionCounts, classification_summary
from histotrain.objectives.patches import classified
from histotrain.objectives.regions import labelled
from histotrain.objectives.terms import PATCH, PatchTerm, PixelTerms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from histotrain.batches import Batch, Inputs, Known
    from histotrain.classes import ClassList
    from histotrain.objectives.weighting import ClassWeights
    from histotrain.recipes import Recipe


@dataclass(frozen=True, slots=True)
class Seen:
    """Logits of some patches, and which of the batch they are."""

    logits: Tensor
    index: Tensor


class RegionsAndPatches(Objective):
    """L_seg + L_cls, in one step of the optimiser.

    Step 1 of a batch passes the patches with labelled pixels through the network without its classification layer;
    step 2 passes those with a class through the segmentation map and that layer. A patch with both takes part in both.
    With the recipe's ``supervision``, L_seg has a term for each kind of annotation and L_cls the weight of "patch".
    """

    uses = ("labels", "patch_classes")
    monitors = ("mean_iou", "patch_macro_f1")
    missing = "no pixel is labelled and no patch has a class"

    def __init__(self, net: nn.Module, recipe: Recipe, classes: ClassList, weights: ClassWeights) -> None:
        super().__init__(net, recipe, classes, weights)
        if not isinstance(net, CigaMartel):
            raise TrainingError(f"{recipe.model} does not classify patches through its segmentation")
        self._both = net
        self._pixels = PixelTerms(recipe, len(classes), weights)
        self._patch = PatchTerm(recipe, len(classes), weights)

    def usable(self, batch: Batch) -> Tensor:
        return labelled(batch) | classified(batch)

    def amounts(self, inputs: Inputs) -> dict[str, Tensor]:
        return self._pixels.amounts(inputs.known) | self._patch.amounts(inputs.known)

    def forward(self, inputs: Inputs) -> tuple[Seen | None, Seen | None]:
        """Segmented and classified patches; None where there are none."""
        known = inputs.known
        said = known.labels if known.shares is None else known.shares
        first = None if said is None else (said.flatten(1) != 0).any(1).nonzero()[:, 0]
        second = None if known.patch_classes is None else known.patch_classes.nonzero()[:, 0]
        return self._seen(inputs.pixels, first, self._both), self._seen(inputs.pixels, second, self._both.classify)

    @staticmethod
    def _seen(pixels: Tensor, index: Tensor | None, run: Callable[[Tensor], Tensor]) -> Seen | None:
        if index is None or not len(index):
            return None
        return Seen(run(pixels[index]), index)

    def terms(
        self, outputs: tuple[Seen | None, Seen | None], inputs: Inputs, totals: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        segmented, classes = outputs
        terms: dict[str, Tensor] = {}
        if segmented is not None:
            terms |= self._pixels.of(segmented.logits, _chosen(inputs.known, segmented.index), totals)
        if classes is not None and inputs.known.patch_classes is not None and PATCH in totals:
            terms |= self._patch.of(classes.logits, inputs.known.patch_classes[classes.index], totals)
        return terms

    def meter(self) -> Meter:
        return JointMeter(self.classes)

    def touch(self, pixels: Tensor) -> None:
        self._both.classify(pixels)


class JointMeter(Meter):
    """Metrics of regions with pixels' macro and micro F1, and those of patches as "patch_…", where there are any."""

    def __init__(self, classes: ClassList) -> None:
        self._names = classes.names
        self._pixels, self._patches = ConfusionCounts(len(classes)), ConfusionCounts(len(classes))

    def add(self, outputs: tuple[Seen | None, Seen | None], inputs: Inputs) -> None:
        segmented, classes = outputs
        known = inputs.known
        if segmented is not None and known.labels is not None:
            self._pixels.add(known.labels[segmented.index], segmented.logits.argmax(1))
        if classes is not None and known.patch_classes is not None:
            self._patches.add(known.patch_classes[classes.index], classes.logits.argmax(1))

    def metrics(self) -> dict[str, float]:
        result: dict[str, float] = {}
        pixels, patches = self._pixels.matrix, self._patches.matrix
        if pixels.any():
            result |= summary(pixels, self._names) | averages(pixels)
        if patches.any():
            result |= {f"patch_{k}": v for k, v in classification_summary(patches, self._names).items()}
        return result


def _chosen(known: Known, index: Tensor) -> Known:
    return known.each(lambda tensor: torch.index_select(tensor, 0, index))
