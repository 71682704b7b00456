"""Prediction, evaluation and export as jobs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from histotrain.events import Finished, Progressed
from napari_histoanno.datasets.export import ExportSpec
from napari_histoanno.jobs import (
    DatasetExportSpec,
    EvaluationSpec,
    LocalChannel,
    PredictionBlock,
    PredictionSpec,
    PredictionStore,
    run_inline,
)
from tests.jobs.tissue import HEIGHT, STROMA, TUMOUR, WIDTH

if TYPE_CHECKING:
    from pathlib import Path

    from histotrain.events import Event
    from napari_histoanno.project import Project


def prediction_spec(project: Project, model: Path, **changes: object) -> PredictionSpec:
    values = {
        "project": project.path,
        "prediction": "p",
        "slide": project.slides[0].id,
        "model": model,
        "output": project.path / "predictions" / "p.zarr",
        "tile": 128,
        "overlap": 16,
        "tissue_only": False,
    }
    return PredictionSpec.model_validate(values | changes)


def finished(events: list[Event]) -> Finished:
    last = events[-1]
    assert isinstance(last, Finished)
    return last


def test_a_slide_is_predicted_whole_and_each_block_told_when_it_is_on_disk(study: Project, trained: Path) -> None:
    spec = prediction_spec(study, trained)
    covered = np.zeros((HEIGHT, WIDTH), int)
    events = []
    for event in run_inline(spec):
        events.append(event)
        if isinstance(event, PredictionBlock):
            x0, y0, x1, y1 = (round(value) for value in event.bounds)
            covered[y0:y1, x0:x1] += 1
            block, _ = PredictionStore.open(spec.output).read_classes(event.bounds)
            assert (block > 0).all()
    assert finished(events).reason == "completed"
    assert (covered == 1).all()
    store = PredictionStore.open(spec.output)
    assert store.info.class_ids == (TUMOUR, STROMA)
    assert store.levels[0].shape == (HEIGHT, WIDTH)
    assert set(np.unique(store.levels[0][:])) <= {TUMOUR, STROMA}
    np.testing.assert_array_equal(store.confidence[0][:], store.probability[0][:].max(0))


def test_a_prediction_of_a_region_stays_inside_it(study: Project, trained: Path) -> None:
    spec = prediction_spec(study, trained, region=(100, 60, 260, 200))
    assert finished(list(run_inline(spec))).reason == "completed"
    classes = PredictionStore.open(spec.output).levels[0][:]
    inside = np.zeros(classes.shape, bool)
    inside[60:200, 100:260] = True
    assert (classes[inside] > 0).all()
    assert not classes[~inside].any()


def test_a_cancelled_prediction_keeps_what_is_done(study: Project, trained: Path) -> None:
    channel = LocalChannel()
    spec = prediction_spec(study, trained)
    events = []
    for event in run_inline(spec, channel):
        events.append(event)
        if isinstance(event, PredictionBlock):
            channel.cancel()
    assert finished(events).reason == "cancelled"
    predicted = np.asarray(PredictionStore.open(spec.output).levels[0][:]) > 0
    assert 0 < predicted.mean() < 1


def test_a_model_sees_its_own_resolution(study: Project, trained: Path) -> None:
    study.update_slide(study.slides[0].id, mpp=0.25)
    spec = prediction_spec(study, trained)
    list(run_inline(spec))
    store = PredictionStore.open(spec.output)
    assert (store.downsample, store.info.mpp) == (2.0, 0.5)
    assert store.levels[0].shape == (HEIGHT // 2, WIDTH // 2)


def test_a_missing_model_is_refused_in_words(study: Project, tmp_path: Path) -> None:
    last = finished(list(run_inline(prediction_spec(study, tmp_path / "absent"))))
    assert last.reason == "failed"
    assert "absent" in last.message


def test_an_evaluation_counts_every_labelled_pixel_once(study: Project, trained: Path) -> None:
    spec = EvaluationSpec(project=study.path, model=trained, output=study.path / "evaluation.json", on="all")
    events = list(run_inline(spec))
    metrics = finished(events).metrics
    report = json.loads(spec.output.read_text())
    assert report["metrics"]["mean_iou"] == pytest.approx(metrics["mean_iou"], abs=1e-5)
    assert report["labelled_pixels"] == sum(map(sum, report["confusion"]["counts"])) == 8 * 48 * 48
    assert set(report["classes"]) == {"Tumour", "Stroma"}


def test_without_test_slides_there_is_nothing_to_test_on(study: Project, trained: Path) -> None:
    spec = EvaluationSpec(project=study.path, model=trained, output=study.path / "evaluation.json", on="test")
    assert "marked as test" in finished(list(run_inline(spec))).message


def test_an_export_reports_its_progress(study: Project, tmp_path: Path) -> None:
    dataset = ExportSpec(kind="png", mpp=0.5, patch_size=64)
    events = list(run_inline(DatasetExportSpec(project=study.path, output=tmp_path / "out", dataset=dataset)))
    last = finished(events)
    assert last.reason == "completed", last.message
    assert any(isinstance(event, Progressed) for event in events)
    assert (tmp_path / "out" / "manifest.json").is_file()


def test_a_stopped_export_leaves_nothing(study: Project, tmp_path: Path) -> None:
    channel = LocalChannel()
    channel.cancel()
    dataset = ExportSpec(kind="png", mpp=0.5, patch_size=64)
    events = list(run_inline(DatasetExportSpec(project=study.path, output=tmp_path / "out", dataset=dataset), channel))
    assert finished(events).reason == "cancelled"
    assert not (tmp_path / "out").exists()
