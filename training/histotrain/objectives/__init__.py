"""What networks learn: an `Objective` for each task of `histotrain.models.task_of`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from histotrain.models import task_of
from histotrain.objectives.base import Meter, Objective
from histotrain.objectives.weighting import ClassWeights

if TYPE_CHECKING:
    from torch import nn

    from histotrain.classes import ClassList
    from histotrain.recipes import Recipe

__all__ = ["ClassWeights", "Meter", "Objective", "objective_class", "objective_for"]


def objective_class(model: str) -> type[Objective]:
    """The objective of the network of that name; only its module is imported.

    Raises
    ------
    TrainingError
        If there is no such network.
    """
    task = task_of(model)
    if task == "patches":
        from histotrain.objectives.patches import Patches

        return Patches
    if task == "regions and patches":
        from histotrain.objectives.joint import RegionsAndPatches

        return RegionsAndPatches
    if model.lower() == "mask-rcnn":
        from histotrain.objectives.boxes import Boxes

        return Boxes
    if task == "clicks":
        from histotrain.objectives.clicks import Clicks

        return Clicks
    if task in ("points", "nuclei"):
        from histotrain.objectives.nuclei import NucleiObjective, PointsObjective

        return PointsObjective if task == "points" else NucleiObjective
    from histotrain.objectives.regions import Regions

    return Regions


def objective_for(net: nn.Module, recipe: Recipe, classes: ClassList, weights: ClassWeights) -> Objective:
    """What a network learns under a recipe; raises TrainingError if the recipe asks for what it cannot."""
    return objective_class(recipe.model)(net, recipe, classes, weights)
