"""What each step learns from: drawn, divided, varied.

Each step draws its chance from (seed, step) alone, so a training repeats exactly, and one that is resumed at step n
sees the batches it would have seen, without the state of any generator having been kept. The patches of a step are
drawn as a whole and then divided into the batches whose gradients are accumulated, and each of these among the ranks;
their variation is drawn as a whole as well. So a step is the same however it is divided.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from histotrain.augment import unvaried, varied
from histotrain.batches import Batch, Inputs, Reader
from histotrain.chance import Chance
from histotrain.data import draw_samples
from histotrain.models import magnifications_of
from histotrain.ranks import rank, ranks

if TYPE_CHECKING:
    from histotrain.classes import ClassList
    from histotrain.data import PatchSet, PatchSource
    from histotrain.objectives import Objective
    from histotrain.recipes import Recipe

_DRAW, _VARY, _COMPLETE = (), (1,), (2,)


@dataclass(frozen=True, slots=True)
class Part:
    """Some of a step's patches: still to be varied by ``chance``, or (None) ready."""

    patches: Batch | Inputs
    chance: Chance | None = None

    def __len__(self) -> int:
        return len(self.patches)


class Supply:
    """Parts of steps for an objective.

    Parameters
    ----------
    source : PatchSource
        Where patches are drawn.
    recipe : Recipe
        How many, and how varied.
    classes : ClassList
        Of the network.
    objective : Objective
        What they are completed for.
    """

    def __init__(self, source: PatchSource, recipe: Recipe, classes: ClassList, objective: Objective) -> None:
        self._source = source
        self._recipe = recipe
        self._objective = objective
        self._factors = magnifications_of(recipe.model)
        self._reader = Reader(classes, self._factors)

    def parts(self, step: int, *, size: int) -> list[Part]:
        """This rank's parts of a step, one for each of the batches that are accumulated.

        Parameters
        ----------
        step : int
            0, 1 …
        size : int
            Patches in a batch, over all ranks.
        """
        total = size * self._recipe.accumulate
        batch = self._reader.batch(draw_samples(self._source, total, self._rng(step, _DRAW)))
        batch = replace(batch, known=self._objective.prepared(batch.known))
        return [self._part(batch, step, own) for own in self._divided(size)]

    def _divided(self, size: int) -> list[slice]:
        edges = np.linspace(0, size, ranks() + 1).round().astype(int)
        first, last = edges[rank()], edges[rank() + 1]
        return [slice(k * size + first, k * size + last) for k in range(self._recipe.accumulate)]

    def _part(self, batch: Batch, step: int, own: slice) -> Part:
        total = len(batch)
        chance = Chance(self._rng(step, _VARY), total, own)
        mine = batch if own == slice(0, total) else batch.each(lambda tensor: tensor[own])
        if self._objective.in_feed:
            inputs = varied(mine, self._recipe.augment, chance, self._factors)
            return Part(self._objective.complete(inputs, Chance(self._rng(step, _COMPLETE), total, own)))
        return Part(mine.each(torch.Tensor.pin_memory) if torch.cuda.is_available() else mine, chance)

    def ready(self, part: Part, device: torch.device) -> Inputs:
        """A part on the device, varied."""
        if isinstance(part.patches, Inputs):
            return part.patches.each(lambda tensor: tensor.to(device, non_blocking=True))
        assert part.chance is not None
        moved = part.patches.each(lambda tensor: tensor.to(device, non_blocking=True))
        return varied(moved, self._recipe.augment, part.chance, self._factors)

    def _rng(self, step: int, purpose: tuple[int, ...]) -> np.random.Generator:
        return np.random.default_rng([self._recipe.seed, step, *purpose])


def as_they_are(patches: PatchSet, reader: Reader, objective: Objective) -> Batch:
    """Those of the patches on which an objective can be measured."""
    batch = reader.batch(patches)
    usable = objective.usable(batch)
    chosen = batch if usable.all() else batch.each(lambda tensor: tensor[usable])
    return replace(chosen, known=objective.prepared(chosen.known)) if len(chosen) else chosen


def plain_inputs(batch: Batch, objective: Objective, device: torch.device) -> Inputs:
    """Patches on the device without variation, completed."""
    if not objective.in_feed:
        return unvaried(batch.each(lambda tensor: tensor.to(device)))
    inputs = objective.complete(unvaried(batch), Chance.of(np.random.default_rng(len(batch)), len(batch)))
    return inputs.each(lambda tensor: tensor.to(device))
