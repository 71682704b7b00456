"""The course of the learning rate over a training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from histotrain.recipes import Recipe


@dataclass(slots=True)
class Schedule:
    """Learning rate of each step: a linear warm-up, then constant, half a cosine, or lower at each plateau."""

    recipe: Recipe
    factor: float = 1.0
    stale: int = 0

    def rate(self, step: int) -> float:
        """Learning rate of step 0, 1 …"""
        recipe = self.recipe
        warm = min(1.0, (step + 1) / (recipe.warmup + 1))
        course = self.factor
        if recipe.schedule == "cosine":
            course = max(0.01, 0.5 * (1 + math.cos(math.pi * min(1.0, step / recipe.steps))))
        return recipe.learning_rate * warm * course

    def validated(self, *, gained: bool) -> None:
        """Take notice of a validation; on a plateau, the rate falls."""
        self.stale = 0 if gained else self.stale + 1
        if self.recipe.schedule == "plateau" and self.stale >= self.recipe.plateau_patience:
            self.factor *= self.recipe.plateau_factor
            self.stale = 0
