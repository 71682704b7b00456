"""Bringing signals of the session to the screen.

The session and the engine speak from whatever thread something happened in; Qt widgets may only be touched from the GUI
thread. A relay is a small Qt object that receives in any thread and delivers in its own, and that goes with its widget.

A psygnal signal holds a lock for as long as its listeners run. What is delivered in the thread that speaks must
therefore not connect to, or emit, a signal that another thread may be emitting at that moment: each would wait for the
other. Signals of jobs are the ones to leave alone; jobs are asked, not listened to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Qt, Signal

if TYPE_CHECKING:
    from collections.abc import Callable

    from psygnal import SignalInstance
    from qtpy.QtWidgets import QWidget


class Relay(QObject):
    """Delivers the emissions of one psygnal signal to a slot in the GUI thread, in order."""

    _received = Signal(tuple)

    def __init__(self, owner: QWidget, signal: SignalInstance, slot: Callable[..., Any]) -> None:
        super().__init__(owner)
        self._signal = signal
        self._slot = slot
        self._received.connect(self._deliver, Qt.ConnectionType.AutoConnection)
        signal.connect(self._receive)
        owner.destroyed.connect(self.disconnect_signal)

    def _receive(self, *args: Any) -> None:
        try:
            self._received.emit(args)
        except RuntimeError:  # the widget went while another thread was speaking
            self._signal.disconnect(self._receive, missing_ok=True)

    def _deliver(self, args: tuple[Any, ...]) -> None:
        self._slot(*args)

    def disconnect_signal(self, *_: Any) -> None:
        """Stop listening."""
        self._signal.disconnect(self._receive, missing_ok=True)


def listen(owner: QWidget, signal: SignalInstance, slot: Callable[..., Any]) -> Relay:
    """Call ``slot`` in the GUI thread whenever ``signal`` is emitted, for as long as ``owner`` lives."""
    return Relay(owner, signal, slot)
