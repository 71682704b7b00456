"""What must be annotated before a recipe can learn anything, in words that a form can show."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from histotrain.models.catalogue import task_of

if TYPE_CHECKING:
    from histotrain.recipes.recipe import Recipe


class Need(StrEnum):
    """Something to annotate; its value is the words for it."""

    REGIONS = "marks of at least two classes"
    PATCH_LABELS = "labels of whole patches"
    OBJECTS = "single nuclei of at least two classes as outlines, ellipses or boxes"
    DOTS = "dots or outlines of single nuclei inside an exhaustive region"
    NUCLEI = "outlines of single nuclei inside an exhaustive region"
    OUTLINES = "outlines of single nuclei"


def requirements_of(recipe: Recipe) -> tuple[Need, ...]:
    """What a recipe cannot do without.

    Parameters
    ----------
    recipe : Recipe
        Its network, sampling and supervision decide.

    Returns
    -------
    tuple of Need
        Each is also a str, such as "outlines of single nuclei inside an exhaustive region".

    Raises
    ------
    TrainingError
        If there is no network of the recipe's name.

    Examples
    --------
    >>> from histotrain.recipes import Recipe
    >>> [str(need) for need in requirements_of(Recipe.named("seg-from-cls-s"))]
    ['marks of at least two classes']
    """
    match task_of(recipe.model):
        case "regions":
            return (Need.REGIONS,)
        case "points":
            return (Need.DOTS,)
        case "nuclei":
            return (Need.NUCLEI,)
        case "clicks":
            return (Need.OUTLINES,)
        case "patches":
            return _of_classifier(recipe)
        case "regions and patches":
            return _of_both(recipe)


def _of_classifier(recipe: Recipe) -> tuple[Need, ...]:
    if recipe.sampling.patch_label == "drawn":
        return (Need.PATCH_LABELS,)
    return (Need.OBJECTS,) if recipe.sampling.whole_object else (Need.REGIONS,)


def _of_both(recipe: Recipe) -> tuple[Need, ...]:
    terms = recipe.supervision
    needs = [Need.REGIONS] if terms is None or terms.pixel > 0 else []
    if (terms is None or terms.patch > 0) and recipe.sampling.patch_label == "drawn":
        needs.append(Need.PATCH_LABELS)
    return tuple(needs)
