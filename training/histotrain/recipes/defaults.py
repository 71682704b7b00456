"""Recipes that belong to no paper: made for the wait between two clicks.

On two CPU cores a step of ``default`` takes about a quarter of a second, and the first useful preview comes after a few
dozen of them.
"""

from __future__ import annotations

from histotrain.recipes.recipe import Recipe
from histotrain.recipes.shipped import Group, Shipped

GROUP = Group(
    "Quick",
    (
        Shipped(
            "Small U-Net with mini-batch balancing: a useful preview within seconds on a laptop", Recipe(name="default")
        ),
        Shipped(
            "The default at 2 µm per pixel: large regions such as tumour and stroma, whole slides in a quarter of the "
            "time",
            Recipe(name="tissue", mpp=2.0),
        ),
    ),
)
