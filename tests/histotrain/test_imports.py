"""The process that draws the screen imports the package; torch must stay out of it."""

import subprocess
import sys

import pytest

LIGHT = "import histotrain, histotrain.events, histotrain.data, histotrain.recipes, histotrain.card, histotrain.classes"
HEAVY = ("torch", "zarr", "numba", "scipy", "segmentation_models_pytorch")


def modules_after(statement: str) -> set[str]:
    listing = subprocess.run(
        [sys.executable, "-c", f"{statement}\nimport sys\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(listing.stdout.split())


def test_light_parts_import_nothing_heavy() -> None:
    assert modules_after(LIGHT).isdisjoint(HEAVY)


def test_training_needs_neither_the_compiler_nor_other_network_packages() -> None:
    """Each of them takes seconds of the time in which a first preview should come."""
    loaded = modules_after(
        "import numpy as np\n"
        "from histotrain import PatchSet, Recipe, train\n"
        "data = PatchSet(np.zeros((2, 64, 64, 3), np.uint8), np.ones((2, 64, 64), np.uint8), classes=('a',))\n"
        "list(train(Recipe(patch_size=64, batch_size=1, steps=1), data, device='cpu'))"
    )
    assert "torch" in loaded
    assert loaded.isdisjoint({"torch._dynamo", "sympy", "torchvision", "timm", "numba", "scipy"})


@pytest.mark.parametrize("first", ["histotrain.prediction", "histotrain.loop", "histotrain.metrics"])
def test_public_functions_are_not_hidden_by_modules(first: str) -> None:
    code = f"import {first}\nfrom histotrain import predict, train\nassert callable(predict) and callable(train)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_name() -> None:
    import histotrain

    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        histotrain.nonsense  # noqa: B018
