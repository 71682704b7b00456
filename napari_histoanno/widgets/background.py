"""Work of the session that takes a moment, away from the window's thread, so that the slide can still be moved."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Qt, Signal

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtWidgets import QWidget


class Background(QObject):
    """Runs one call at a time in a thread of its own and hands its result over in the window's.

    Parameters
    ----------
    owner : QWidget
        Whose work it is; once it is gone, results are dropped.
    """

    busy_changed = Signal(bool)
    _ended = Signal(object)

    def __init__(self, owner: QWidget) -> None:
        super().__init__(owner)
        self._thread: threading.Thread | None = None
        self._then: Callable[[Any], object] | None = None
        self._ended.connect(self._deliver, Qt.ConnectionType.QueuedConnection)

    @property
    def busy(self) -> bool:
        """Whether a call is running, or its result not yet handed over."""
        return self._thread is not None

    def start(self, call: Callable[[], Any], then: Callable[[Any], object] | None = None) -> bool:
        """Run ``call()``, then ``then(result)`` in the window's thread; False if another call is running.

        What ``call`` raises goes to napari's notifications, as it would from any thread; ``then`` gets None.
        """
        if self._thread is not None:
            return False
        self._then = then
        self._thread = threading.Thread(target=self._run, args=[call], name="widget work", daemon=True)
        self._thread.start()
        self.busy_changed.emit(True)
        return True

    def _run(self, call: Callable[[], Any]) -> None:
        result = None
        try:
            result = call()
        finally:
            with suppress(RuntimeError):  # the widget is gone
                self._ended.emit(result)

    def _deliver(self, result: object) -> None:
        then, self._then, self._thread = self._then, None, None
        self.busy_changed.emit(False)
        if then is not None:
            then(result)
