"""A hand on the mouse: draws on the slide with real events, at level-0 positions."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_histoanno.layers._napari_private import native_canvas

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_histoanno.layers import ProjectView

_LEFT = Qt.MouseButton.LeftButton
_PLAIN = Qt.KeyboardModifier.NoModifier


def work_until(done: Callable[[], object], seconds: float) -> bool:
    """Let the window work until something is true; whether it became so in time."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            return False
        QApplication.processEvents()
        time.sleep(0.005)
    return True


def work_for(seconds: float) -> None:
    """Let the window work for a while."""
    work_until(lambda: False, seconds)


class Hand:
    """Moves and presses the mouse over the canvas of a view."""

    def __init__(self, view: ProjectView) -> None:
        self._view = view
        self._canvas = native_canvas(view.viewer)

    def _on_screen(self, place: tuple[float, float]) -> QPoint:
        viewport = self._view.viewport
        if viewport is None:
            raise RuntimeError("no slide is shown")
        x0, y0, _, _ = viewport.bounds
        return QPoint(round((place[0] - x0) * viewport.zoom), round((place[1] - y0) * viewport.zoom))

    def click(self, place: tuple[float, float]) -> None:
        """Click at a level-0 position."""
        self.drag([place])

    def drag(self, places: Sequence[tuple[float, float]]) -> None:
        """Press at the first level-0 position, move through the others, release at the last."""
        QTest.mouseMove(self._canvas, self._on_screen(places[0]))
        QTest.mousePress(self._canvas, _LEFT, _PLAIN, self._on_screen(places[0]))
        for place in places[1:]:
            QTest.mouseMove(self._canvas, self._on_screen(place))
            work_for(0.005)
        QTest.mouseRelease(self._canvas, _LEFT, _PLAIN, self._on_screen(places[-1]))
        work_for(0.1)
