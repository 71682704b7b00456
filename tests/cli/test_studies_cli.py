"""The study command: listed, run, stopped and gone on with, for people and machines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from napari_histoanno import studies
from napari_histoanno.cli import main
from tests.studies.toy import ToyStudy

if TYPE_CHECKING:
    from pathlib import Path


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, dict[str, Any]]:
    with pytest.raises(SystemExit) as end:
        main([*map(str, arguments), "--json"])
    out = capsys.readouterr().out
    return int(end.value.code or 0), json.loads(out) if out.strip() else {}


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> ToyStudy:
    study = ToyStudy()
    monkeypatch.setattr(studies, "study_named", lambda _: study)
    return study


def test_studies_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    code, listed = run(capsys, "study", "--list")
    assert code == 0
    assert {"granularity", "sparse", "annotation-time"} <= set(listed["studies"])


def test_an_unknown_study_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, said = run(capsys, "study", "nothing", "--output", tmp_path)
    assert code == 1
    assert "no study 'nothing'" in said["error"]


def test_a_study_runs_and_is_merged(capsys: pytest.CaptureFixture[str], tmp_path: Path, toy: ToyStudy) -> None:
    joint = tmp_path / "RESULTS.md"
    code, said = run(capsys, "study", "toy", "--output", tmp_path / "toy", "--results", joint)
    assert (code, said["verdict"], said["missing"]) == (0, "holds", [])
    assert "## toy" in joint.read_text(encoding="utf-8")
    assert len(toy.ran) == 6


def test_an_interrupted_study_keeps_its_cells(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, toy: ToyStudy
) -> None:
    toy.stop_at = 3
    code, said = run(capsys, "study", "toy", "--output", tmp_path)
    assert code == 3
    assert len(said["missing"]) == 3
    assert (tmp_path / "report.html").is_file()
    toy.stop_at = None
    assert run(capsys, "study", "toy", "--output", tmp_path)[1]["missing"] == []
    assert len(toy.ran) == 6


def test_a_missing_folder_is_said_before_anything_runs(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, toy: ToyStudy
) -> None:
    code, said = run(capsys, "study", "toy", "--nuclei", tmp_path / "none", "--output", tmp_path / "out")
    assert code == 1
    assert "does not exist" in said["error"]
    assert not toy.ran
