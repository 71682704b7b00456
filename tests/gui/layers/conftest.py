"""A small slide in a project, shown in a real napari window, and hands to draw on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile

from napari_histoanno.annotation.scheme import LabelScheme
from napari_histoanno.layers.view import ProjectView
from napari_histoanno.project import Project
from napari_histoanno.session import Session
from tests.gui.hand import Hand

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MPP = 0.25
WIDTH, HEIGHT = 2999, 2001


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


@pytest.fixture
def hand(view: ProjectView, qtbot: Any) -> Hand:
    return Hand(view, qtbot)
