"""A session on a small annotated project, with jobs in this process."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from napari_histoanno.jobs import InlineEngine
from napari_histoanno.session import Session
from tests.jobs.tissue import RECIPE, make_project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def predicted_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a project with a model run and a prediction of its whole slide; to be copied."""
    folder = tmp_path_factory.mktemp("predicted")
    make_project(folder).close()
    engine = InlineEngine()
    session = Session(engine=engine)
    session.open_project(folder / "study")
    for job in (session.start_training(RECIPE), None):
        made = job or session.predict_slide(tissue_only=False)
        assert made is not None
        assert made.wait(120).phase == "completed", made.message
    session.close()
    return folder


@pytest.fixture
def after_prediction(predicted_folder: Path, tmp_path: Path) -> Iterator[Session]:
    """A session with a project whose slide is predicted."""
    shutil.copytree(predicted_folder, tmp_path / "copy")
    engine = InlineEngine()
    session = Session(engine=engine)
    session.open_project(tmp_path / "copy" / "study")
    yield session
    engine.close()
    session.close()


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """A session with the project open."""
    make_project(tmp_path).close()
    engine = InlineEngine()
    session = Session(engine=engine)
    session.open_project(tmp_path / "study")
    yield session
    engine.close()
    session.close()
