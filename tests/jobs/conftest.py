"""One engine for all tests of the jobs: starting a worker costs a second."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from histotrain.events import Finished
from napari_histoanno.jobs import Engine, TrainingSpec, run_inline
from tests.jobs.tissue import RECIPE, make_project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_histoanno.project import Project


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """A ready engine with a worker that has imported nothing in advance."""
    with Engine(preload=False) as engine:
        engine.wait_ready(60)
        yield engine


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Project]:
    """A fresh annotated project."""
    with make_project(tmp_path) as project:
        yield project


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a model trained for a few steps."""
    folder = tmp_path_factory.mktemp("trained")
    with make_project(folder) as project:
        spec = TrainingSpec(project=project.path, run="run", recipe=RECIPE, output=folder / "model")
        *_, last = run_inline(spec)
    assert isinstance(last, Finished)
    assert last.reason == "completed", last.message
    return folder / "model"
