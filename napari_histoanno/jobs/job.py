"""The handle on one submitted job, on the side that submitted it."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING
from uuid import uuid4

from psygnal import EmitLoopError, Signal, SignalInstance

from histotrain.events import Event, Finished, Progressed, Status, reduce
from napari_histoanno.jobs.events import JobState, PreviewRequest, PreviewResult, Running

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_histoanno.jobs.specs import JobSpec

_log = logging.getLogger(__name__)

_END_STATES = {"completed": JobState.COMPLETED, "cancelled": JobState.CANCELLED, "failed": JobState.FAILED}


class Job:
    """One piece of background work: what it was told, how it goes, and how to stop it.

    Events and previews are emitted from the engine's one dispatching thread, never from the thread that submitted the
    job, in the order in which they happened; a view must hand over to its own thread.

    Attributes
    ----------
    event : Signal(object)
        Every event except previews.
    preview : Signal(PreviewResult)
        The prediction of the place last asked for.
    state_changed : Signal(JobState)
        After each change of ``state``.
    done : threading.Event
        Set once the job has ended and all listeners have heard of it.
    """

    event = Signal(object)
    preview = Signal(PreviewResult)
    state_changed = Signal(JobState)

    def __init__(self, spec: JobSpec) -> None:
        self.id = uuid4().hex
        self.spec = spec
        self.done = threading.Event()
        self._lock = threading.Lock()
        self._state = JobState.PENDING
        self._status = Status()
        self._message = ""
        self._request: PreviewRequest | None = None
        self._on_cancel: Callable[[], None] | None = None
        self._on_request: Callable[[PreviewRequest | None], None] | None = None

    def __repr__(self) -> str:
        return f"<Job {self.kind} {self.id[:8]} {self.state}>"

    @property
    def kind(self) -> str:
        return self.spec.kind

    @property
    def state(self) -> JobState:
        return self._state

    @property
    def status(self) -> Status:
        """Frozen snapshot: all events so far, reduced."""
        return self._status

    @property
    def message(self) -> str:
        """Why the job ended as it did; for a failure with the end of the worker's log."""
        return self._message

    def wait(self, timeout: float | None = None) -> Status:
        """Block until the job has ended.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait at most.

        Raises
        ------
        TimeoutError
            If the job is still going then.
        """
        if not self.done.wait(timeout):
            raise TimeoutError(f"the {self.kind} job is still {self.state} after {timeout} s")
        return self._status

    def cancel(self) -> None:
        """Ask the job to stop at its next step; what it has is kept. Returns at once; harmless after the end."""
        with self._lock:
            if self._state.ended or self._state is JobState.CANCELLING:
                return
            self._state = JobState.CANCELLING
            ask = self._on_cancel
        if ask is not None:
            ask()
        self._emit(self.state_changed, JobState.CANCELLING)

    def request_preview(self, request: PreviewRequest | None) -> None:
        """Set the place that is looked at; previews of it follow while the job runs. None stops them."""
        with self._lock:
            self._request = request
            ask = self._on_request
        if ask is not None:
            ask(request)

    def attach(
        self, on_cancel: Callable[[], None], on_request: Callable[[PreviewRequest | None], None]
    ) -> tuple[bool, PreviewRequest | None]:
        """Connect the job to whatever runs it; returns what was asked before that: (cancelled, place looked at)."""
        with self._lock:
            self._on_cancel, self._on_request = on_cancel, on_request
            return self._state is JobState.CANCELLING, self._request

    def receive(self, event: Event) -> None:
        """Take in one event and tell the listeners; called by the engine, from its dispatching thread."""
        if isinstance(event, PreviewResult):
            self._emit(self.preview, event)
            return
        if self.done.is_set():
            return
        if isinstance(event, Finished):
            self._finish(event)
            return
        self._status = reduce(self._status, event)
        if isinstance(event, Running | Progressed) and self._state is JobState.PENDING:
            self._move_to(JobState.RUNNING)
        self._emit(self.event, event)

    def _finish(self, event: Finished) -> None:
        self._status = reduce(self._status, event)
        self._message = event.message
        end = _END_STATES[event.reason]
        if self._state is JobState.CANCELLING and end is JobState.COMPLETED:
            end = JobState.CANCELLED
        self._move_to(end)
        self._emit(self.event, event)
        self.done.set()

    def _move_to(self, state: JobState) -> None:
        with self._lock:
            self._state = state
        self._emit(self.state_changed, state)

    def _emit(self, signal: SignalInstance, value: object) -> None:
        try:
            signal.emit(value)
        except EmitLoopError:
            _log.exception("a listener of %r failed", self)
