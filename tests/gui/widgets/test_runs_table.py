"""The table of models lists, compares, resumes and deletes."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QMessageBox

from napari_histoanno.jobs import Job, Running, SelfTestSpec
from napari_histoanno.project import ModelRun
from tests.jobs.tissue import RECIPE

if TYPE_CHECKING:
    from napari_histoanno.widgets.runs_table import RunsTable
    from tests.gui.widgets.conftest import Screen

pytestmark = pytest.mark.gui


def add_runs(screen: Screen) -> tuple[ModelRun, ModelRun]:
    runs = screen.session.project.runs
    recipe = RECIPE.model_dump(mode="json")
    first = runs.add(ModelRun("first", recipe, status="stopped", metrics={"mean_iou": 0.5, "iou/Tumour": None}))
    second = runs.add(ModelRun("second", recipe, status="completed", metrics={"mean_iou": 0.75, "iou/Tumour": 0.25}))
    return first, second


def column(table: RunsTable, number: int) -> list[str]:
    return [table.table.item(row, number).text() for row in range(table.table.rowCount())]


def test_runs_are_listed_newest_first_and_selection_stays(screen: Screen) -> None:
    page = screen.train.runs
    assert not page.delete_button.isEnabled()
    first, second = add_runs(screen)
    assert column(page, 0) == ["second", "first"]
    assert column(page, 1) == ["0.750", "0.500"]
    assert column(page, 3) == ["completed", "stopped"]
    page.table.selectRow(1)
    assert page.current() == first.id
    assert page.resume_button.isEnabled()
    screen.session.rename_run(second.id, "better")
    assert column(page, 0) == ["better", "first"]
    assert page.selected() == [first.id]
    page.table.selectRow(0)
    assert not page.resume_button.isEnabled()
    assert page.delete_button.isEnabled()


def test_models_are_compared_class_by_class(screen: Screen) -> None:
    add_runs(screen)
    page = screen.train.runs
    page.compare_button.click()
    (box,) = page.findChildren(QMessageBox)
    text = box.text()
    assert text.index("first") < text.index("second")
    assert "0.250" in text
    assert "<td align=right>-</td>" in text
    box.close()


def test_deleting_asks_first(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    add_runs(screen)
    page = screen.train.runs
    page.table.selectRow(0)
    monkeypatch.setattr(QMessageBox, "question", lambda *_: QMessageBox.StandardButton.No)
    page.delete_button.click()
    assert len(column(page, 0)) == 2
    monkeypatch.setattr(QMessageBox, "question", lambda *_: QMessageBox.StandardButton.Yes)
    page.delete_button.click()
    assert column(page, 0) == ["first"]


def test_a_run_without_a_model_is_not_used_and_that_is_said(screen: Screen) -> None:
    add_runs(screen)
    page = screen.train.runs
    page.table.selectRow(1)
    page.resume_button.click()
    assert "left no model" in screen.header.message.text()
    screen.train.predict_button.click()
    assert "left no model" in screen.header.message.text()
    assert screen.session.jobs == ()


def test_following_a_job_does_not_wait_for_the_thread_it_speaks_in(screen: Screen) -> None:
    """That thread may itself be waiting for the window's: together they would stand still for ever."""
    job, speaking, release = Job(SelfTestSpec()), threading.Event(), threading.Event()
    kept_waiting: list[bool] = []

    def hold(_: object) -> None:
        speaking.set()
        kept_waiting.append(not release.wait(3))

    job.state_changed.connect(hold)
    thread = threading.Thread(target=job.receive, args=[Running(1, "here")], daemon=True)
    thread.start()
    assert speaking.wait(10)
    screen.train.progress.show_job(job, "Training")
    release.set()
    thread.join(10)
    screen.train.progress.clear()
    assert kept_waiting == [False]


def test_a_stopped_run_is_resumed(screen: Screen) -> None:
    job = screen.session.start_training(RECIPE)
    screen.until(job.done.is_set, 60)
    (run,) = screen.session.runs()
    screen.session.project.runs.update(run.id, status="stopped")
    page = screen.train.runs
    page.table.selectRow(0)
    page.resume_button.click()
    again = screen.session.training_job
    assert again is not job
    assert screen.train.train_button.text().startswith("■")
    screen.until(again.done.is_set, 60)
    screen.until(lambda: column(page, 3) == ["completed"])


def test_a_model_is_measured_and_the_report_opened(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url.toLocalFile()))
    page = screen.train.runs
    assert not page.evaluate_button.isEnabled()
    job = screen.session.start_training(RECIPE)
    screen.until(job.done.is_set, 120)
    screen.until(page.evaluate_button.isEnabled)
    page.evaluate_button.click()
    assert not page.evaluate_button.isEnabled()
    screen.until(lambda: opened, 120)
    (path,) = opened
    assert Path(path).read_text(encoding="utf-8").startswith("<!doctype html>")
    assert path in page.report.text().replace("<wbr>", "")
    assert page.report.isVisible()
    screen.until(page.evaluate_button.isEnabled)
    screen.session.close_project()
    screen.until(lambda: not page.report.isVisible())
