"""Strokes stay inside of their tissue, rectangles are complete, and balancings are compared as the paper does."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_histoanno.studies import Cell, Result, StudyOptions, sparse
from napari_histoanno.studies.sparse import PAPER_DICE, PAPER_OVERALL, SparseStudy, sparse_labels, training_patches

if TYPE_CHECKING:
    from pathlib import Path

    from napari_histoanno.studies.scenes import Scene


def test_strokes_are_right_and_leave_most_unlabelled(scene: Scene) -> None:
    labels = sparse_labels(scene, np.random.default_rng(0))
    assert 0 < (labels > 0).mean() < 0.2
    assert (labels[labels > 0] == scene.regions[labels > 0]).mean() > 0.99


def test_combined_training_sees_all_strokes_and_a_fifth_of_the_rectangles(scene: Scene) -> None:
    scenes = [scene] * 5
    parts = {kind: training_patches(kind, scenes, 3, size=64, region=128) for kind in sparse.ANNOTATIONS}
    strokes, dense, combined = (parts[kind] for kind in sparse.ANNOTATIONS)
    assert strokes.labels is not None
    assert combined.labels is not None
    np.testing.assert_array_equal(combined.labels[: len(strokes)], strokes.labels)
    added = combined[len(strokes) :]
    assert 0 < len(added) < len(dense)
    assert combined.weights[: len(strokes)].sum() == pytest.approx(4 * added.weights.sum())


def test_the_papers_numbers_are_complete() -> None:
    assert all(len(row) == 9 for row in PAPER_DICE.values())
    assert np.mean(list(PAPER_DICE.values()), axis=0)[3:] == pytest.approx(PAPER_OVERALL[3:], abs=0.02)
    study = SparseStudy()
    assert sum(n.quantity == "overall" for n in study.paper) == len(study.cells(StudyOptions())) == 9


def test_a_cell_trains_and_measures(slide_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = sparse.QUICK.recipe | {"model": "unet/resnet18", "steps": 1, "validate_every": 1, "precision": "float32"}
    tiny = replace(sparse.QUICK, slides=(1, 0, 1), side=256, region=96, recipe=recipe)
    monkeypatch.setattr(sparse, "QUICK", tiny)
    study = SparseStudy()
    options = StudyOptions(cache=slide_cache, device="cpu")
    metrics = study.run_cell(Cell.of(annotation="combined", balancing="instance"), study.prepare(options))
    assert 0 <= metrics["overall"] <= 1
    assert {q.name for table in study.tables for q in table.quantities} <= set(metrics)


def fabricated(values: dict[tuple[str, str], float], seeds: int = 3) -> list[Result]:
    return [
        Result(f"{key}{seed}", Cell.of(annotation=key[0], balancing=key[1]).seeded(seed),
               {"overall": value + 0.01 * seed}, 1, 1, "cpu", "2026-01-01", "v")
        for key, value in values.items()
        for seed in range(seeds)
    ]  # fmt: skip


PAPERS = {("sparse", "none"): 0.61, ("sparse", "instance"): 0.62, ("sparse", "mini-batch"): 0.65,
          ("dense", "none"): 0.68, ("combined", "instance"): 0.68}  # fmt: skip


def test_the_papers_own_numbers_hold() -> None:
    assert SparseStudy().finding(fabricated(PAPERS)).holds is True


@pytest.mark.parametrize(
    "changed", [{("sparse", "mini-batch"): 0.6}, {("sparse", "none"): 0.63}, {("combined", "instance"): 0.6}]
)
def test_each_part_of_the_finding_can_fail(changed: dict[tuple[str, str], float]) -> None:
    found = SparseStudy().finding(fabricated(PAPERS | changed))
    assert found.holds is False
    assert found.evidence.count("not as in the paper") == 1


def test_two_seeds_are_not_enough() -> None:
    assert SparseStudy().finding(fabricated(PAPERS, seeds=2)).holds is None


def test_the_plot_and_the_remark_come_from_the_numbers() -> None:
    study = SparseStudy()
    assert study.plot(fabricated(PAPERS)).axes
    assert "none 0.625, instance 0.614" in study.remarks([])[0]
