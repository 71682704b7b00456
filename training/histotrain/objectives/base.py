"""What an objective is: the part of a training that depends on what a network is for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from histotrain.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from histotrain.batches import Batch, Inputs, Known
    from histotrain.chance import Chance
    from histotrain.classes import ClassList
    from histotrain.objectives.weighting import ClassWeights
    from histotrain.recipes import Recipe

Outputs = Any
"""What a network gives: each objective knows the type of its own."""


class Meter(ABC):
    """Adds up how good a network is over batches."""

    @abstractmethod
    def add(self, outputs: Outputs, inputs: Inputs) -> None:
        """Take in one batch."""

    @abstractmethod
    def metrics(self) -> dict[str, float]:
        """By name; NaN where undefined."""


class Objective(ABC):
    """What a network is trained to do, and how well it does it.

    A step goes: `complete` (in the feed's thread, if `in_feed`), `amounts` of each part of the step, added up,
    `forward`, `terms`; the loss is the sum of the terms. `amounts` are of whatever a term is divided by, so that the
    terms of a step's parts, be they accumulated or on several ranks, add up to that of the whole.

    Parameters
    ----------
    net : nn.Module
        From `histotrain.models.build_model` of the recipe.
    recipe : Recipe
        How to learn.
    classes : ClassList
        Of the network.
    weights : ClassWeights
        Of the classes in the loss.
    """

    uses: ClassVar[tuple[str, ...]]
    """What a patch must have, one of them, to be learnt from; see `histotrain.sampler.PatchSampler`."""

    monitors: ClassVar[tuple[str, ...]]
    """Metrics by which weights are better than others, where a recipe names none that there is: the first that is."""

    in_feed: ClassVar[bool] = False
    """Whether `complete` takes so long that batches are varied and completed beside the training."""

    missing: ClassVar[str]
    """What is wrong with patches that cannot be learnt from."""

    def __init__(self, net: nn.Module, recipe: Recipe, classes: ClassList, weights: ClassWeights) -> None:
        self.net = net
        self.recipe = recipe
        self.classes = classes
        self.weights = weights

    @classmethod
    def uses_of(cls, recipe: Recipe) -> tuple[str, ...]:
        """`uses` under a recipe."""
        return cls.uses

    @abstractmethod
    def usable(self, batch: Batch) -> Tensor:
        """Which patches there is something to learn from or to measure on, bool (N,)."""

    def prepared(self, known: Known) -> Known:
        """What is known, completed before the patches are moved."""
        return known

    def complete(self, inputs: Inputs, chance: Chance) -> Inputs:
        """Moved patches, on the CPU, with the targets that are made from them."""
        return inputs

    @abstractmethod
    def amounts(self, inputs: Inputs) -> dict[str, Tensor]:
        """What each term is divided by: counts, which add up over the parts of a step. The same terms for any part."""

    @abstractmethod
    def forward(self, inputs: Inputs) -> Outputs:
        """Run the network."""

    @abstractmethod
    def terms(self, outputs: Outputs, inputs: Inputs, totals: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Parts of the loss, weighted, from `forward` and the added `amounts`; one without any amount may be absent."""

    @abstractmethod
    def meter(self) -> Meter:
        """A new, empty meter."""

    def touch(self, pixels: Tensor) -> None:
        """Run every part of the network that has statistics of batches."""
        self.net(pixels)

    def refuse_supervision(self) -> None:
        """Raise TrainingError if the recipe asks for terms that this objective does not have."""
        if self.recipe.supervision is not None:
            raise TrainingError(
                f"{self.recipe.model} has no loss term for each kind of annotation",
                "it learns from objects",
                "Leave the supervision of the recipe empty, or choose a network for regions.",
            )
