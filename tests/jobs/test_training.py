"""Training on a project: it learns, previews, stops, survives a killed worker, and writes nothing it should not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from histotrain.card import read_card
from histotrain.events import Finished, Phase, Saved, Started, Validated
from napari_histoanno.jobs import (
    JobState,
    LocalChannel,
    PreviewRequest,
    PreviewResult,
    TrainingSpec,
    read_status,
    run_inline,
)
from napari_histoanno.project import Project
from tests.jobs.tissue import ENDLESS, HEIGHT, RECIPE, STROMA, TUMOUR, WIDTH

if TYPE_CHECKING:
    from pathlib import Path

    from napari_histoanno.jobs import Engine, Job


def spec_of(project: Project, **changes: object) -> TrainingSpec:
    values = {"project": project.path, "run": "r", "recipe": RECIPE, "output": project.path / "models" / "r"}
    return TrainingSpec.model_validate(values | changes)


def test_a_training_reports_learns_and_leaves_a_model(study: Project) -> None:
    spec = spec_of(study)
    channel = LocalChannel()
    channel.request_preview(PreviewRequest(study.slides[0].id, 0, 0, WIDTH, HEIGHT))
    events = list(run_inline(spec, channel))
    kinds = [type(event) for event in events]
    assert {Started, Validated, Saved, PreviewResult} <= set(kinds)
    last = events[-1]
    assert isinstance(last, Finished)
    assert last.reason == "completed"
    card = read_card(spec.output)
    assert card.class_ids == (TUMOUR, STROMA)
    assert card.lineage["run"] == "r"
    status = read_status(spec.output)
    assert (status.phase, status.step, status.metrics) == (Phase.COMPLETED, RECIPE.steps, last.metrics)
    assert status.losses


def test_a_preview_shows_the_place_asked_for(study: Project) -> None:
    channel = LocalChannel()
    channel.request_preview(PreviewRequest(study.slides[0].id, 300, 50, 420, 120))
    preview, *_ = [e for e in run_inline(spec_of(study), channel) if isinstance(e, PreviewResult)]
    assert preview.bounds == (300, 50, 420, 120)
    assert preview.probabilities.shape == (2, *preview.classes.shape)
    assert set(np.unique(preview.classes)) <= {TUMOUR, STROMA}
    np.testing.assert_array_equal(preview.confidence, preview.probabilities.max(0))


def test_a_large_view_is_predicted_around_its_centre(study: Project) -> None:
    channel = LocalChannel()
    channel.request_preview(PreviewRequest(study.slides[0].id, 0, 0, WIDTH, HEIGHT, max_pixels=64 * 64))
    preview, *_ = [e for e in run_inline(spec_of(study), channel) if isinstance(e, PreviewResult)]
    x0, y0, x1, y1 = preview.bounds
    assert preview.classes.size <= 64 * 64
    assert (x0 + x1) / 2 == pytest.approx(WIDTH / 2, abs=2)
    assert (y0 + y1) / 2 == pytest.approx(HEIGHT / 2, abs=2)


def test_too_little_annotated_is_refused_in_words(tmp_path: Path) -> None:
    with Project.create(tmp_path / "empty") as project:
        *_, last = run_inline(spec_of(project))
    assert isinstance(last, Finished)
    assert last.reason == "failed"
    assert "Annotate at least two classes" in last.message


def test_a_cancelled_training_keeps_its_model_and_can_be_resumed(study: Project) -> None:
    channel = LocalChannel()
    spec = spec_of(study)
    for event in run_inline(spec, channel):
        if isinstance(event, Saved):
            channel.cancel()
    stopped = read_status(spec.output)
    assert stopped.phase is Phase.CANCELLED
    assert stopped.step < RECIPE.steps
    events = list(run_inline(spec_of(study, resume=spec.output)))
    first = next(event for event in events if isinstance(event, Started))
    assert first.step == stopped.step
    assert read_status(spec.output).phase is Phase.COMPLETED


def test_retraining_starts_from_the_old_weights(study: Project, trained: Path) -> None:
    def first_loss(**changes: object) -> float:
        quick = RECIPE.with_changes(steps=1, validate_every=1)
        name = "fresh" if not changes else "retrained"
        events = run_inline(spec_of(study, recipe=quick, output=study.path / "models" / name, **changes))
        return next(event.loss for event in events if isinstance(event, Validated))

    assert first_loss(init=trained) != first_loss()


@pytest.fixture
def running(engine: Engine, study: Project) -> Job:
    """A training on the worker that has taken its first steps."""
    job = engine.submit(spec_of(study, recipe=ENDLESS))
    deadline = time.monotonic() + 60
    while job.status.step < 2:
        assert time.monotonic() < deadline, job.message or job.state
        time.sleep(0.02)
    return job


def test_the_worker_trains_previews_and_stops_while_the_project_is_annotated(running: Job, study: Project) -> None:
    seen = threading.Event()
    running.preview.connect(lambda _: seen.set())
    running.request_preview(PreviewRequest(study.slides[0].id, 0, 0, 128, 128))
    study.set_annotator("Grace")  # the owner goes on writing while the worker reads
    assert seen.wait(30)
    asked = time.monotonic()
    running.cancel()
    running.wait(30)
    assert running.state is JobState.CANCELLED
    assert time.monotonic() - asked < 10  # it still validates and saves
    assert running.status.path is not None


def test_a_worker_killed_in_mid_training_fails_the_job_and_keeps_the_last_checkpoint(
    engine: Engine, study: Project
) -> None:
    spec = spec_of(study, recipe=ENDLESS.with_changes(validate_every=2))
    job = engine.submit(spec)
    saved = threading.Event()
    job.event.connect(lambda event: saved.set() if isinstance(event, Saved) else None)
    assert saved.wait(60), job.message
    (pid,) = engine.worker_process_ids()
    os.kill(pid, signal.SIGKILL)
    job.wait(20)
    assert job.state is JobState.FAILED
    assert "worker process died" in job.message
    assert read_card(spec.output).step >= 2
    again = engine.submit(spec_of(study, init=spec.output, recipe=RECIPE.with_changes(steps=2, validate_every=2)))
    assert again.wait(60).phase is Phase.COMPLETED, again.message


def test_the_submitting_process_never_imports_torch(study: Project) -> None:
    script = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from histotrain.recipes import Recipe
        from napari_histoanno.session import Session

        if __name__ == "__main__":
            session = Session()
            session.open_project(Path(sys.argv[1]))
            session.request_preview((0, 0, 64, 64))
            job = session.start_training(Recipe.model_validate_json(sys.argv[2]))
            status = job.wait(120)
            print(status.phase, len(session.runs()), session.runs()[0].status)
            session.close()
            assert status.phase == "completed", job.message
            loaded = {"torch", "napari", "qtpy", "torchvision"} & set(sys.modules)
            assert not loaded, loaded
        """
    )
    study.close()
    recipe = RECIPE.with_changes(steps=2, validate_every=2).model_dump_json()
    result = subprocess.run(
        [sys.executable, "-c", script, str(study.path), recipe], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["completed", "1", "completed"]
