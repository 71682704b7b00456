"""A session on a small annotated project, and the pages that show it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from napari_histoanno.jobs import InlineEngine
from napari_histoanno.session import Session
from napari_histoanno.widgets.annotate_page import AnnotatePage
from napari_histoanno.widgets.export_page import ExportPage
from napari_histoanno.widgets.header import StatusHeader
from napari_histoanno.widgets.slides_page import SlidesPage
from napari_histoanno.widgets.train_page import TrainPage
from tests.jobs.tissue import make_project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def project_path(tmp_path: Path) -> Path:
    make_project(tmp_path).close()
    return tmp_path / "study"


@pytest.fixture
def empty_session() -> Iterator[Session]:
    """Nothing is open; jobs run in a thread of this process."""
    engine = InlineEngine()
    session = Session(engine=engine)
    yield session
    engine.close()
    session.close()


class Screen:
    """The header and the four pages of one session, shown."""

    def __init__(self, session: Session, qtbot: Any) -> None:
        self.session, self.qtbot = session, qtbot
        self.header = StatusHeader(session)
        self.slides, self.annotate = SlidesPage(session), AnnotatePage(session)
        self.train, self.export = TrainPage(session), ExportPage(session)
        for widget in (self.header, self.slides, self.annotate, self.train, self.export):
            qtbot.addWidget(widget)
            widget.show()

    def until(self, condition: Any, seconds: float = 10) -> None:
        self.qtbot.waitUntil(lambda: bool(condition()), timeout=round(1000 * seconds))

    def settle(self) -> None:
        """Wait until everybody has looked at what there is."""
        self.qtbot.wait(350)
        watches = [page._facts for page in (self.header, self.annotate, self.train)]
        self.until(lambda: not any(watch._background.busy or watch._later.isActive() for watch in watches))


@pytest.fixture
def blank(empty_session: Session, qtbot: Any) -> Screen:
    """The screen before a project is open."""
    screen = Screen(empty_session, qtbot)
    screen.settle()
    return screen


@pytest.fixture
def screen(blank: Screen, project_path: Path) -> Screen:
    """The screen with the project."""
    blank.session.open_project(project_path)
    blank.settle()
    return blank
