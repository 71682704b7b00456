"""Calls from other threads, run in the thread of the window."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Qt, QThread, Signal

if TYPE_CHECKING:
    from collections.abc import Callable


class GuiThread(QObject):
    """Runs calls in the thread that made it, through its event loop.

    Unlike a bare queued signal it can be closed: calls that are still waiting are then dropped, so nothing
    reaches a layer or widget that is gone.
    """

    _called = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._open = True
        self._called.connect(self._run, Qt.ConnectionType.QueuedConnection)

    def __call__(self, function: Callable[..., Any], *args: Any) -> None:
        """Have ``function(*args)`` run soon; returns at once. May be called from any thread."""
        if self._open:
            self._called.emit(partial(function, *args))

    def now(self, function: Callable[..., Any], *args: Any) -> None:
        """Run ``function(*args)`` before returning where this is the window's thread already, else soon."""
        if self.is_here:
            if self._open:
                function(*args)
        else:
            self(function, *args)

    @property
    def is_here(self) -> bool:
        """Whether the caller is in the window's thread."""
        return bool(self.thread() is QThread.currentThread())

    def _run(self, call: Callable[[], Any]) -> None:
        if self._open:
            call()

    def close(self) -> None:
        """Drop all calls that have not run yet, and those to come."""
        self._open = False
