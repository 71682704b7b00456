"""Work beside the window's thread: one piece at a time, results in the window's thread, none for what is gone."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from qtpy.QtWidgets import QWidget

from napari_histoanno.widgets.background import Background
from napari_histoanno.widgets.guide import Facts, next_step

pytestmark = pytest.mark.gui


def test_results_arrive_in_the_windows_thread(qtbot: Any) -> None:
    owner = QWidget()
    qtbot.addWidget(owner)
    background, release = Background(owner), threading.Event()
    seen: list[object] = []

    def work() -> int:
        release.wait(10)
        return threading.get_ident()

    assert background.start(work, lambda result: seen.extend([result, threading.get_ident()]))
    assert background.busy
    assert not background.start(work)
    release.set()
    qtbot.waitUntil(lambda: not background.busy)
    worker, receiver = seen
    assert receiver == threading.get_ident() != worker
    assert background.start(lambda: 1, seen.append)
    qtbot.waitUntil(lambda: not background.busy)
    assert seen[-1] == 1


def test_what_comes_after_the_widget_has_gone_is_dropped(qtbot: Any) -> None:
    owner, release, seen = QWidget(), threading.Event(), []
    background = Background(owner)
    background.start(lambda: release.wait(10), seen.append)
    thread = background._thread
    owner.deleteLater()
    qtbot.wait(20)
    release.set()
    thread.join(10)
    qtbot.wait(20)
    assert seen == []


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (Facts(), "page 1"),
        (Facts(project=True, read_only=True, slides=1), "looked at"),
        (Facts(project=True), "Add slides"),
        (Facts(project=True, slides=1), "Add label classes"),
        (Facts(project=True, slides=1, classes=2), "draw on the slide"),
        (Facts(project=True, slides=1, classes=2, annotated=("Gland",)), "Only Gland"),
        (Facts(project=True, slides=1, classes=2, annotated=("Gland",), done_regions=True), "Train & preview"),
        (Facts(project=True, slides=1, classes=2, annotated=("a", "b")), "Train & preview"),
        (Facts(project=True, slides=1, classes=2, annotated=("a", "b"), model=True), "Predict the slide"),
        (Facts(project=True, slides=1, classes=2, annotated=("a", "b"), model=True, prediction=True), "Retrain"),
        (
            Facts(project=True, slides=1, classes=2, annotated=("a", "b"), model=True, prediction=True, exported=True),
            "dataset is written",
        ),
    ],
)
def test_there_is_always_a_next_step(facts: Facts, said: str) -> None:
    assert said in next_step(facts)
