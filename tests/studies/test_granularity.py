"""Windows and masks of every granularity, and a training of two steps on each."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
import tifffile

from napari_histoanno.annotation import Granularity
from napari_histoanno.studies import Cell, Result, StudyError, StudyOptions, granularity, study_named
from napari_histoanno.studies.granularity import GranularityStudy, mask_scores
from napari_histoanno.studies.nuclei import GRANULARITIES, Nuclei, graded_windows, load_real, window_patches

if TYPE_CHECKING:
    from pathlib import Path

TINY_STEPS = {"encoder_weights": None, "steps": 1, "validate_every": 1, "precision": "float32"}


def toy(height: int = 64, width: int = 64) -> Nuclei:
    """A normal nucleus at the top left and a neoplastic, slanting one that reaches towards the middle."""
    instances = np.zeros((height, width), np.int32)
    instances[4:12, 4:12] = 1
    cv2.line(instances, (18, 24), (36, 42), 2, 3)
    return Nuclei("toy", np.zeros((height, width, 3), np.uint8), instances, np.array([0, 1, 3], np.uint8))


def test_masks_grow_from_pixel_to_box() -> None:
    areas = {name: (toy().mask(kind) == 4).sum() for name, kind in GRANULARITIES.items()}
    assert areas["pixel"] == (toy().instances == 2).sum()
    assert areas["box"] > 3 * areas["pixel"]
    assert areas["ellipse"] == pytest.approx(areas["pixel"], rel=0.1)


def test_a_box_reaches_into_windows_that_its_nucleus_does_not() -> None:
    # The window at (0, 32) holds the upper right corner of the slanting nucleus' box, and none of its pixels.
    nuclei = toy()
    assert not (nuclei.instances[0:32, 32:64] == 2).any()
    other = nuclei.instances.copy()
    other[4:12, 44:52] = 3
    more = Nuclei("toy", nuclei.image, other, np.array([0, 1, 3, 1], np.uint8))
    grades = {}
    for name, kind in GRANULARITIES.items():
        places, found = graded_windows(more, kind, 32)
        grades[name] = {tuple(place): int(grade) for place, grade in zip(places.tolist(), found, strict=True)}
    assert grades["pixel"][0, 32] == 1
    assert grades["box"][0, 32] == 3


def test_windows_without_a_whole_nucleus_are_discarded() -> None:
    places, _ = graded_windows(toy(), Granularity.PIXEL, 32)
    assert [0, 0] in places.tolist()
    assert [32, 32] not in places.tolist()


@pytest.mark.parametrize("size", [32, 64])
def test_kept_windows_are_those_a_plain_loop_keeps(nuclei: Nuclei, size: int) -> None:
    places, grades = graded_windows(nuclei, Granularity.PIXEL, size)
    found = {tuple(place): int(grade) for place, grade in zip(places.tolist(), grades, strict=True)}
    ids, totals = np.unique(nuclei.instances, return_counts=True)
    areas = dict(zip(ids.tolist(), totals.tolist(), strict=True))
    expected = {}
    for row in range(0, nuclei.instances.shape[0] - size + 1, size // 2):
        for column in range(0, nuclei.instances.shape[1] - size + 1, size // 2):
            here, counts = np.unique(nuclei.instances[row : row + size, column : column + size], return_counts=True)
            if any(n and areas[n] == count for n, count in zip(here.tolist(), counts.tolist(), strict=True)):
                expected[row, column] = int(nuclei.grades[here].max())
    assert found == expected


def test_every_grade_gets_as_many_windows(nuclei: Nuclei) -> None:
    patches = window_patches([nuclei, nuclei], Granularity.BOX, 32, resized=48, most=20, rng=np.random.default_rng(0))
    assert patches.images.shape[1:] == (48, 48, 3)
    assert patches.patch_classes is not None
    counts = np.bincount(patches.patch_classes)[1:]
    assert len(set(counts.tolist())) == 1
    assert counts[0] <= 20


def test_scores_of_masks_are_those_of_the_paper() -> None:
    matrix = np.zeros((5, 5), np.int64)
    matrix[1, 1], matrix[1, 3] = 80, 20  # background, a fifth found as benign
    matrix[2, 2], matrix[2, 1] = 10, 10
    matrix[4, 4], matrix[4, 3], matrix[4, 1] = 6, 2, 2
    scores = mask_scores(matrix)
    assert scores["nuclei_recall"] == pytest.approx((10 + 6 + 2) / 30)
    assert scores["cancer_recall"] == pytest.approx(6 / 10)
    assert scores["dice"] == pytest.approx(2 * 18 / (30 + 38))


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        granularity,
        "QUICK",
        replace(
            granularity.QUICK,
            slides=(1, 0, 1),
            side=512,
            windows=6,
            classifier=TINY_STEPS | {"patch_size": 32, "batch_size": 4},
            segmenter=TINY_STEPS | {"patch_size": 64, "batch_size": 2},
        ),
    )


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("number", [0, 6])
def test_a_cell_trains_and_measures(slide_cache: Path, number: int) -> None:
    options = StudyOptions(cache=slide_cache, device="cpu")
    study = GranularityStudy()
    cell = study.cells(options)[number]
    metrics = study.run_cell(cell, study.prepare(options))
    names = {q.name for table in study.tables if cell.fits(table.only) for q in table.quantities}
    assert names <= set(metrics)
    assert all(np.isnan(v) or 0 <= v <= 1 for v in metrics.values())
    assert metrics == study.run_cell(cell, study.prepare(options))


@pytest.mark.usefixtures("tiny")
def test_real_nuclei_are_learnt_from_a_folder(tmp_path: Path, nuclei: Nuclei) -> None:
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
    for number in range(4):
        window = np.s_[number * 96 : number * 96 + 96, 128:256]
        cv2.imwrite(str(tmp_path / "images" / f"p{number}.png"), nuclei.image[window])
        tifffile.imwrite(tmp_path / "labels" / f"p{number}.tif", nuclei.instances[window].astype(np.uint16))
    options = StudyOptions(nuclei=tmp_path, device="cpu")
    study = GranularityStudy()
    cell = next(c for c in study.cells(options) if c["task"] == "segment real nuclei")
    assert 0 <= study.run_cell(cell, study.prepare(options))["dice"] <= 1
    (tmp_path / "labels" / "p2.tif").unlink()
    with pytest.raises(StudyError, match=r"p2\.png has no instance map"):
        load_real(tmp_path)


def test_the_full_grid_is_the_papers() -> None:
    study = study_named("granularity")
    cells = study.cells(StudyOptions("full"))
    assert len(cells) == 3 * 3 * 3 + 3 * 3
    covered = [any(n.covers(cell) for n in study.paper) for cell in cells]
    assert all(covered)
    assert len(study.paper) == 27 * 3 + 9 * 4


def fabricated(quality: dict[str, float]) -> list[Result]:
    """Three seeds of one segmenter."""
    return [
        Result(f"{g}{seed}", Cell.of(task="segment", network="unet", granularity=g).seeded(seed),
               {"dice": value + 0.01 * seed, "own_dice": value}, 1, 1, "cpu", "2026-01-01", "v")
        for g, value in quality.items()
        for seed in range(3)
    ]  # fmt: skip


def test_the_finding_needs_every_step_of_the_order() -> None:
    study = GranularityStudy()
    assert study.finding(fabricated({"box": 0.7, "ellipse": 0.8, "pixel": 0.9})).holds is True
    against = study.finding(fabricated({"box": 0.7, "ellipse": 0.9, "pixel": 0.8}))
    assert against.holds is False
    assert "1 of 2 differences" in against.evidence
    assert study.finding(fabricated({"box": 0.7, "pixel": 0.9})).holds is None
    assert study.finding([]).holds is None
    assert "best: pixel" in study.remarks(fabricated({"box": 0.7, "ellipse": 0.8, "pixel": 0.9}))[0]


def test_the_plot_shows_a_panel_for_each_setting() -> None:
    figure = GranularityStudy().plot(fabricated({"box": 0.7, "ellipse": 0.8, "pixel": 0.9}))
    assert [axis.get_title() for axis in figure.axes] == ["unet, segment"]


def test_what_is_known_is_said_before_all_of_it_is() -> None:
    results = fabricated({"box": 0.7, "ellipse": 0.8, "pixel": 0.9})
    partial = [r for r in results if r.cell["granularity"] != "box" or r.cell.seed == 0]
    found = GranularityStudy().finding(partial)
    assert found.holds is None
    assert "1 of 1 differences" in found.evidence
    assert "1 more have too few seeds" in found.evidence
