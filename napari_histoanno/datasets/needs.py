"""What a recipe needs of its patches, as fields of a spec: the same for training, validation and measuring."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from histotrain.models import magnifications_of, task_of
from histotrain.stain_use import stain_target

if TYPE_CHECKING:
    from collections.abc import Mapping

    from histotrain.recipes import Recipe
    from napari_histoanno.datasets.spec import Teaching

_PAINTED_TERMS = ("pixel", "sparse", "ellipse", "box", "point")


def needs_of(recipe: Recipe, stain: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Fields of a ``PatchSpec`` or ``SamplingSpec`` that follow from a recipe.

    Parameters
    ----------
    recipe : Recipe
        Its network, supervision, stain and sampling decide.
    stain : mapping, optional
        Look to bring slides into, such as that of the model to be measured; by default the packaged one of the
        recipe's method.

    Returns
    -------
    dict
        ``mpp``, ``patch_size``, ``sampling``, ``teaches``, ``magnifications``, ``origins`` and ``stain``.

    Raises
    ------
    TrainingError
        If there is no network of the recipe's name.
    """
    if stain is None and recipe.stain != "none":
        stain = stain_target(recipe.stain)
    return {
        "mpp": recipe.mpp * recipe.sampling.pixel_scale(recipe.patch_size),
        "patch_size": recipe.patch_size,
        "sampling": recipe.sampling,
        "teaches": _teaches(recipe),
        "magnifications": magnifications_of(recipe.model),
        "origins": recipe.supervision is not None,
        "stain": None if stain is None else dict(stain),
    }


def _teaches(recipe: Recipe) -> frozenset[Teaching]:
    terms = recipe.supervision
    match task_of(recipe.model):
        case "regions":
            return frozenset({"pixels"})
        case "patches":
            return frozenset({"patches"})
        case "regions and patches":
            pixels = terms is None or any(getattr(terms, name) > 0 for name in _PAINTED_TERMS)
            patches = terms is None or terms.patch > 0
            wanted: list[Teaching] = [*(["pixels"] if pixels else []), *(["patches"] if patches else [])]  # type: ignore[list-item]
            return frozenset(wanted or ["pixels"])
        case _:
            return frozenset({"pixels", "objects"})
