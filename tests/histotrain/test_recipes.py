"""Recipes are complete, strict and survive JSON; those of papers have the papers' numbers."""

import pytest
import torch
from pydantic import ValidationError

from histotrain import Recipe, TrainingError, list_recipes
from histotrain.models import build_model, list_models, magnifications_of, task_of
from histotrain.recipes import recipe_groups, requirements_of

GRANULARITY_CLASSIFIERS = ("granularity-resnet18", "granularity-vgg16", "granularity-mobilenet")
GRANULARITY_SEGMENTERS = ("granularity-unet", "granularity-fpn", "granularity-linknet")
SPARSE = ("sparse", "sparse-instance", "sparse-none")
SEG_FROM_CLS = ("seg-from-cls", "seg-from-cls-s", "seg-from-cls-all")
PANNUKE = {
    "pannuke-hovernet": "nuclei",
    "pannuke-micronet": "nuclei",
    "pannuke-dist": "nuclei",
    "pannuke-unet": "nuclei",
    "pannuke-mask-rcnn": "nuclei",
    "pannuke-detection": "points",
    "pannuke-nuclick": "clicks",
}
DMMN = {"dmmn-segnet": 1, "dmmn-unet": 1, "dmmn-s2": 3, "dmmn-ms": 3, "dmmn-m2s": 3, "dmmn-m3": 3}
MODELS = sorted({Recipe.named(name).model for name in list_recipes()})


@pytest.mark.parametrize("name", list_recipes())
def test_shipped_recipes_round_trip(name: str) -> None:
    recipe = Recipe.named(name)
    assert recipe.name == name
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


@pytest.mark.parametrize("name", list_recipes())
def test_shipped_recipes_name_a_network_and_what_it_needs(name: str) -> None:
    recipe = Recipe.named(name)
    assert recipe.model in list_models()
    assert requirements_of(recipe)
    assert all(need.strip() for need in requirements_of(recipe))


@pytest.mark.parametrize("model", [name for name in MODELS if name != "mask-rcnn"])
def test_their_networks_can_be_built(model: str) -> None:
    with torch.device("meta"):  # shapes without memory
        assert any(parameter.ndim for parameter in build_model(model, classes=3).parameters())


def test_every_recipe_stands_under_one_heading() -> None:
    grouped = [name for names in recipe_groups().values() for name in names]
    assert grouped == list(list_recipes())
    assert next(iter(recipe_groups())) == "Quick"
    assert len(recipe_groups()) == 6
    lines = list_recipes()
    papers = {title.split("(")[1].split()[0]: names for title, names in recipe_groups().items() if "(" in title}
    authors = {"Bokhorst": "Bokhorst", "Shi": "Shi", "Ciga": "Ciga", "PanNuke": "Gamper", "Ho": "Ho"}
    assert all(lines[name].startswith(authors[key]) for key, names in papers.items() for name in names)


def test_sparse_is_the_papers() -> None:
    for name in SPARSE:
        recipe = Recipe.named(name)
        assert (recipe.mpp, recipe.patch_size, recipe.batch_size, recipe.learning_rate) == (1.0, 384, 8, 1e-5)
        assert (recipe.steps, recipe.validate_every) == (300 * 750, 750)
        assert (recipe.schedule, recipe.plateau_patience, recipe.plateau_factor) == ("plateau", 10, 0.5)
        assert recipe.sampling.sparse_per_dense == 4
        assert recipe.loss == "cross-entropy"
        assert recipe.model == "bokhorst-unet"
        augment = recipe.augment
        used = (augment.affine, augment.elastic, augment.blur, augment.gamma, augment.stain, augment.contrast)
        assert augment.dihedral
        assert all(value > 0 for value in used)
    assert [Recipe.named(name).balancing for name in SPARSE] == ["mini-batch", "instance", "none"]


def test_granularity_is_the_papers() -> None:
    for name in (*GRANULARITY_CLASSIFIERS, *GRANULARITY_SEGMENTERS):
        recipe = Recipe.named(name)
        assert (recipe.optimizer, recipe.learning_rate, recipe.loss) == ("nadam", 1e-3, "cross-entropy")
        assert recipe.encoder_weights == "imagenet"
        assert recipe.mpp == 0.5
        assert recipe.augment.dihedral
        assert recipe.augment.stain > 0
        assert recipe.augment.elastic == recipe.augment.affine == recipe.augment.blur == 0
    for name in GRANULARITY_CLASSIFIERS:
        recipe = Recipe.named(name)
        assert task_of(recipe.model) == "patches"
        assert recipe.patch_size == 128
        sampling = recipe.sampling
        assert (sampling.window, sampling.stride, sampling.places) == (64, 0.5, "grid")
        assert sampling.patch_label == "single-or-highest"
        assert sampling.whole_object
    models = [Recipe.named(name).model for name in GRANULARITY_SEGMENTERS]
    assert [model.partition("/")[0] for model in models] == ["unet", "fpn", "linknet"]


