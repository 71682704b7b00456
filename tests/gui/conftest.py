"""The dock in a real napari window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from qtpy.QtCore import Qt

from napari_histoanno.widgets.dock import HistoAnnoDock
from tests.gui.hand import Hand

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LEFT = Qt.MouseButton.LeftButton


class User:
    """Somebody at the screen: sees the dock, clicks its buttons, draws on the slide."""

    def __init__(self, viewer: Any, qtbot: Any) -> None:
        self.viewer, self.qtbot, self.closed = viewer, qtbot, False
        _, self.dock = viewer.window.add_plugin_dock_widget("napari-histoanno", "HistoAnno")
        assert isinstance(self.dock, HistoAnnoDock)
        self.session, self.view = self.dock.session, self.dock.view
        self.errors: list[str] = []
        self.session.error.connect(self.errors.append)

    @property
    def hand(self) -> Hand:
        return Hand(self.view, self.qtbot)

    def go_to(self, step: int) -> None:
        """Click the tab of a step."""
        bar = self.dock.tabs.tabBar()
        self.qtbot.mouseClick(bar, LEFT, pos=bar.tabRect(step - 1).center())
        assert self.dock.tabs.currentIndex() == step - 1

    def press(self, button: Any) -> None:
        """Click a button that can be clicked."""
        self.until(lambda: button.isVisible() and button.isEnabled(), 20)
        self.qtbot.mouseClick(button, LEFT)

    def until(self, condition: Callable[[], object], seconds: float = 10) -> None:
        """Let the window work until something is so; an error told in the header ends the wait."""
        self.qtbot.waitUntil(lambda: bool(condition()) or bool(self.errors), timeout=round(1000 * seconds))
        assert not self.errors, self.errors

    def close_window(self) -> None:
        """Close the window and let Qt delete what goes with it; the second time, nothing happens."""
        if not self.closed:
            self.closed = True
            self.viewer.close()
            self.qtbot.waitUntil(lambda: self.session.project is None, timeout=20_000)
            self.qtbot.wait(50)


@pytest.fixture
def open_window(make_napari_viewer: Any, qtbot: Any) -> Iterator[Callable[[], User]]:
    """Open another napari window with the dock in it."""
    users: list[User] = []

    def open_one() -> User:
        viewer = make_napari_viewer(strict_qt="raise", show=True)
        viewer.window._qt_window.resize(1500, 900)
        users.append(User(viewer, qtbot))
        return users[-1]

    yield open_one
    for user in users:
        user.close_window()


@pytest.fixture
def user(open_window: Callable[[], User]) -> User:
    return open_window()
