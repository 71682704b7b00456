"""Users do not wait: they switch slides, change classes, close projects and windows while something runs."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_histoanno.annotation import Annotation, Box, Granularity, Point
from napari_histoanno.jobs.events import JobState
from napari_histoanno.project import Project
from napari_histoanno.session import Session
from tests.gui import tissue

if TYPE_CHECKING:
    from tests.gui.conftest import User

pytestmark = [pytest.mark.gui, pytest.mark.timeout(180)]


def annotate(path: Path) -> None:
    """Boxes of gland and stroma on every slide of a project."""
    with Project.open(path) as project:
        for number, slide in enumerate(project.slides):
            for truth, label in ((tissue.GLAND_TRUTH, tissue.GLAND), (tissue.STROMA_TRUTH, tissue.STROMA)):
                project.annotations.add(
                    Annotation(
                        slide.id,
                        Granularity.PIXEL,
                        Box(p.x - p.reach / 2, p.y - p.reach / 2, p.reach, p.reach),
                        label,
                    )
                    for p in tissue.roomiest(truth, 3, 3 + number)
                )


@pytest.fixture
def project_path(tmp_path: Path) -> Path:
    path = tissue.project_folder(tmp_path, slides=2)
    annotate(path)
    return path


def start_training(user: User) -> Any:
    user.go_to(3)
    form = user.dock.train.settings
    form.steps.setValue(5000)
    form.patch.setValue(64)
    form.batch.setValue(2)
    user.press(user.dock.train.train_button)
    job = user.session.training_job
    user.until(lambda: job.status.step > 2, 90)
    return job


def test_training_goes_on_whatever_the_user_does(user: User, project_path: Path, tmp_path: Path) -> None:
    session, view = user.session, user.view
    session.open_project(project_path)
    user.until(lambda: view.labels is not None)
    view.fly_to((300, 250, 600, 500))
    job = start_training(user)
    user.until(lambda: view.predictions.preview is not None, 30)

    # Another slide: previews follow it.
    first, second = (slide.id for slide in session.project.slides)
    session.set_slide(second if session.slide_id == first else first)
    view.fly_to((300, 250, 600, 500))
    assert view.predictions.preview is None
    user.until(lambda: view.predictions.preview is not None, 30)

    # Other classes: what is shown takes their names and colours; nothing stops.
    scheme = session.project.scheme
    session.set_scheme(scheme.with_changed(tissue.GLAND, name="Crypt").with_class("Fat"))
    seen = job.status.step
    user.until(lambda: job.status.step > seen + 3, 30)
    assert user.dock.train.shown.itemText(1) == "Crypt"
    user.dock.train.shown.setCurrentIndex(2)
    user.until(lambda: view.predictions.probability is not None and view.predictions.probability.visible)
    session.set_scheme(session.project.scheme.without(tissue.STROMA))
    seen = job.status.step
    user.until(lambda: job.status.step > seen + 3, 30)
    session.undo()
    user.dock.train.shown.setCurrentIndex(0)

    # Drawing and undoing.
    session.set_class(tissue.GLAND)
    session.add_annotation(Point(200, 200), Granularity.POINT)
    session.undo()

    # Another project: the training of the first one ends and leaves what it has learnt.
    session.create_project(tmp_path / "other", scheme=tissue.scheme())
    assert not user.errors
    user.until(job.done.is_set, 30)
    assert job.state is JobState.CANCELLED
    assert session.runs() == ()
    user.until(lambda: user.dock.train.train_button.text().endswith("preview"))
    session.open_project(project_path)
    (run,) = session.runs()
    assert run.status == "stopped"
    assert session.newest_model == run.id

    # Another slide, then no project at all, while a slide is predicted.
    user.press(user.dock.train.predict_button)
    prediction = session.jobs[-1]
    assert prediction.kind == "prediction"
    session.set_slide(second if session.slide_id == first else first)
    user.until(lambda: prediction.status.step > 0 or prediction.done.is_set(), 60)
    session.close_project()
    user.until(prediction.done.is_set, 30)
    assert view.labels is None
    assert user.dock.header.slide.text() == "no project"
    session.open_project(project_path)
    (record,) = session.predictions()
    assert record.status in ("partial", "completed")


def test_one_class_is_too_little_and_the_header_says_so(user: User, project_path: Path) -> None:
    session = user.session
    session.open_project(project_path)
    session.delete_annotations([record.id for record in session.project.annotations.query(classes=[tissue.STROMA])])
    user.until(lambda: "Only Gland is annotated" in user.dock.header.next.text())
    user.go_to(3)
    user.press(user.dock.train.train_button)
    user.qtbot.waitUntil(lambda: bool(user.errors), timeout=60_000)
    assert "Annotate at least two classes" in user.dock.header.message.text()
    told = user.dock.train.progress._text
    user.qtbot.waitUntil(lambda: "Annotate at least two classes" in told.text(), timeout=5000)
    user.qtbot.waitUntil(lambda: session.runs() == (), timeout=5000)
    user.qtbot.waitUntil(lambda: user.dock.train.runs.table.rowCount() == 0, timeout=5000)
    user.qtbot.waitUntil(user.dock.train.train_button.isEnabled, timeout=5000)


def test_many_annotations_are_counted_beside_the_window(
    user: User, project_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    with Project.open(project_path) as project:
        slide = project.slides[0].id
        places = rng.uniform((5, 5), (tissue.SIZE[0] - 5, tissue.SIZE[1] - 5), (100_000, 2))
        project.annotations.add(Annotation(slide, Granularity.POINT, Point(x, y), tissue.GLAND) for x, y in places)
    counted_in: list[int] = []
    count = Session.counts

    def counts(self: Session) -> dict[str, int]:
        counted_in.append(threading.get_ident())
        return count(self)

    monkeypatch.setattr(Session, "counts", counts)
    user.session.open_project(project_path)
    user.session.set_slide(slide)
    user.until(lambda: "100000 points" in user.dock.annotate.count.text(), 30)
    assert counted_in
    assert threading.main_thread().ident not in counted_in
    user.view.fly_to((100, 100, 160, 150))
    user.until(lambda: user.view.vectors.detailed)
    ids = [record.id for record in user.session.project.annotations.query(slide, granularities=[Granularity.POINT])]
    user.session.delete_annotations(ids)
    user.until(lambda: user.dock.annotate.count.text() == "6 outlines", 30)
    user.session.undo()
    user.until(lambda: "100000 points" in user.dock.annotate.count.text(), 30)


SCRIPT = """
import sys
import napari
from qtpy.QtCore import QTimer

