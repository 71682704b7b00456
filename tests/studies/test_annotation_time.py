"""Time is spent as the costs say, labels say no more than their granularity, and conclusions survive wrong costs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_histoanno.studies import Cell, Result, StudyError, StudyOptions, annotation_time
from napari_histoanno.studies.annotating import ACTIONS, Costs, annotate_for
from napari_histoanno.studies.annotation_time import AnnotationTimeStudy, quality_at, worst_case

if TYPE_CHECKING:
    from pathlib import Path

    from napari_histoanno.studies.nuclei import Nuclei


def test_costs_add_up() -> None:
    costs = Costs()
    grades = [1, 1, 3]
    assert costs.of_field("click", grades) == pytest.approx(1 + 2 * 2.4 + 0.9)
    assert costs.of_field("click to mask", grades) == pytest.approx(1 + 2 * 2.4 + 0.9 + 3 * 1.5)
    assert costs.of_field("box", grades) == pytest.approx(1 + 3 * 7)
    assert costs.of_field("outline", grades) == pytest.approx(1 + 3 * 79 / 4)
    assert costs.of_field("image label", grades) == pytest.approx(1 + 4 * 3)
    assert costs.of_field("scribble", grades) == pytest.approx(1 + 4 * 10.9 / 4)
    assert costs.of_field("ellipse", []) == 1


def test_costs_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    path.write_text(json.dumps({"box": 25.0}))
    assert Costs.load(path) == Costs(box=25.0)
    path.write_text(json.dumps({"boxes": 25.0}))
    with pytest.raises(StudyError, match="boxes"):
        Costs.load(path)


@pytest.mark.parametrize("action", ACTIONS)
def test_no_more_is_annotated_than_the_time_allows(nuclei: Nuclei, action: str) -> None:
    little, more = (
        annotate_for(minutes, action, [nuclei], Costs(), np.random.default_rng(4)) for minutes in (2.0, 5.0)
    )
    assert little.minutes <= 2 < more.minutes <= 5
    assert len(little.images) < len(more.images)
    np.testing.assert_array_equal(more.images[: len(little.images)], little.images)


def test_labels_agree_with_the_truth_where_they_should(nuclei: Nuclei) -> None:
    truth = annotate_for(30.0, "outline", [nuclei], Costs(), np.random.default_rng(4))
    for action, least in (
        ("click", 0.99),
        ("scribble", 0.97),
        ("click to mask", 0.9),
        ("ellipse", 0.96),
        ("box", 0.85),
    ):
        made = annotate_for(truth.minutes, action, [nuclei], Costs(), np.random.default_rng(4))
        count = min(len(made.labels), len(truth.labels))
        found, true = made.labels[:count], truth.labels[:count]
        known = found > 0
        assert (found[known] == true[known]).mean() > least, action
        assert (found == 0).any() == (action in ("click", "scribble"))


def test_a_cell_trains_and_measures(slide_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(annotation_time, "SLIDES", (1, 0, 1))
    monkeypatch.setattr(annotation_time, "SIDE", 512)
    recipe = annotation_time.recipe_of(Cell.of(), StudyOptions())
    short = recipe.with_changes(model="unet/resnet18", steps=1, validate_every=1, precision="float32", batch_size=2)
    monkeypatch.setattr(annotation_time, "recipe_of", lambda *_: short)
    study = AnnotationTimeStudy()
    options = StudyOptions(cache=slide_cache, device="cpu")
    metrics = study.run_cell(Cell.of(annotation="scribble", minutes=3.0), study.prepare(options))
    assert {q.name for table in study.tables for q in table.quantities} <= set(metrics)
    assert metrics["spent"] <= 3


def fabricated(curves: dict[str, dict[float, float]]) -> list[Result]:
    return [
        Result(f"{action}{minutes}{seed}", Cell.of(annotation=action, minutes=minutes).seeded(seed),
               {"mean_dice": value}, 1, 1, "cpu", "2026-01-01", "v")
        for action, curve in curves.items()
        for minutes, value in curve.items()
        for seed in range(3)
    ]  # fmt: skip


def test_quality_is_read_between_the_measured_minutes() -> None:
    results = fabricated({"box": {4.0: 0.4, 16.0: 0.6}})
    assert quality_at(results, "box", 8.0) == pytest.approx(0.5)
    assert np.isnan(quality_at(results, "box", 2.0))


def test_the_conclusion_must_survive_wrong_costs() -> None:
    study = AnnotationTimeStudy()
    clear = fabricated({"click to mask": {4.0: 0.6, 20.0: 0.7}, "outline": {4.0: 0.4, 20.0: 0.5}})
    assert study.finding(clear).holds is True
    narrow = fabricated({"click to mask": {4.0: 0.41, 20.0: 0.61}, "outline": {4.0: 0.4, 20.0: 0.6}})
    assert worst_case(narrow)[0][1] < 0
    assert study.finding(narrow).holds is False
    assert study.finding(fabricated({"outline": {4.0: 0.4, 20.0: 0.6}})).holds is None


def test_remarks_name_the_best_and_when_it_changes() -> None:
    results = fabricated({"click": {4.0: 0.5, 20.0: 0.7}, "box": {4.0: 0.48, 20.0: 0.68}})
    ranking, middle, shifted = AnnotationTimeStudy().remarks(results)
    assert ranking.startswith("Best to worst at 4 min: click 0.500, box 0.480")
    assert middle.startswith("Best to worst at 20 min")
    assert "box × 0.5 → box" in shifted
    assert AnnotationTimeStudy().plot(results).axes
