"""The networks' study: patches with their surroundings, partial annotation, and the order that is claimed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_histoanno.studies import Cell, Result, StudyOptions, dmmn, study_named
from napari_histoanno.studies.dmmn import Dmmn, Scale, cut_patches

if TYPE_CHECKING:
    from pathlib import Path

TINY = Scale((1, 1, 1), 512, 4, 32)
OPTIONS = StudyOptions(device="cpu")


def test_training_is_partly_labelled_and_the_test_completely(slide_cache: Path) -> None:
    training, validation, test = cut_patches(TINY, 0, slide_cache)
    assert training.contexts is not None
    assert training.contexts.shape[1:] == (2, 32, 32, 3)
    assert training.labels is not None
    assert 0.01 < (training.labels == 0).mean() < 0.9
    for complete in (validation, test):
        assert complete.labels is not None
        assert (complete.labels > 0).all()
    assert not any(np.array_equal(a, b) for a in training.images for b in test.images)


@pytest.mark.parametrize("network", ["dmmn-unet", "dmmn-m3"])
def test_a_cell_trains_and_measures(network: str, slide_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dmmn, "QUICK_SCALE", TINY)
    monkeypatch.setattr(dmmn, "STEPS", 4)
    monkeypatch.setattr(dmmn, "WIDTH", 4)
    study = Dmmn()
    metrics = study.run_cell(Cell.of(network=network), study.prepare(StudyOptions(device="cpu", cache=slide_cache)))
    assert {q.name for table in study.tables for q in table.quantities} <= set(metrics)
    assert 0 <= metrics["mean_iou"] <= 1


def test_full_recipes_are_the_papers() -> None:
    recipe = Dmmn().recipe(Cell.of(network="dmmn-ms"), StudyOptions(mode="full"))
    assert (recipe.model, recipe.optimizer, recipe.learning_rate, recipe.patch_size) == ("dmmn-ms", "sgd", 5e-5, 256)
    assert [c.label for c in Dmmn().cells(StudyOptions(mode="full"))] == list(dmmn.NETWORKS)


def results(values: dict[str, float], spread: float = 0.01) -> list[Result]:
    return [
        Result(f"{network}{seed}", Cell.of(network=network).seeded(seed),
               {"mean_iou": value + spread * seed * (seed - 1)}, 1, 1, "cpu", "", "")
        for network, value in values.items()
        for seed in range(3)
    ]  # fmt: skip


def test_the_finding_is_the_order_of_the_networks() -> None:
    finding = Dmmn().finding
    assert finding(results({"dmmn-unet": 0.5, "dmmn-s2": 0.6, "dmmn-m3": 0.7})).holds is True
    assert finding(results({"dmmn-unet": 0.5, "dmmn-s2": 0.4, "dmmn-m3": 0.7})).holds is False
    assert finding(results({"dmmn-m3": 0.7})).holds is None
    assert "dmmn-m3 > dmmn-unet" in finding(results({"dmmn-unet": 0.5, "dmmn-m3": 0.4})).statement


def test_the_plot_shows_what_has_been_run() -> None:
    study = study_named("dmmn")
    titles = [axes.get_title() for axes in study.plot(results({"dmmn-unet": 0.5, "dmmn-m3": 0.7})).get_axes()]
    assert titles == ["", "dmmn-unet", "dmmn-m3"]