def main():
    viewer = napari.Viewer()
    _, dock = viewer.window.add_plugin_dock_widget("napari-histoanno", "HistoAnno")
    session = dock.session
    session.error.connect(lambda text: print("ERROR", text, flush=True))
    session.open_project(sys.argv[1])
    dock.train.settings.steps.setValue(100000)
    dock.train.settings.patch.setValue(64)
    dock.train.settings.batch.setValue(2)
    dock.train.train()

    def look():
        if session.training_job.status.step > 3:
            timer.stop()
            print("WORKERS", *session.engine.worker_process_ids(), flush=True)
            viewer.window._qt_window.close()

    timer = QTimer()
    timer.timeout.connect(look)
    timer.start(50)
    QTimer.singleShot(100_000, lambda: sys.exit(3))
    napari.run()
    print("LEFT", session.project, flush=True)

if __name__ == "__main__":  # the worker process imports this file
    main()
"""


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    return state != "Z"  # ended, but not waited for yet


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_closing_the_window_while_training_leaves_no_process_and_a_whole_project(
    project_path: Path, tmp_path: Path
) -> None:
    (tmp_path / "session.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "session.py"), str(project_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if " " in line)
    assert "ERROR" not in lines, lines
    assert lines["LEFT"] == "None"
    workers = [int(number) for number in lines["WORKERS"].split()]
    assert workers
    deadline = time.monotonic() + 10
    while any(alive(process) for process in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(alive(process) for process in workers)
    with Project.open(project_path) as project:
        assert not project.read_only
        (run,) = project.runs.list()
        assert run.status == "stopped"
        assert (project.path / run.path / "model.safetensors").is_file()
        assert project.annotations.count() == 12
