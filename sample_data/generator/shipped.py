"""The two slides that ship with the project: which they are, and how to make them again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .slide import make_slide
from .write import write_slide, write_truth

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a shipped slide is made; ``step`` is the factor between its pyramid levels."""

    name: str
    seed: int
    size: tuple[int, int]
    step: int


# The laboratories differ in their pyramids as well: 4x steps as in many scanners, 2x steps as in others.
SHIPPED = (
    Recipe("harbour", seed=11, size=(4096, 3072), step=4),
    Recipe("meadow", seed=14, size=(4096, 3072), step=2),
)


def write_shipped(folder: Path) -> None:
    """Write both slides and their truth; takes about a minute."""
    for recipe in SHIPPED:
        slide = make_slide(recipe.seed, recipe.size, recipe.name)
        write_slide(folder / f"{recipe.name}.ome.tif", slide.image, step=recipe.step)
        write_truth(folder, recipe.name, slide)
