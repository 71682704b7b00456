"""The recipes that ship, by name: the quick ones and those of the five papers, one module each.

A paper's module says in its docstring which numbers are the paper's and what was decided where the paper is silent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from histotrain.errors import TrainingError
from histotrain.recipes import defaults, dmmn, granularity, pannuke, seg_from_cls, sparse

if TYPE_CHECKING:
    from histotrain.recipes.recipe import Recipe

_GROUPS = (
    defaults.GROUP,
    sparse.GROUP,
    granularity.GROUP,
    seg_from_cls.GROUP,
    pannuke.GROUP,
    dmmn.GROUP,
)
_RECIPES = {shipped.recipe.name: shipped for group in _GROUPS for shipped in group.recipes}


def list_recipes() -> dict[str, str]:
    """Names of the recipes that ship, each with one line on what it is for and whose it is."""
    return {name: shipped.line for name, shipped in _RECIPES.items()}


def recipe_groups() -> dict[str, list[str]]:
    """The same names under the headings of a menu: the quick ones first, then one heading for each paper."""
    return {group.title: [shipped.recipe.name for shipped in group.recipes] for group in _GROUPS}


def named_recipe(name: str) -> Recipe:
    """The recipe of that name; raises TrainingError naming the known ones."""
    if name not in _RECIPES:
        raise TrainingError(f"there is no recipe {name!r}", hint=f"Choose one of: {', '.join(_RECIPES)}")
    return _RECIPES[name].recipe
