"""A hand on the mouse and the keys of a real napari window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_histoanno.layers._napari_private import native_canvas

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_histoanno.layers.view import ProjectView

LEFT, NO_BUTTON = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton


class Hand:
    """Draws with real mouse events at level-0 coordinates.

    A screen pixel covers a whole level-0 pixel or several; ``at`` tells the level-0 position that an event really has.
    """

    def __init__(self, view: ProjectView, qtbot: Any) -> None:
        self.view, self.qtbot = view, qtbot
        self.canvas = native_canvas(view.viewer)
        self.modifiers = Qt.KeyboardModifier.NoModifier

    def look(self, x: float, y: float, zoom: float) -> None:
        """Centre a level-0 position; ``zoom`` is screen pixels per level-0 pixel."""
        camera, mpp = self.view.viewer.scene.camera, self.view.session.effective_mpp()
        camera.zoom = zoom / mpp
        camera.center = (0, y * mpp, x * mpp)
        self.qtbot.wait(250)
        self.view.viewer.screenshot(canvas_only=True, flash=False)

    def to_screen(self, x: float, y: float) -> QPoint:
        x0, y0, _, _ = self.view.viewport.bounds
        zoom = self.view.viewport.zoom
        return QPoint(round((x - x0) * zoom), round((y - y0) * zoom))

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Level-0 position of the screen pixel that an event at (x, y) goes to."""
        point = self.to_screen(x, y)
        x0, y0, _, _ = self.view.viewport.bounds
        zoom = self.view.viewport.zoom
        return x0 + point.x() / zoom, y0 + point.y() / zoom

    def send(self, kind: QEvent.Type, x: float, y: float, button: Any = NO_BUTTON, held: Any = NO_BUTTON) -> None:
        """One mouse event, delivered now; a pointer moved by QTest is heard of whenever the X server comes to it."""
        point = QPointF(self.to_screen(x, y))
        event = QMouseEvent(kind, point, self.canvas.mapToGlobal(point), button, held, self.modifiers)
        QApplication.sendEvent(self.canvas, event)

    def move(self, x: float, y: float, held: Any = NO_BUTTON) -> None:
        self.send(QEvent.Type.MouseMove, x, y, held=held)
        self.qtbot.wait(1)

    def press(self, x: float, y: float, button: Any = LEFT) -> None:
        self.move(x, y)
        self.send(QEvent.Type.MouseButtonPress, x, y, button, button)

    def release(self, x: float, y: float, button: Any = LEFT) -> None:
        self.send(QEvent.Type.MouseButtonRelease, x, y, button)
        self.qtbot.wait(20)

    def click(self, x: float, y: float) -> None:
        self.press(x, y)
        self.release(x, y)

    def double_click(self, x: float, y: float) -> None:
        self.click(x, y)
        self.send(QEvent.Type.MouseButtonDblClick, x, y, LEFT, LEFT)
        self.release(x, y)

    def drag(self, points: Sequence[tuple[float, float]], button: Any = LEFT) -> list[tuple[float, float]]:
        """Press at the first point, move through the others, release at the last; where the events really were."""
        self.press(*points[0], button)
        for point in points[1:]:
            self.move(*point, held=button)
        self.release(*points[-1], button)
        return [self.at(*point) for point in points]

    def key(self, key: Any, modifier: Any = Qt.KeyboardModifier.NoModifier) -> None:
        QTest.keyClick(self.canvas, key, modifier)
        self.qtbot.wait(20)
