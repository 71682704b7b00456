"""The recipes that ship.

``default`` is made for the wait between two clicks: on two CPU cores a step takes about a quarter of a second and the
first useful preview comes after a few dozen of them. The ``sparse`` family is Bokhorst et al. (2019), "Learning from
sparsely annotated data for semantic segmentation in histopathology images", at the paper's pixel size, patch size,
batch size and learning rate: a run takes days on a CPU, as it does in the paper on a GPU.
"""

from __future__ import annotations

from histotrain.errors import TrainingError
from histotrain.recipes.recipe import Recipe
from histotrain.recipes.settings import AugmentSettings

_SPARSE = Recipe(
    name="sparse",
    model="bokhorst-unet",
    mpp=1.0,
    patch_size=384,
    batch_size=8,
    steps=300 * 750,
    validate_every=750,
    optimizer="adam",
    learning_rate=1e-5,
    weight_decay=0.0,
    warmup=0,
    schedule="plateau",
    plateau_patience=10,
    plateau_factor=0.5,
    balancing="mini-batch",
    augment=AugmentSettings(affine=0.5, rotation=180.0, scale=0.0, elastic=0.5, blur=0.25, gamma=0.25, contrast=0.2),
)

_RECIPES: dict[str, tuple[str, Recipe]] = {
    "default": (
        "Small U-Net with mini-batch balancing: a useful preview within seconds on a laptop",
        Recipe(name="default"),
    ),
    "tissue": (
        "The default at 2 µm per pixel: large regions such as tumour and stroma, whole slides in a quarter of the time",
        Recipe(name="tissue", mpp=2.0),
    ),
    "sparse": ("Bokhorst 2019, sparse annotation, mini-batch balancing (equation 2)", _SPARSE),
    "sparse-instance": (
        "Bokhorst 2019, instance balancing (equation 1): best for sparse with some dense annotation",
        _SPARSE.with_changes(name="sparse-instance", balancing="instance"),
    ),
    "sparse-none": (
        "Bokhorst 2019, mask of valid pixels only, no balancing",
        _SPARSE.with_changes(name="sparse-none", balancing="none"),
    ),
}


def list_recipes() -> dict[str, str]:
    """Names of the recipes that ship, each with one line on what it is for."""
    return {name: line for name, (line, _) in _RECIPES.items()}


def named_recipe(name: str) -> Recipe:
    """The recipe of that name; raises TrainingError naming the known ones."""
    if name not in _RECIPES:
        raise TrainingError(f"there is no recipe {name!r}", hint=f"Choose one of: {', '.join(_RECIPES)}")
    return _RECIPES[name][1]
