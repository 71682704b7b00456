"""Recipes are complete, strict and survive JSON."""

import pytest
from pydantic import ValidationError

from histotrain import Recipe, TrainingError, list_recipes


@pytest.mark.parametrize("name", list_recipes())
def test_shipped_recipes_round_trip(name: str) -> None:
    recipe = Recipe.named(name)
    assert recipe.name == name
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


def test_sparse_is_the_papers() -> None:
    sparse = Recipe.named("sparse")
    assert (sparse.mpp, sparse.patch_size, sparse.batch_size, sparse.learning_rate) == (1.0, 384, 8, 1e-5)
    assert sparse.steps == 300 * 750
    assert sparse.model == "bokhorst-unet"
    assert [Recipe.named(n).balancing for n in ("sparse-none", "sparse-instance", "sparse")] == [
        "none",
        "instance",
        "mini-batch",
    ]


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(TrainingError, match="default"):
        Recipe.named("nonsense")


@pytest.mark.parametrize("wrong", [{"stepz": 3}, {"steps": 0}, {"learning_rate": -1.0}, {"balancing": "sometimes"}])
def test_mistakes_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Recipe(**wrong)  # type: ignore[arg-type]


def test_changes_are_validated() -> None:
    assert Recipe.named("default").with_changes(steps=3).steps == 3
    with pytest.raises(ValidationError):
        Recipe.named("default").with_changes(steps=-3)
