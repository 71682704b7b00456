"""What a recipe asks of a project, and what of it is not there yet, in words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from histotrain.recipes import Need, requirements_of
from napari_histoanno.annotation import Granularity
from napari_histoanno.widgets.job_progress import duration

if TYPE_CHECKING:
    from histotrain import Recipe
    from napari_histoanno.widgets.guide import Facts

LONG = 10_000
"""Steps from which on a recipe is meant for a GPU and a night."""

_OUTLINES = frozenset({Granularity.PIXEL, Granularity.ELLIPSE})
_OBJECTS = _OUTLINES | {Granularity.BOX}


def missing(recipe: Recipe, facts: Facts) -> tuple[str, ...]:
    """What must still be annotated before the recipe can be trained; nothing if all is there.

    Where marks lie, and whether there are enough of them, the training itself finds out.
    """
    return tuple(text for need in requirements_of(recipe) if (text := _lacking(need, facts)))


def _lacking(need: Need, facts: Facts) -> str:
    kinds, closed = facts.kinds, facts.done_regions
    match need:
        case Need.REGIONS:
            enough = len(facts.annotated) > 1 or (facts.annotated and closed)
            return "" if enough else "Fewer than two classes are annotated."
        case Need.PATCH_LABELS:
            return "" if Granularity.IMAGE in kinds else "No whole patches are labelled yet."
        case Need.OBJECTS:
            return "" if kinds & _OBJECTS else "No single nuclei are outlined yet."
        case Need.OUTLINES:
            return "" if kinds & _OUTLINES else "No single nuclei are outlined yet."
        case Need.DOTS:
            found = kinds & (_OBJECTS | {Granularity.POINT})
            return _with_region("No nuclei are marked yet.", found=bool(found), closed=closed)
        case Need.NUCLEI:
            return _with_region("No single nuclei are outlined yet.", found=bool(kinds & _OUTLINES), closed=closed)


def _with_region(nothing: str, *, found: bool, closed: bool) -> str:
    region = "" if closed else "No exhaustive region yet: draw one round a place where every nucleus is marked."
    return " ".join(text for text in ("" if found else nothing, region) if text)


def demand(recipe: Recipe, pace: float = math.nan) -> str:
    """What a recipe needs, and how long it takes, in a few lines.

    Parameters
    ----------
    recipe : Recipe
        The recipe.
    pace : float
        Patches of it that are learnt in a second here, NaN if that is not known.
    """
    lines = [f"Needs {' and '.join(requirements_of(recipe))}."]
    patches = recipe.batch_size * recipe.accumulate
    size = f"{recipe.steps:,} steps of {patches} patches"
    if pace > 0:
        size += f", about {duration(recipe.steps * patches / pace)} at the pace of the last one"
    elif recipe.steps >= LONG:
        size += ": made for a GPU; stop when the preview is good enough"
    return "\n".join([*lines, f"{size}."])