def test_segmentation_from_labels_is_the_papers() -> None:
    for name in SEG_FROM_CLS:
        recipe = Recipe.named(name)
        assert (recipe.model, recipe.patch_size, recipe.batch_size) == ("ciga-martel", 128, 20)
        assert (recipe.optimizer, recipe.learning_rate, recipe.stain) == ("adam", 1e-4, "macenko")
        assert recipe.mpp == pytest.approx(10 / 1.25)
        assert recipe.steps == 100 * recipe.validate_every
        assert 20 * recipe.validate_every >= 1015 > 20 * (recipe.validate_every - 1)
        sampling = recipe.sampling
        assert (sampling.tissue, sampling.min_tissue) == ("hsv", 0.75)
        assert sampling.dominant == 0.9
        assert recipe.supervision is not None
        assert recipe.supervision.pixel == 1
    both, masks, tiles = (Recipe.named(name).sampling for name in SEG_FROM_CLS)
    assert (both.places, both.patch_label) == (masks.places, masks.patch_label) == ("centred", "drawn")
    assert (tiles.places, tiles.stride, tiles.patch_label) == ("grid", 1.0, "dominant")
    patch = [Recipe.named(name).supervision for name in SEG_FROM_CLS]
    assert [terms.patch for terms in patch if terms is not None] == [1, 0, 1]


def test_pannuke_is_the_papers() -> None:
    for name, task in PANNUKE.items():
        recipe = Recipe.named(name)
        assert (recipe.patch_size, recipe.mpp) == (256, 0.25)
        assert task_of(recipe.model) == task


def test_multi_magnification_is_the_papers() -> None:
    for name, sizes in DMMN.items():
        recipe = Recipe.named(name)
        assert (recipe.mpp, recipe.patch_size) == (0.5, 256)
        assert magnifications_of(recipe.model) == (1.0, 2.0, 4.0)[:sizes]
        assert (recipe.optimizer, recipe.learning_rate) == ("sgd", 5e-5)
        assert (recipe.momentum, recipe.weight_decay) == (0.99, 1e-4)
        assert (recipe.class_weights, recipe.balancing, recipe.monitor) == ("share", "none", "mean_iou")
        assert recipe.steps == 20 * recipe.validate_every
        assert recipe.batch_size * recipe.validate_every == pytest.approx(115_844, rel=1e-4)
        sampling = recipe.sampling
        assert (sampling.places, sampling.stride, sampling.min_annotated) == ("grid", 1.0, 0.01)
        assert sampling.multiply
        assert (recipe.augment.elastic_grid, recipe.augment.elastic_sigma) == (17, 4.0)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("default", ("two classes",)),
        ("seg-from-cls", ("two classes", "whole patches")),
        ("seg-from-cls-s", ("two classes",)),
        ("granularity-vgg16", ("single nuclei",)),
        ("pannuke-hovernet", ("inside an exhaustive region",)),
        ("pannuke-detection", ("dots",)),
        ("pannuke-nuclick", ("outlines of single nuclei",)),
    ],
)
def test_needs_are_told_in_words(name: str, words: tuple[str, ...]) -> None:
    needs = requirements_of(Recipe.named(name))
    assert len(needs) == len(words)
    assert all(word in need for word, need in zip(words, needs, strict=True))


def test_needs_follow_what_is_chosen() -> None:
    recipe = Recipe.named("granularity-resnet18")
    drawn = recipe.with_changes(sampling=recipe.sampling.model_copy(update={"patch_label": "drawn"}))
    assert [str(need) for need in requirements_of(drawn)] == ["labels of whole patches"]
    with pytest.raises(TrainingError, match="no network"):
        requirements_of(recipe.with_changes(model="nonsense"))


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


def test_one_value_of_a_part_is_changed() -> None:
    sparse = Recipe.named("sparse")
    changed = sparse.with_changes(**{"sampling.window": 512, "augment.blur": 0.0, "supervision.patch": 0.0})
    assert changed.sampling == sparse.sampling.model_copy(update={"window": 512})
    assert changed.augment.blur == 0
    assert changed.supervision is not None
    assert (changed.supervision.patch, changed.supervision.pixel) == (0, 1)
    both = sparse.with_changes(sampling=sparse.sampling, **{"sampling.stride": 0.5})
    assert (both.sampling.sparse_per_dense, both.sampling.stride) == (4, 0.5)
    for wrong in ("sampling.windw", "steps.window", "no.window"):
        with pytest.raises(ValidationError):
            sparse.with_changes(**{wrong: 3})
