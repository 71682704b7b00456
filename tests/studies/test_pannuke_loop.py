"""The loop: fields and dots, rounds that go on from each other, and effort beside that of two who do not learn."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_histoanno.studies import Cell, Result, StudyOptions, pannuke_loop, rounds, study_named
from napari_histoanno.studies.fields import VisualField, discs, dotted_patches, fields_of
from napari_histoanno.studies.pannuke_loop import ROUNDS, PannukeLoop
from napari_histoanno.studies.pathologist import Dots
from napari_histoanno.studies.rounds import Scale, masks_quality
from napari_histoanno.studies.scenes import NUCLEUS_CLASSES, Scene

if TYPE_CHECKING:
    from pathlib import Path

TINY = Scale((2, 0, 1), 512, 128, 64, 1, 1, 1, (1, 1), 1e-3)


def test_fields_know_the_nuclei_that_lie_in_them(scene: Scene) -> None:
    fields = fields_of(scene.image, scene.instances, scene.nucleus_classes, 128)
    assert fields
    for field in fields:
        dots = field.dots()
        assert len(dots) == len(np.unique(field.instances)) - 1 >= 8
        assert min(np.bincount(field.instances.ravel())[np.unique(field.instances)]) >= 24
        assert (dots.points >= 0).all()
        assert (dots.points <= 128).all()


def test_a_dot_becomes_a_disc_of_its_class() -> None:
    numbers = discs(np.array([[10.5, 20.5], [14.5, 20.5], [0.2, 0.2]]), (40, 30))
    assert numbers[20, 10] == 1
    assert numbers[20, 14] == 2
    assert numbers[0, 0] == 3
    assert numbers[20, 11] == 1
    assert (numbers > 0).sum() < 3 * 37
    field = VisualField(np.zeros((40, 30, 3), np.uint8), np.zeros((40, 30), np.int32), np.zeros(1, np.uint8))
    marked = dotted_patches([field], [Dots(np.array([[10.5, 20.5]]), np.array([2]))], 30, {1: "a", 2: "b"})
    assert marked.instances is not None
    assert marked.labels is not None
    assert set(np.unique(marked.labels)) == {0, 2}
    np.testing.assert_array_equal(marked.labels > 0, marked.instances > 0)


def test_masks_of_dots_are_compared_with_the_truth(scene: Scene) -> None:
    field = fields_of(scene.image, scene.instances, scene.nucleus_classes, 128)[0]
    names = dict(NUCLEUS_CLASSES)
    of_all, of_none = (masks_quality([field], [dots], names) for dots in (field.dots(), Dots.none()))
    assert of_all["bpq"] > 0.4
    assert of_none["bpq"] == 0


def test_rounds_go_on_from_each_other(slide_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pannuke_loop, "QUICK", TINY)
    monkeypatch.setattr(pannuke_loop, "ROUNDS", 2)
    trained: list[tuple[int, Path | None]] = []
    plain = rounds.learn

    def counted(recipe, patches, *, device, init, folder):  # type: ignore[no-untyped-def]
        trained.append((len(patches), init))
        return plain(recipe.with_changes(batch_size=2), patches, device=device, init=init, folder=folder)

    monkeypatch.setattr(rounds, "learn", counted)
    study = PannukeLoop()
    data = study.prepare(StudyOptions(device="cpu", cache=slide_cache))
    second = study.run_cell(Cell.of(data="synthetic", round=2), data)
    first = study.run_cell(Cell.of(data="synthetic", round=1), data)
    assert [count for count, _ in trained] == [4, 8, 12]
    assert [init if init is None else init.name for _, init in trained] == [None, "0", "1"]
    assert {q.name for table in study.tables for q in table.quantities if "/" not in q.name} <= set(second)
    assert first["clicks_per_nucleus"] == first["frozen_clicks_per_nucleus"]
    assert first["scratch_clicks_per_nucleus"] == pytest.approx(1, abs=0.2)
    data.scratch.cleanup()


def results(clicks: dict[int, float], by_hand: float = 1.0) -> list[Result]:
    return [
        Result(f"{number}{seed}", Cell.of(data="synthetic", round=number).seeded(seed),
               {"clicks_per_nucleus": value + 0.01 * seed, "scratch_clicks_per_nucleus": by_hand,
                "frozen_clicks_per_nucleus": 0.9, "seconds_per_nucleus": 2.0, "seconds_if_half": 1.5,
                "seconds_if_more": 2.5, "scratch_seconds_per_nucleus": 1.0}, 1, 1, "cpu", "", "")
        for number, value in clicks.items() for seed in range(3)
    ]  # fmt: skip


def test_the_finding_is_a_fall_below_all_by_hand() -> None:
    study = study_named("pannuke-loop")
    assert study.finding(results({1: 0.8, ROUNDS: 0.4})).holds is True
    assert study.finding(results({1: 0.4, ROUNDS: 0.8})).holds is False
    assert study.finding(results({1: 2.0, ROUNDS: 1.4})).holds is False
    assert study.finding(results({1: 0.8})).holds is None
    assert "dearer" in study.remarks(results({1: 0.8, ROUNDS: 0.4}))[0]


def test_real_nuclei_are_a_second_loop(tmp_path: Path) -> None:
    study = PannukeLoop()
    options = StudyOptions(nuclei=tmp_path)
    assert len(study.cells(options)) == 2 * ROUNDS == 2 * len(study.cells(replace(options, nuclei=None)))
    assert len(study.plot(results({1: 0.8, ROUNDS: 0.4})).get_axes()) == 3
