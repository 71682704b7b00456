"""The object under a click: networks that take the image with an inclusion and an exclusion map, after NuClick
(Jahanifar et al. 2019)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from histotrain.models.targets import centres, clicks
from histotrain.objectives.base import Meter, Objective
from histotrain.objectives.nuclei import with_objects

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from histotrain.batches import Batch, Inputs, Known
    from histotrain.chance import Chance
    from histotrain.classes import ClassList
    from histotrain.objectives.weighting import ClassWeights
    from histotrain.recipes import Recipe

TERM = "click"
TRUTH, INSIDE, CHANNEL = "truth", "inside", "channel"


class Clicks(Objective):
    """One clicked object in each patch: binary cross-entropy of its pixels plus 1 - Dice.

    The click falls anywhere on the object; the other objects are clicked at their centres. With one class the network
    gives the object's mask, whatever its class; with several it gives the mask in the channel of the object's class
    and nothing in the others, and objects without a class are never clicked. Both losses are means over clicks, so
    small objects count like large ones; the recipe's loss, balancing and class weights have no part in them. In a
    validation the clicks are the same each time.
    """

    uses = ("instances",)
    monitors = ("iou",)
    in_feed = True
    missing = "no patch has objects"

    def __init__(self, net: nn.Module, recipe: Recipe, classes: ClassList, weights: ClassWeights) -> None:
        super().__init__(net, recipe, classes, weights)
        self.refuse_supervision()

    def usable(self, batch: Batch) -> Tensor:
        instances = batch.known.instances
        return torch.zeros(len(batch), dtype=torch.bool) if instances is None else instances.flatten(1).any(1) != 0

    def prepared(self, known: Known) -> Known:
        """A clicked object is known wholly, so every pixel of a patch is valid; those moved in are not."""
        return with_objects(replace(known, valid=None), len(self.classes))

    def complete(self, inputs: Inputs, chance: Chance) -> Inputs:
        known = inputs.known
        assert known.instances is not None
        assert known.labels is not None
        assert known.valid is not None
        count, height, width = known.instances.shape
        maps = np.zeros((count, 2, height, width), np.float32)
        truth = np.zeros((count, height, width), np.float32)
        channels = np.full(count, -1)
        arrays = zip(known.instances.numpy(), known.labels.numpy(), chance.generators(), strict=True)
        for index, (instances, labels, rng) in enumerate(arrays):
            clicked = _clicked(instances, labels, rng, single=len(self.classes) == 1)
            if clicked is not None:
                point, others, truth[index], channels[index] = clicked
                maps[index] = clicks(point, others, (height, width))
        pixels = torch.cat([inputs.pixels, torch.from_numpy(maps)], 1)
        targets = {TRUTH: torch.from_numpy(truth), INSIDE: known.valid, CHANNEL: torch.from_numpy(channels)}
        return replace(inputs, pixels=pixels.contiguous(memory_format=torch.channels_last), targets=targets)

    def amounts(self, inputs: Inputs) -> dict[str, Tensor]:
        return {TERM: (inputs.targets[CHANNEL] >= 0).sum()[None]}

    def forward(self, inputs: Inputs) -> Tensor:
        logits: Tensor = self.net(inputs.pixels)
        return logits

    def terms(self, outputs: Tensor, inputs: Inputs, totals: Mapping[str, Tensor]) -> dict[str, Tensor]:
        channels = inputs.targets[CHANNEL]
        inside = inputs.targets[INSIDE][:, None].float()
        logits = outputs.float()
        every = torch.arange(logits.shape[1], device=logits.device)
        truth = inputs.targets[TRUTH][:, None] * (channels[:, None] == every)[..., None, None]
        entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none") * inside
        found, truth = logits.sigmoid() * inside, truth * inside
        both, each = ((m).sum((1, 2, 3)) for m in (found * truth, found + truth))
        pixels = inside.sum((1, 2, 3)).clamp(min=1) * logits.shape[1]
        values = entropy.sum((1, 2, 3)) / pixels + 1 - (2 * both + 1) / (each + 1)
        return {TERM: (values * (channels >= 0)).sum() / totals[TERM].sum().clamp(min=1)}

    def meter(self) -> Meter:
        return ClickMeter(self.classes)


class ClickMeter(Meter):
    """Mean "iou" and "dice" of the clicked objects, and with several classes "iou/<class>"."""

    def __init__(self, classes: ClassList) -> None:
        self._names = classes.names
        self._ious: list[float] = []
        self._dices: list[float] = []
        self._channels: list[int] = []

    def add(self, outputs: Tensor, inputs: Inputs) -> None:
        channels = inputs.targets[CHANNEL]
        drawn = channels >= 0
        index = channels.clamp(min=0)[:, None, None, None].expand(-1, 1, *outputs.shape[-2:])
        found = (outputs.gather(1, index)[:, 0] > 0) & inputs.targets[INSIDE]
        truth = inputs.targets[TRUTH] > 0
        both = (found & truth).flatten(1).sum(1)[drawn].double()
        total = (found.flatten(1).sum(1) + truth.flatten(1).sum(1))[drawn].double()
        self._ious += (both / (total - both)).tolist()
        self._dices += (2 * both / total).tolist()
        self._channels += channels[drawn].tolist()

    def metrics(self) -> dict[str, float]:
        result = {"iou": _mean(self._ious), "dice": _mean(self._dices)}
        if len(self._names) > 1:
            pairs = list(zip(self._channels, self._ious, strict=True))
            result |= {f"iou/{n}": _mean([iou for c, iou in pairs if c == k]) for k, n in enumerate(self._names)}
        return result


def _clicked(
    instances: NDArray[np.int32], labels: NDArray[np.uint8], rng: np.random.Generator, *, single: bool
) -> tuple[tuple[float, float], NDArray[np.float64], NDArray[np.bool_], int] | None:
    """A click on one of the objects, the centres of the others, its mask and channel; None if there is none."""
    numbers = np.unique(instances)
    numbers = numbers[numbers != 0]
    points, kinds = centres(instances, labels)
    choice = np.arange(len(numbers)) if single else np.flatnonzero(kinds >= 0)
    if not len(choice):
        return None
    chosen = int(rng.choice(choice))
    mask = instances == numbers[chosen]
    rows, columns = np.nonzero(mask)
    at = int(rng.integers(len(rows)))
    others = np.delete(points, chosen, axis=0)
    return (float(columns[at]), float(rows[at])), others, mask, 0 if single else int(kinds[chosen])


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
