"""Studies stop, go on, know what they lack, and do their sums."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_histoanno.studies import (
    Cell,
    CellFinished,
    CellStarted,
    Result,
    StudyEnded,
    StudyError,
    StudyOptions,
    StudyRun,
    study_named,
    write_outputs,
    write_results,
)
from napari_histoanno.studies.results import ResultLog
from napari_histoanno.studies.tables import Spread, by_seed, difference, spread
from tests.studies.toy import ToyStudy

if TYPE_CHECKING:
    from pathlib import Path


def made(seed: int, quality: float, **params: str) -> Result:
    """A fabricated result."""
    return Result(f"{params}{seed}", Cell.of(**params).seeded(seed), {"q": quality}, 1.0, 2.0, "cpu", "2026-01-01", "v")


def test_cells_run_seed_by_seed(tmp_path: Path) -> None:
    study = ToyStudy()
    list(StudyRun(study, tmp_path, StudyOptions(seeds=2)).events())
    assert study.ran == [("low", 0), ("high", 0), ("low", 1), ("high", 1)]


def test_an_interrupted_study_goes_on_where_it_stopped(tmp_path: Path) -> None:
    options = StudyOptions(seeds=3)
    first = ToyStudy(stop_at=4)
    with pytest.raises(KeyboardInterrupt):
        list(StudyRun(first, tmp_path, options).events())
    again = ToyStudy()
    run = StudyRun(again, tmp_path, options)
    assert len(run.missing) == 2
    list(run.events())
    assert again.ran == [("low", 2), ("high", 2)]
    assert not run.missing
    whole = StudyRun(ToyStudy(), tmp_path / "whole", options)
    list(whole.events())
    assert [r.metrics["quality"] for r in run.results] == [r.metrics["quality"] for r in whole.results]


def test_a_line_cut_off_by_a_kill_is_run_again(tmp_path: Path) -> None:
    options = StudyOptions(seeds=1)
    list(StudyRun(ToyStudy(), tmp_path, options).events())
    file = tmp_path / "results.jsonl"
    file.write_bytes(file.read_bytes()[:-40])
    study = ToyStudy()
    run = StudyRun(study, tmp_path, options)
    list(run.events())
    assert study.ran == [("high", 0)]
    assert len(ResultLog(file).read()) == 2
    assert all(json.loads(line) for line in file.read_text().splitlines())


def test_damage_elsewhere_is_said_and_not_skipped(tmp_path: Path) -> None:
    list(StudyRun(ToyStudy(), tmp_path, StudyOptions(seeds=1)).events())
    file = tmp_path / "results.jsonl"
    file.write_text("{broken\n" + file.read_text())
    with pytest.raises(StudyError, match="line 1"):
        StudyRun(ToyStudy(), tmp_path, StudyOptions(seeds=1))


def test_results_of_other_values_are_not_taken(tmp_path: Path) -> None:
    options = StudyOptions(seeds=1)
    list(StudyRun(ToyStudy(), tmp_path, options).events())
    other = ToyStudy(scale=2.0)
    list(StudyRun(other, tmp_path, options).events())
    assert len(other.ran) == 2
    assert len(ResultLog(tmp_path / "results.jsonl").read()) == 4


def test_the_budget_ends_a_run_and_names_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(np.arange(0, 1000, 25.0).tolist())
    monkeypatch.setattr("napari_histoanno.studies.runner.time.monotonic", lambda: next(clock))
    run = StudyRun(ToyStudy(), tmp_path, StudyOptions(seeds=3, budget=1.0))
    events = list(run.events())
    assert isinstance(events[-1], StudyEnded)
    assert (events[-1].reason, events[-1].missing) == ("budget", len(run.missing))
    assert 0 < len(run.results) < 6
    report = write_outputs(run)
    assert len(report.missing) == len(run.missing)
    assert f"Missing cells: main, {run.missing[0]['level']}, seed {run.missing[0].seed}" in (
        tmp_path / "table.md"
    ).read_text(encoding="utf-8")


def test_the_time_left_is_that_of_the_missing_cells(tmp_path: Path) -> None:
    run = StudyRun(ToyStudy(), tmp_path, StudyOptions(seeds=2))
    started = [event for event in run.events() if isinstance(event, CellStarted)]
    assert np.isnan(started[0].eta_seconds)
    seconds = [result.seconds for result in run.results]
    assert started[1].eta_seconds == pytest.approx(3 * seconds[0])
    assert started[3].eta_seconds == pytest.approx(seconds[1])


def test_finished_cells_are_told_with_their_result(tmp_path: Path) -> None:
    run = StudyRun(ToyStudy(), tmp_path, StudyOptions(seeds=1))
    finished = [event for event in run.events() if isinstance(event, CellFinished)]
    assert [event.result for event in finished] == run.results


def test_spread_is_that_of_numpy() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=7)
    found = Spread.of([*values, float("nan")])
    assert (found.mean, found.sd, found.count) == (
        pytest.approx(values.mean()),
        pytest.approx(values.std(ddof=1)),
        7,
    )
    assert found.error == pytest.approx(values.std(ddof=1) / np.sqrt(7))
    assert Spread.of([]).text() == "–"
    assert Spread.of([0.25]).text() == "0.250"


def test_differences_pair_the_seeds_that_both_have() -> None:
    results = [made(s, q, a="x") for s, q in enumerate((0.5, 0.7, 0.9, 0.1))]
    results += [made(s, q, a="y") for s, q in enumerate((0.4, 0.8, 0.7))]
    found = difference(results, "q", {"a": "x"}, {"a": "y"})
    pairs = np.array([0.1, -0.1, 0.2])
    assert found.spread.mean == pytest.approx(pairs.mean())
    assert found.spread.sd == pytest.approx(pairs.std(ddof=1))
    assert (found.spread.count, found.agreeing, found.enough, found.positive) == (3, 2, True, True)
    assert not found.clear


def test_a_clear_difference_exceeds_twice_its_error() -> None:
    results = [made(s, 0.5 + 0.01 * s, a="x") for s in range(3)] + [made(s, 0.3, a="y") for s in range(3)]
    assert difference(results, "q", {"a": "x"}, {"a": "y"}).clear
    assert not difference(results, "q", {"a": "y"}, {"a": "x"}).positive


def test_settings_of_one_seed_are_averaged_before_seeds_are() -> None:
    results = [made(0, 0.2, a="x", b="1"), made(0, 0.4, a="x", b="2"), made(1, 0.5, a="x", b="1")]
    assert by_seed(results, "q", {"a": "x"}) == {0: pytest.approx(0.3), 1: 0.5}
    assert spread(results, "q", {"a": "x"}).count == 2


def test_outputs_show_mean_spread_paper_and_finding(tmp_path: Path) -> None:
    run = StudyRun(ToyStudy(), tmp_path, StudyOptions(seeds=3))
    list(run.events())
    report = write_outputs(run)
    assert report.finding.holds is True
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    expected = Spread.of(r.metrics["quality"] for r in run.results if r.cell["level"] == "high")
    assert f"| high | {expected.text()} | 0.700 | – | 3 |" in text
    assert "| low |" in text
    assert "High beats low** – *holds.*" in text
    assert "Settings of the full grid that were not run: main, highest." in text
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "data:image/png" in page
    assert "table 1" in text
    with (tmp_path / "table.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    high = next(r for r in rows if "level=high" in r["setting"] and r["quantity"] == "quality")
    assert float(high["mean"]) == expected.mean
    assert (float(high["paper"]), high["source"], high["seeds"]) == (0.7, "table 1", "3")


def test_two_seeds_conclude_nothing(tmp_path: Path) -> None:
    run = StudyRun(ToyStudy(), tmp_path, StudyOptions(seeds=2))
    list(run.events())
    assert write_outputs(run).finding.verdict == "not enough data"


def test_a_run_without_results_still_says_what_is_missing(tmp_path: Path) -> None:
    report = write_outputs(StudyRun(ToyStudy(), tmp_path, StudyOptions()))
    assert len(report.missing) == 6
    assert report.finding.holds is None


def test_results_of_studies_are_merged_and_replaced(tmp_path: Path) -> None:
    run = StudyRun(ToyStudy(), tmp_path / "toy", StudyOptions(seeds=1))
    list(run.events())
    write_outputs(run)
    joint = tmp_path / "RESULTS.md"
    joint.write_text("# Results\n\nOurs.\n\n<!-- study other -->\nkept\n<!-- end of study other -->\n")
    write_results(joint, [tmp_path / "toy"])
    once = joint.read_text()
    write_results(joint, [tmp_path / "toy"])
    assert joint.read_text() == once
    assert once.count("## toy") == 1
    assert "kept" in once
    with pytest.raises(StudyError, match="no output of a study"):
        write_results(joint, [tmp_path])


def test_unknown_names_and_senseless_options_are_refused() -> None:
    with pytest.raises(StudyError, match="no study 'nothing'"):
        study_named("nothing")
    with pytest.raises(StudyError, match="at least one seed"):
        StudyOptions(seeds=0)
    with pytest.raises(StudyError, match="budget"):
        StudyOptions(budget=0)
