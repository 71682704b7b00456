"""The loop through the session: train, preview, predict, correct, retrain, compare, delete."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_histoanno.annotation import Granularity, Review, Source
from napari_histoanno.datasets.export import ExportSpec
from napari_histoanno.jobs import JobState, PredictionBlock, PreviewResult
from napari_histoanno.project import ModelRun, PredictionRecord, Project
from napari_histoanno.session import Session, SessionError
from tests.jobs.tissue import ENDLESS, HEIGHT, RECIPE, STROMA, TUMOUR, WIDTH

if TYPE_CHECKING:
    from pathlib import Path

    from napari_histoanno.jobs import Job


def ended(job: Job | None) -> Job:
    assert job is not None
    job.wait(60)
    assert job.state is JobState.COMPLETED, job.message
    return job


def project_of(session: Session) -> Project:
    assert session.project is not None
    return session.project


def test_the_loop_from_training_to_retraining(session: Session) -> None:
    project = project_of(session)
    previews: list[PreviewResult] = []
    session.preview.connect(previews.append)
    session.request_preview((0, 0, 128, 128))
    job = ended(session.start_training(RECIPE, name="first"))
    run = session.runs()[0]
    assert (run.name, run.status, run.classes) == ("first", "completed", ("Tumour", "Stroma"))
    assert run.metrics["mean_iou"] == job.status.metrics["mean_iou"]
    assert session.run_status(run.id).losses
    assert previews
    blocks: list[tuple[str, PredictionBlock]] = []
    session.prediction_block.connect(lambda prediction, block: blocks.append((prediction, block)))
    ended(session.predict_slide(region=(0, 0, 300, 300), tissue_only=False))
    (prediction,) = session.predictions()
    assert (prediction.status, prediction.run, prediction.mpp) == ("completed", run.id, RECIPE.mpp)
    assert {identifier for identifier, _ in blocks} == {prediction.id}
    made = session.make_editable(prediction.id)
    assert made is not None
    assert made.pixels > 0
    ended(session.start_training(continue_from=run.id))
    again = session.runs()[1]
    assert again.parent == run.id
    assert set(session.compare_runs()["mean_iou"]) <= {run.id, again.id}
    session.delete_run(run.id)
    assert [r.id for r in session.runs()] == [again.id]
    assert not (project.path / run.path).exists()


def test_pixels_are_taken_over_only_where_nothing_is_labelled(after_prediction: Session) -> None:
    session, predicted = after_prediction, after_prediction.predictions()[-1].id
    project = project_of(session)
    raster = project.raster(project.slides[0].id)
    raster.write(10, 10, np.full((30, 30), 3, np.uint8), action="paint")
    store = session.open_prediction(predicted)
    session.make_editable(predicted, bounds=(0, 0, 200, 150))
    expected = np.asarray(store.levels[0][:150, :200]).copy()
    expected[10:40, 10:40] = 3
    np.testing.assert_array_equal(raster.read(0, 0, 150, 0, 200), expected)
    assert not raster.read(0, 150, HEIGHT, 0, WIDTH).any()
    session.undo()
    assert raster.counts() == {3: 900}


def test_pixels_are_taken_over_everywhere_if_asked_and_of_some_classes(after_prediction: Session) -> None:
    session, predicted = after_prediction, after_prediction.predictions()[-1].id
    project = project_of(session)
    raster = project.raster(project.slides[0].id)
    raster.write(0, 0, np.full((HEIGHT, WIDTH), 3, np.uint8), action="paint")
    store = session.open_prediction(predicted)
    number = int((np.asarray(store.levels[0][:]) == TUMOUR).sum())
    made = session.make_editable(predicted, classes=[TUMOUR], overwrite=True)
    assert made is not None
    assert made.pixels == number == raster.counts()[TUMOUR]


def test_outlines_carry_the_models_confidence(after_prediction: Session) -> None:
    session, predicted = after_prediction, after_prediction.predictions()[-1].id
    project = project_of(session)
    before = project.annotations.count()
    made = session.make_editable(predicted, as_="polygon", min_area=100, simplify=0)
    assert made is not None
    records = project.annotations.query(sources=[Source.PREDICTED])
    assert len(records) == made.outlines == project.annotations.count() - before
    for record in records:
        assert record.granularity is Granularity.PIXEL
        assert record.review is Review.UNREVIEWED
        assert record.class_id in (TUMOUR, STROMA)
        assert record.confidence is not None
        assert 0.5 <= record.confidence <= 1
        assert record.geometry.shape.area >= 100
    session.undo()
    assert project.annotations.count() == before


def test_what_was_taken_over_already_is_refused_the_second_time(after_prediction: Session) -> None:
    session, predicted = after_prediction, after_prediction.predictions()[-1].id
    session.make_editable(predicted, min_confidence=0.0)
    with pytest.raises(SessionError, match="nothing to take over"):
        session.make_editable(predicted)


def test_stopping_keeps_the_model_and_only_one_training_runs(session: Session) -> None:
    job = session.start_training(ENDLESS)
    assert job is not None
    with pytest.raises(SessionError, match="already"):
        session.start_training(ENDLESS)
    with pytest.raises(SessionError, match="Stop the training"):
        session.delete_run(session.runs()[0].id)
    session.stop_training()
    job.wait(60)
    assert job.state is JobState.CANCELLED
    assert session.runs()[0].status == "stopped"
    ended(session.evaluate(on="all"))


def test_a_refused_training_leaves_no_run(session: Session) -> None:
    project = project_of(session)
    project.annotations.delete([record.id for record in project.annotations.query()])
    told: list[str] = []
    session.error.connect(told.append)
    job = session.start_training(RECIPE)
    assert job is not None
    job.wait(60)
    assert job.state is JobState.FAILED
    assert "Annotate at least two classes" in told[-1]
    assert session.runs() == ()


def test_what_a_dead_process_left_is_marked_and_can_be_resumed(after_prediction: Session) -> None:
    path = project_of(after_prediction).path
    after_prediction.close_project()
    with Project.open(path) as project:
        (run,) = project.runs.list()
        project.runs.update(run.id, status="running")
        project.runs.add(ModelRun(name="never began"))
        project.predictions.add(PredictionRecord(slide=project.slides[0].id))
    other = Session(engine=after_prediction.engine)
    other.open_project(path)
    assert {r.status for r in other.runs()} == {"interrupted"}
    assert [p.status for p in other.predictions()] == ["completed", "partial"]
    ended(other.resume_training(run.id))
    assert other.runs()[0].status == "completed"
    with pytest.raises(SessionError, match="left no model"):
        other.resume_training(other.runs()[1].id)
    other.close()


def test_without_a_model_nothing_is_predicted(session: Session) -> None:
    with pytest.raises(SessionError, match="Train one first"):
        session.predict_slide()


def test_an_export_goes_into_the_project_by_default(session: Session) -> None:
    ended(session.export(ExportSpec(kind="geojson")))
    assert (project_of(session).path / "exports" / "geojson" / "manifest.json").is_file()


def test_jobs_are_told_of(session: Session, tmp_path: Path) -> None:
    states: list[str] = []
    session.jobs_changed.connect(lambda job: states.append(job.state))
    ended(session.export(ExportSpec(kind="geojson"), tmp_path / "out"))
    assert states[-1] == "completed"
    assert [job.kind for job in session.jobs] == ["export"]
