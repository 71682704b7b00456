"""Model runs and predictions: records with files beside, outside the undo timeline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from napari_histoanno.annotation import Annotation, Granularity, Point
from napari_histoanno.project import Change, ModelRun, PredictionRecord, Project, ProjectError, SlideRecord

if TYPE_CHECKING:
    from collections.abc import Callable


def test_runs_come_back_as_they_were(project: Project, reopen: Callable[[], Project]) -> None:
    first = project.runs.add(ModelRun("first", {"steps": 5}, classes=("tumour", "stroma")))
    second = project.runs.add(ModelRun("second", parent=first.id))
    second = project.runs.update(second.id, status="completed", metrics={"dice": 0.5})
    assert first.path == f"models/{first.id}"
    project.close()
    with reopen() as again:
        assert again.runs.list() == (first, second)
        assert again.runs.get(second.id).metrics == {"dice": 0.5}


def test_predictions_come_back_as_they_were(
    project: Project, slide: SlideRecord, reopen: Callable[[], Project]
) -> None:
    whole = project.predictions.add(PredictionRecord(slide.id, mpp=0.5))
    part = project.predictions.add(PredictionRecord(slide.id, run="r", region=(0.0, 0.0, 10.5, 20.0)))
    part = project.predictions.update(part.id, status="completed")
    assert whole.path == f"predictions/{whole.id}.zarr"
    project.close()
    with reopen() as again:
        assert again.predictions.list() == again.predictions.list(slide.id) == (whole, part)
        assert again.predictions.get(part.id).region == (0.0, 0.0, 10.5, 20.0)


def test_deleting_deletes_the_files_and_leaves_a_note(project: Project, slide: SlideRecord) -> None:
    run = project.runs.add(ModelRun("net"))
    prediction = project.predictions.add(PredictionRecord(slide.id, run=run.id))
    for record in (run, prediction):
        (project.path / record.path).mkdir()
        (project.path / record.path / "data").touch()
    project.runs.delete(run.id)
    project.predictions.delete(prediction.id)
    assert project.runs.list() == project.predictions.list() == ()
    assert not (project.path / run.path).exists()
    assert not (project.path / prediction.path).exists()
    notes = [entry.action for entry in project.history.entries()]
    assert notes[:2] == ["delete prediction", "delete model run “net”"]


@pytest.mark.parametrize("path", ["../keep", ".", "models/../../keep"])
def test_deleting_never_leaves_the_project(project: Project, path: str) -> None:
    (project.path.parent / "keep").mkdir()
    run = project.runs.add(ModelRun("net", path=path))
    project.runs.delete(run.id)
    assert (project.path.parent / "keep").exists()
    assert (project.path / "project.db").exists()


def test_undo_passes_runs_and_predictions_by(project: Project, slide: SlideRecord) -> None:
    project.annotations.add([Annotation(slide.id, Granularity.POINT, Point(1, 1), 1)])
    project.history.undo()
    project.runs.add(ModelRun("net"))
    project.predictions.add(PredictionRecord(slide.id))
    assert project.history.redo_text == "draw"
    project.history.redo()
    project.history.undo()
    assert len(project.runs.list()) == 1


def test_unknown_and_taken_ids_are_refused(project: Project, slide: SlideRecord) -> None:
    run = project.runs.add(ModelRun("net"))
    prediction = project.predictions.add(PredictionRecord(slide.id))
    for act in (
        lambda: project.runs.add(run),
        lambda: project.runs.get("x"),
        lambda: project.runs.update("x", status="failed"),
        lambda: project.runs.update(run.id, colour="red"),
        lambda: project.runs.delete("x"),
        lambda: project.predictions.add(prediction),
        lambda: project.predictions.add(PredictionRecord("elsewhere")),
        lambda: project.predictions.get("x"),
        lambda: project.predictions.update(prediction.id, slide="elsewhere"),
        lambda: project.predictions.delete("x"),
    ):
        with pytest.raises(ProjectError):
            act()
    assert project.runs.list() == (run,)
    assert project.predictions.list() == (prediction,)


def test_changes_are_announced(project: Project, slide: SlideRecord) -> None:
    heard: list[Change] = []
    project.changed.connect(heard.append)
    run = project.runs.add(ModelRun("net"))
    project.runs.update(run.id, status="completed")
    project.predictions.add(PredictionRecord(slide.id))
    assert [(change.kind, change.slide) for change in heard] == [
        ("runs", None),
        ("runs", None),
        ("predictions", slide.id),
    ]
