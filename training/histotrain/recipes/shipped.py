"""What a recipe that ships is beside its values: a line for people, and the heading it stands under."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from histotrain.recipes.recipe import Recipe


class Shipped(NamedTuple):
    """A recipe, and one line on what it is for."""

    line: str
    recipe: Recipe


class Group(NamedTuple):
    """Recipes that belong together, under a heading."""

    title: str
    recipes: tuple[Shipped, ...]
