"""The recipe of the next training: chosen, changed, and told what it lacks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
from qtpy.QtCore import Qt

from histotrain import Recipe, list_recipes
from histotrain.recipes import AugmentSettings, SamplingSettings, SupervisionSettings, recipe_groups
from napari_histoanno.annotation import Box, Granularity
from napari_histoanno.widgets.fields import editor
from napari_histoanno.widgets.guide import Facts
from napari_histoanno.widgets.needs import demand, missing
from napari_histoanno.widgets.recipe_form import RecipeForm
from tests.jobs.tissue import RECIPE

if TYPE_CHECKING:
    from pydantic import BaseModel

    from tests.gui.widgets.conftest import Screen

pytestmark = pytest.mark.gui

MARKED = Facts(project=True, slides=1, classes=2, annotated=("a", "b"))


@pytest.fixture
def settings(qtbot: Any) -> RecipeForm:
    made = RecipeForm()
    qtbot.addWidget(made)
    made.show()
    return made


@pytest.mark.parametrize("name", list_recipes())
def test_a_recipe_that_is_not_touched_is_exactly_the_named_one(settings: RecipeForm, name: str) -> None:
    settings.recipe.setCurrentText(name)
    assert settings.value() == Recipe.named(name)


def test_recipes_stand_below_headings_that_cannot_be_chosen(settings: RecipeForm) -> None:
    box = settings.recipe
    shown = {box.itemText(i): bool(box.model().item(i).flags() & Qt.ItemFlag.ItemIsEnabled) for i in range(box.count())}
    assert shown == dict.fromkeys(list_recipes(), True) | dict.fromkeys(recipe_groups(), False)
    assert box.currentText() == "default"
    tips = {box.itemText(i): box.itemData(i, Qt.ItemDataRole.ToolTipRole) for i in range(box.count())}
    assert "Bokhorst" in tips["sparse"]


def test_values_behind_more_change_the_recipe(settings: RecipeForm, qtbot: Any) -> None:
    editors = settings._editors
    assert not editors["model"].widget.isVisible()
    settings.more.open()
    assert editors["model"].widget.isVisible()
    assert "Network" in editors["model"].widget.toolTip()
    with qtbot.waitSignal(settings.changed):
        editors["model"].set("fpn/resnet18")
    editors["sampling.window"].set(96)
    editors["encoder_weights"].set("imagenet")
    assert settings.value() == Recipe.named("default").with_changes(
        model="fpn/resnet18", encoder_weights="imagenet", **{"sampling.window": 96}
    )
    editors["sampling.window"].set(None)
    editors["encoder_weights"].set(None)
    assert settings.value() == Recipe.named("default").with_changes(model="fpn/resnet18")
    settings.recipe.setCurrentText("sparse")
    assert settings.value() == Recipe.named("sparse")


def test_terms_for_kinds_of_annotation_are_switched_on(settings: RecipeForm) -> None:
    weight = settings._editors["supervision.box"]
    assert not weight.widget.isEnabled()
    settings.terms.setChecked(True)
    assert settings.value().supervision == SupervisionSettings()
    weight.set(0.25)
    assert settings.value().supervision == SupervisionSettings(box=0.25)
    settings.terms.setChecked(False)
    assert settings.value().supervision is None
    settings.recipe.setCurrentText("seg-from-cls-s")
    assert settings.terms.isChecked()
    assert settings._editors["supervision.patch"].get() == 0


@pytest.mark.parametrize(
    ("model", "name", "value"),
    [
        (AugmentSettings, "dihedral", False),
        (AugmentSettings, "elastic_grid", 9),
        (AugmentSettings, "contrast", 0.25),
        (SamplingSettings, "places", "grid"),
        (SamplingSettings, "sparse_per_dense", None),
        (SamplingSettings, "sparse_per_dense", 4.0),
        (Recipe, "seed", 7),
    ],
)
def test_editors_keep_values_and_limits(model: type[BaseModel], name: str, value: object, qtbot: Any) -> None:
    made = editor(model, name)
    qtbot.addWidget(made.widget)
    made.set(value)
    assert made.get() == value
    assert made.widget.toolTip() == model.model_fields[name].description
    assert model.model_validate({name: made.get()})


@pytest.mark.parametrize(
    ("name", "lowest", "highest"), [("focal_gamma", 0.0, None), ("tversky_alpha", 0, 1), ("momentum", 0, 0.999)]
)
def test_editors_refuse_what_the_recipe_would(name: str, lowest: float, highest: float | None, qtbot: Any) -> None:
    made = editor(Recipe, name)
    qtbot.addWidget(made.widget)
    made.set(-5)
    assert made.get() == lowest
    made.set(99)
    assert made.get() == (99 if highest is None else highest)


def test_a_field_without_an_editor_is_refused() -> None:
    with pytest.raises(TypeError, match="no editor"):
        editor(Recipe, "augment")


@pytest.mark.parametrize(
    ("name", "facts", "said"),
    [
        ("default", MARKED, ()),
        ("default", Facts(project=True, annotated=("a",)), ("two classes",)),
        ("default", Facts(project=True, annotated=("a",), done_regions=True), ()),
        ("seg-from-cls", MARKED, ("No whole patches",)),
        ("seg-from-cls-s", MARKED, ()),
        ("granularity-resnet18", MARKED, ("No single nuclei",)),
        ("pannuke-hovernet", MARKED, ("No single nuclei are outlined yet. No exhaustive region",)),
        ("pannuke-detection", MARKED, ("No nuclei are marked yet. No exhaustive region",)),
        ("pannuke-nuclick", MARKED, ("No single nuclei",)),
    ],
)
def test_what_is_missing_is_named(name: str, facts: Facts, said: tuple[str, ...]) -> None:
    told = missing(Recipe.named(name), facts)
    assert len(told) == len(said)
    assert all(part in text for part, text in zip(said, told, strict=True))


def test_what_is_there_is_not_missed() -> None:
    nuclei = Facts(annotated=("a", "b"), done_regions=True, kinds=frozenset({Granularity.PIXEL, Granularity.IMAGE}))
    assert not [name for name in list_recipes() if missing(Recipe.named(name), nuclei)]


def test_length_is_told_in_steps_or_in_time() -> None:
    recipe = Recipe.named("default")
    assert "600 steps of 6 patches." in demand(recipe)
    assert "about 30 min" in demand(recipe, pace=2.0)
    assert "GPU" in demand(Recipe.named("dmmn-m3"))
    assert "single nuclei inside an exhaustive region" in demand(Recipe.named("pannuke-dist"))


def test_the_page_says_what_the_recipe_lacks_until_it_is_there(screen: Screen) -> None:
    page = screen.train
    assert not page.lacking.isVisible()
    page.settings.recipe.setCurrentText("seg-from-cls")
    assert "No whole patches" in page.lacking.text()
    assert page.lacking.isVisible()
    assert page.recipe_box.title.text() == "Recipe: seg-from-cls"
    screen.session.add_annotation(Box(20, 20, 64, 64), Granularity.IMAGE)
    screen.until(lambda: not page.lacking.isVisible())


def test_the_pace_is_that_of_the_last_training_of_such_a_network(screen: Screen) -> None:
    job = screen.session.start_training(RECIPE)
    screen.until(job.done.is_set, 60)
    screen.until(lambda: screen.session.runs()[0].status == "completed")
    status = screen.session.run_status(screen.session.runs()[0].id)
    assert screen.train._pace(RECIPE) == status.items_per_second > 0
    assert math.isnan(screen.train._pace(RECIPE.with_changes(patch_size=48)))


def test_the_worker_is_started_when_the_page_is_first_seen(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[bool] = []
    page = screen.train
    assert page._warm
    page._warm = False
    page.hide()
    monkeypatch.setattr(screen.session, "warm_up", lambda: started.append(True))
    page.refresh()
    assert started == []
    page.show()
    page.hide()
    page.show()
    assert started == [True]
