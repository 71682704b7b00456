"""How to train, as data: a `Recipe` holds every choice that changes the outcome, and has a name.

The network, the loss, the schedule and the augmentation of a run are all in its recipe, and the recipe is stored with
the model, so a run can be repeated and two runs can be compared. Nothing here imports torch.
"""

from __future__ import annotations

from histotrain.recipes.named import list_recipes, recipe_groups
from histotrain.recipes.needs import Need, requirements_of
from histotrain.recipes.recipe import Recipe
from histotrain.recipes.settings import AugmentSettings, SamplingSettings, SupervisionSettings

__all__ = [
    "AugmentSettings",
    "Need",
    "Recipe",
    "SamplingSettings",
    "SupervisionSettings",
    "list_recipes",
    "recipe_groups",
    "requirements_of",
]
