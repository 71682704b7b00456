"""A small slide in a project, shown in a real napari window, and hands to draw on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_histoanno.annotation.scheme import LabelScheme
from napari_histoanno.layers._napari_private import native_canvas
from napari_histoanno.layers.view import ProjectView
from napari_histoanno.project import Project
from napari_histoanno.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

MPP = 0.25
WIDTH, HEIGHT = 2999, 2001
LEFT, NO_BUTTON = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton


def checkerboard(height: int = HEIGHT, width: int = WIDTH, cell: int = 16) -> np.ndarray:
    """Cells of one colour, told apart by their number in red and green."""
    rows, columns = np.indices((height, width)) // cell
    return np.stack([columns % 16 * 16, rows % 16 * 16, (rows + columns) % 2 * 255], axis=-1).astype(np.uint8)


def write_slide(path: Path, image: np.ndarray, mpp: float = MPP) -> Path:
    """Single-level tiled TIFF in micrometres."""
    per_cm = 10_000 / mpp
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(
            image,
            tile=(256, 256),
            photometric="rgb",
            compression="deflate",
            resolution=(per_cm, per_cm),
            resolutionunit="CENTIMETER",
        )
    return path


@pytest.fixture(scope="session")
def slide_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slide(tmp_path_factory.mktemp("slides") / "board.tif", checkerboard())


@pytest.fixture
def project_path(tmp_path: Path, slide_path: Path) -> Path:
    path = tmp_path / "project"
    scheme = LabelScheme.from_names(["tumour", "stroma", "necrosis"])
    with Project.create(path, scheme=scheme, annotator="ann") as project:
        record = project.add_slide(slide_path)
        project.update_slide(record.id, mpp=MPP)
    return path


@pytest.fixture
def session(project_path: Path) -> Iterator[Session]:
    session = Session()
    session.open_project(project_path)
    session.set_slide(session.project.slides[0].id)
    session.set_class(1)
    yield session
    session.close()


@pytest.fixture
def viewer(make_napari_viewer: Any) -> Any:
    viewer = make_napari_viewer(strict_qt="raise", show=True)
    viewer.window._qt_window.resize(1000, 800)
    return viewer


@pytest.fixture
def view(viewer: Any, session: Session, qtbot: Any) -> Iterator[ProjectView]:
    view = ProjectView(viewer, session)
    errors: list[str] = []
    session.error.connect(errors.append)
    qtbot.wait(50)
    yield view
    view.close()
    qtbot.wait(20)
    assert not errors, errors


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
        camera = self.view.viewer.scene.camera
        camera.zoom = zoom / MPP
        camera.center = (0, y * MPP, x * MPP)
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


@pytest.fixture
def hand(view: ProjectView, qtbot: Any) -> Hand:
    return Hand(view, qtbot)
