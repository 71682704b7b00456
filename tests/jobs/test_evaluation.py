"""An evaluation: the same numbers in JSON and on the page, and pictures that can be looked at."""

from __future__ import annotations

import base64
import io
import json
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from matplotlib import image as pictures

from histotrain.events import Finished, Notice, Status
from napari_histoanno.jobs import EvaluationSpec, run_inline
from napari_histoanno.jobs.evaluation_report import outlined, write_page
from napari_histoanno.jobs.measuring import WORST, Tile, Worst
from tests.jobs.tissue import STROMA, TUMOUR, make_project

if TYPE_CHECKING:
    from pathlib import Path

    from napari_histoanno.project import Project

HEADINGS = ("Result", "Class by class", "Confusion", "Calibration", "Largest mistakes", "Training")


def pictures_in(page: str) -> list[np.ndarray]:
    return [
        pictures.imread(io.BytesIO(base64.b64decode(data)), format="png")
        for data in re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    ]


def tile(error: float, **changes: object) -> Tile:
    image = np.full((16, 16, 3), 200, np.uint8)
    truth = np.zeros((16, 16), np.uint8)
    truth[4:12, 4:12] = TUMOUR
    values = {"image": image, "truth": truth, "predicted": truth.T, "slide": "s", "corner": (3.0, 4.0)}
    return Tile(**{**values, "error": error, "said": "wrong", **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def evaluated(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, str]:
    folder = tmp_path_factory.mktemp("evaluated")
    with make_project(folder) as project:
        spec = EvaluationSpec(project=project.path, model=trained, output=folder / "out" / "evaluation.json", on="all")
        *_, last = run_inline(spec)
    assert isinstance(last, Finished)
    assert last.reason == "completed", last.message
    page = spec.output.with_suffix(".html").read_text(encoding="utf-8")
    return json.loads(spec.output.read_text(encoding="utf-8")), page


def test_the_page_has_all_sections_and_its_pictures_can_be_seen(evaluated: tuple[dict, str]) -> None:
    _, page = evaluated
    assert tuple(re.findall(r"<h2>([^<]+)</h2>", page)) == HEADINGS
    shown = pictures_in(page)
    assert len(shown) >= 3
    assert all(min(picture.shape[:2]) > 100 and np.ptp(picture[..., :3]) > 0.5 for picture in shown)


def test_the_page_says_what_the_json_does(evaluated: tuple[dict, str]) -> None:
    report, page = evaluated
    for name, scores in report["classes"].items():
        row = re.search(rf"<tr><td>{name}</td>(.*?)</tr>", page, re.DOTALL)
        assert row is not None
        found = re.findall(r'class="number">([^<]+)<', row[1])
        expected = [scores[key] for key in ("iou", "dice", "precision", "recall", "f1")]
        assert found == ["-" if value is None else f"{value:.3f}" for value in expected]
    low, high = report["intervals"]["mean_iou"]
    assert 0 <= low <= report["metrics"]["mean_iou"] <= high <= 1
    assert f"{report['metrics']['mean_iou']:.3f}" in page
    assert f"{report['metrics']['macro_f1']:.3f}" in page
    assert report["slides"] == ["slide"]


def test_calibration_counts_every_labelled_pixel(evaluated: tuple[dict, str]) -> None:
    report, _ = evaluated
    found = report["calibration"]
    assert sum(found["counts"]) == report["labelled_pixels"]
    assert [value is None for value in found["accuracy"]] == [count == 0 for count in found["counts"]]
    assert 0 <= found["ece"] <= found["mce"] <= 1


def test_what_was_learnt_from_is_not_hidden(study: Project, trained: Path, tmp_path: Path) -> None:
    spec = EvaluationSpec(project=study.path, model=trained, output=tmp_path / "evaluation.json", on="all")
    notices = [event.message for event in run_inline(spec) if isinstance(event, Notice)]
    page = spec.output.with_suffix(".html").read_text(encoding="utf-8")
    assert any("learnt from slide" in text for text in notices)
    assert "learnt from slide" in page


def test_only_the_worst_are_kept_and_the_worst_comes_first() -> None:
    worst = Worst()
    for error in (0.0, 3.0, 9.0, 1.0, 5.0, 5.0, 2.0, 4.0, 7.0):
        worst.add(tile(error))
    assert [each.error for each in worst.tiles] == [9.0, 7.0, 5.0, 5.0, 4.0, 3.0]
    assert len(worst.tiles) == WORST


def test_outlines_are_drawn_where_the_label_changes_and_nowhere_else() -> None:
    image = np.full((40, 40, 3), 200, np.uint8)
    labels = np.zeros((40, 40), np.uint8)
    labels[10:30, 10:30] = TUMOUR
    labels[20:30, 10:30] = STROMA
    drawn = outlined(image, labels, {TUMOUR: (255, 0, 0), STROMA: (0, 0, 255)})
    assert (drawn[:10] == 200).all()
    assert drawn[10, 15].tolist() == drawn[18, 15].tolist() == [255, 0, 0]
    assert drawn[20, 15].tolist() == drawn[29, 15].tolist() == [0, 0, 255]
    inner = drawn[15, 20].astype(int)
    assert inner[0] > 200 > inner[1] > 100


def test_a_page_without_training_or_mistakes_says_so(tmp_path: Path) -> None:
    report = {"recipe": "r", "network": "n", "task": "clicks", "mpp": 0.25, "on": ["a"], "slides": ["a"], "patches": 1}
    report |= {"notices": [], "classes": {}, "metrics": {"iou": 0.5, "dice": None}}
    write_page(tmp_path / "page.html", report, [], Status(), {})
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert re.findall(r"<h2>([^<]+)</h2>", page) == ["Result", "Largest mistakes", "Training"]
    assert "no record of its training" in page
    assert "0.500" in page


def test_a_page_says_where_a_mistake_lies(tmp_path: Path) -> None:
    report = {"recipe": "r", "network": "n", "task": "nuclei", "mpp": 0.25, "on": "all", "slides": [], "patches": 1}
    report |= {"notices": ["Mind this."], "classes": {}, "metrics": {"aji": 0.25}, "objects": 7}
    report |= {"detection_radius_um": 3.0, "detection_radius_px": 12.0}
    tiles = [tile(1.0), tile(0.5, corner=(float("nan"),) * 2, objects=True)]
    write_page(tmp_path / "page.html", report, tiles, Status(), {TUMOUR: (255, 0, 0)})
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "s, from x 3, y 4 (level-0 pixels): wrong." in page
    assert "<figcaption>s: wrong.</figcaption>" in page
    assert "within 3 µm of its centre, 12 pixels here" in page
    assert "7 objects" in page
    assert "Mind this." in page
    assert len(pictures_in(page)) == 2
