"""The main job, driven through the dock of a real napari window as a user would: with the mouse and the keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QInputDialog, QPushButton

from napari_histoanno.annotation import Granularity, Source
from napari_histoanno.annotation.tools import Tool
from napari_histoanno.jobs.events import JobState
from tests.gui import tissue

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_histoanno.project import Project
    from tests.gui.conftest import User

pytestmark = [pytest.mark.gui, pytest.mark.timeout(180)]

CTRL = Qt.KeyboardModifier.ControlModifier
CLASSES = ("Gland", "Stroma")


def test_the_whole_loop(
    open_window: Callable[[], User], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qtbot: Any
) -> None:
    user = open_window()
    make_project(user, tmp_path, monkeypatch)
    annotate(user)
    undo_and_redo_with_keys(user)
    convert(user)
    train(user)
    predict(user)
    correct(user)
    retrain(user)
    export(user, tmp_path)
    before, shown = contents(user.session.project), shown_labels(user)
    assert before["masks"]
    user.close_window()

    again = open_window()
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_, **__: str(tmp_path / "my study"))
    again.press(button_of(again.dock.slides, "Open…"))
    again.until(lambda: again.view.labels is not None)
    assert contents(again.session.project) == before
    assert again.view.vectors.detailed
    assert len(again.view.vectors.shapes.records) == len(user_shapes(again))
    np.testing.assert_array_equal(shown_labels(again), shown)
    again.until(lambda: again.view.predictions.prediction is not None)
    again.until(lambda: "Retrain" in again.dock.header.next.text())


def button_of(page: Any, text: str) -> Any:
    return next(button for button in page.findChildren(QPushButton) if button.text() == text)


def make_project(user: User, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_, **__: str(folder))
    monkeypatch.setattr(QInputDialog, "getText", lambda *_, **__: ("my study", True))
    user.press(button_of(user.dock.slides, "New…"))
    user.until(lambda: user.session.project is not None)
    names = iter(CLASSES)
    monkeypatch.setattr(QInputDialog, "getText", lambda *_, **__: (next(names), True))
    for _ in CLASSES:
        user.dock.slides._scheme._add()
    assert set(CLASSES) < {label.name for label in user.session.project.scheme}
    files = [str(tissue.slide_file(folder))]
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_, **__: (files, ""))
    user.press(user.dock.slides.add_button)
    user.until(lambda: user.view.labels is not None)


def id_of(user: User, name: str) -> int:
    return next(label.id for label in user.session.project.scheme if label.name == name)


def take(user: User, tool: Tool, name: str) -> None:
    """Click the tool and the class."""
    page = user.dock.annotate
    user.press(page.tools.button(tool))
    user.press(page.classes._buttons[id_of(user, name)])
    assert (user.session.tool, user.session.class_id) == (tool, id_of(user, name))
    assert user.dock.header.class_name.text() == name


def line(place: tissue.Place, share: float = 0.5) -> list[tuple[float, float]]:
    half = place.reach * share
    return [(place.x + half * t, place.y + half * t / 2) for t in np.linspace(-1, 1, 8)]


def corners(place: tissue.Place, share: float = 0.7) -> list[tuple[float, float]]:
    half = place.reach * share
    return [(place.x + half * t, place.y + half * t) for t in (-1, -0.5, 0, 0.5, 1)]


def annotate(user: User) -> None:
    user.go_to(2)
    user.view.fly_to((0, 0, *tissue.SIZE))
    user.qtbot.wait(300)
    hand, store = user.hand, user.session.project.annotations
    glands, stroma = tissue.roomiest(tissue.GLAND_TRUTH, 3), tissue.roomiest(tissue.STROMA_TRUTH, 4)

    def drawn(granularity: Granularity) -> int:
        return store.count(granularities=[granularity])

    for name, places in (("Gland", glands[:2]), ("Stroma", stroma[:2])):
        take(user, Tool.BRUSH, name)
        for place in places:
            hand.drag(line(place))
    user.view.flush()
    counts = user.session.project.raster(user.session.slide_id).counts()
    assert set(counts) == {id_of(user, name) for name in CLASSES}
    for tool, granularity, name, path in (
        (Tool.ELLIPSE, Granularity.ELLIPSE, "Gland", corners(glands[2])),
        (Tool.BOX, Granularity.BOX, "Stroma", corners(stroma[2])),
        (Tool.SCRIBBLE, Granularity.SPARSE, "Stroma", line(stroma[3])),
        (Tool.REGION, Granularity.EXHAUSTIVE, "Stroma", corners(stroma[2], 0.9)),
    ):
        take(user, tool, name)
        hand.drag(path)
        assert drawn(granularity) == 1, tool
    take(user, Tool.POINT, "Gland")
    for point in tissue.nuclei(3):
        hand.click(*point)
    assert drawn(Granularity.POINT) == 3
    user.press(user.dock.annotate.tools.button(Tool.PAN))


def contents(project: Project) -> dict[str, Any]:
    """Everything annotated in a project, but for the time it was made."""
    slide = project.slides[0].id
    raster = project.raster(slide)
    keys = raster.keys()
    return {
        "records": sorted(
            str((r.id, r.granularity, r.geometry, r.class_id, r.source)) for r in project.annotations.query()
        ),
        "masks": {(y, x): raster.read(0, y * 512, y * 512 + 512, x * 512, x * 512 + 512).tobytes() for y, x in keys},
        "runs": [(run.id, run.status, dict(run.metrics)) for run in project.runs.list()],
        "predictions": [(each.id, each.status) for each in project.predictions.list()],
    }


def user_shapes(user: User) -> list[Any]:
    return [
        record for record in user.session.project.annotations.query() if record.granularity is not Granularity.POINT
    ]


def shown_labels(user: User) -> np.ndarray:
    """What the pixel layer shows of the whole slide."""
    return np.asarray(user.view.labels.data[0][:, :])


def undo_and_redo_with_keys(user: User) -> None:
    project = user.session.project
    everything = contents(project)
    steps = 4 + 4 + 3
    for _ in range(steps):
        user.hand.key(Qt.Key.Key_Z, CTRL)
    assert (contents(project)["records"], contents(project)["masks"]) == ([], {})
    assert not shown_labels(user).any()
    assert len(user.view.vectors.shapes.records) == 0
    for _ in range(steps):
        user.hand.key(Qt.Key.Key_Z, CTRL | Qt.KeyboardModifier.ShiftModifier)
    assert contents(project) == everything
    user.until(lambda: "3 points" in user.dock.annotate.count.text())
    assert "1 box" in user.dock.annotate.count.text()


def convert(user: User) -> None:
    page, store = user.dock.annotate, user.session.project.annotations
    page.convert_from.setCurrentText("all points")
    page.convert_to.setCurrentText("outlines (pixels)")
    user.press(page.convert_button)
    user.until(lambda: store.count(granularities=[Granularity.PIXEL]) == 3, 20)
    made = store.query(granularities=[Granularity.PIXEL])
    assert {record.source for record in made} == {Source.CONVERTED}
    assert store.count(granularities=[Granularity.POINT]) == 3


def set_recipe(user: User, steps: int) -> None:
    form = user.dock.train.settings
    form.mpp.setValue(0.5)
    form.steps.setValue(steps)
    form.patch.setValue(64)
    form.batch.setValue(4)


def train(user: User) -> None:
    user.go_to(3)
    page = user.dock.train
    user.view.fly_to((300, 250, 600, 500))
    user.qtbot.wait(300)
    set_recipe(user, 5000)
    user.press(page.train_button)
    job = user.session.training_job
    user.until(lambda: user.view.predictions.preview is not None, 60)
    preview = user.view.predictions.preview
    (top, left), (bottom, right) = preview.extent.world
    mpp = user.session.effective_mpp()
    x0, y0, x1, y1 = user.view.bounds
    expected = (max(0, y0), max(0, x0), min(tissue.SIZE[1], y1), min(tissue.SIZE[0], x1))
    # A pixel of the preview may reach over the edge of the view.
    assert np.allclose(np.array((top, left, bottom, right)) / mpp, expected, atol=2 * preview.scale[0] / mpp)
    user.until(lambda: job.status.step >= 20, 60)
    assert "left" in page.progress._text.text()
    assert page.curves.isVisible()
    assert "learning" in user.dock.header.next.text()
    user.press(page.train_button)
    user.until(job.done.is_set, 30)
    user.view.fly_to((0, 0, *tissue.SIZE))
    user.until(lambda: page.train_button.text().endswith("Train && preview"))
    assert job.state is JobState.CANCELLED
    (run,) = user.session.runs()
    assert run.status == "stopped"
    assert page.runs.table.rowCount() == 1


def predict(user: User) -> None:
    page = user.dock.train
    user.press(page.predict_button)
    user.until(lambda: any(job.kind == "prediction" and job.done.is_set() for job in user.session.jobs), 60)
    user.until(lambda: user.view.predictions.prediction is not None)
    layer = user.view.predictions.prediction
    assert layer.visible
    assert np.asarray(layer.data[0][:, :]).any()


def correct(user: User) -> None:
    page, project = user.dock.train, user.session.project
    before = contents(project)
    user.press(page.editable_button)
    user.until(lambda: page._background.busy is False and contents(project)["masks"] != before["masks"], 20)
    user.qtbot.wait(100)
    taken = shown_labels(user)
    assert (taken > 0).sum() > 1000
    user.hand.key(Qt.Key.Key_Z, CTRL)
    assert contents(project) == before
    page.editable_as.setCurrentText("polygons")
    page.smallest.setValue(100)
    user.press(page.editable_button)
    user.until(lambda: project.annotations.count(sources=[Source.PREDICTED]) > 0, 20)
    user.until(lambda: not page._background.busy)


def retrain(user: User) -> None:
    page = user.dock.train
    set_recipe(user, 20)
    user.press(page.retrain_button)
    job = user.session.training_job
    user.until(job.done.is_set, 60)
    assert job.state is JobState.COMPLETED
    first, second = user.session.runs()
    assert (second.parent, second.status, second.recipe["steps"]) == (first.id, "completed", 20)
    user.until(lambda: page.runs.table.rowCount() == 2)


def export(user: User, folder: Path) -> None:
    user.go_to(4)
    page = user.dock.export
    page.folder.setText(str(folder / "dataset"))
    page.size.setValue(64)
    page.split.setCurrentText("within slides, with a gap")
    user.press(page.export_button)
    user.until(lambda: page.result.text(), 60)
    assert str(folder / "dataset") in page.result.text()
    assert page.open_button.isVisible()
    assert list((folder / "dataset").rglob("manifest.json"))
    assert len(list((folder / "dataset").rglob("*.png"))) > 4
