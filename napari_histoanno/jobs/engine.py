"""Background work: jobs go in, events come out, the caller never waits.

The engine owns a dask cluster (see :mod:`~napari_histoanno.jobs.cluster`), which it starts on first use in a thread of
its own; jobs submitted meanwhile wait for it. Each job is served by one coroutine on the client's event loop. What that
coroutine hears is handed to one dispatching thread, which is the only place where events are emitted: a slow listener
delays other listeners, never the cluster.

Engine states::

    IDLE ──> STARTING ──> READY ──> CLOSED
                └──────> FAILED ──> (start again) STARTING
"""

from __future__ import annotations

import atexit
import logging
import queue
import threading
import time
import weakref
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

from psygnal import EmitLoopError, Signal

from histotrain.events import Finished
from napari_histoanno.jobs.cluster import Backend, LocalBackend, RemoteBackend
from napari_histoanno.jobs.errors import EngineError
from napari_histoanno.jobs.job import Job
from napari_histoanno.jobs.line import JobLine

if TYPE_CHECKING:
    from collections.abc import Callable

    from histotrain.events import Event
    from napari_histoanno.jobs.specs import JobSpec

_log = logging.getLogger(__name__)

_STOP_SECONDS = 3.0


class EngineState(StrEnum):
    """Whether jobs can run."""

    IDLE = "idle"
    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"
    CLOSED = "closed"


class Engine:
    """Runs jobs away from this process.

    Parameters
    ----------
    scheduler : str, optional
        Address of a dask scheduler, such as ``tcp://host:8786``; a private worker on this machine if None.
    preload : bool
        Import the learning engine in the local worker as soon as it starts.

    Attributes
    ----------
    state_changed : Signal(EngineState)
        Emitted from a background thread.

    Notes
    -----
    The private worker is a spawned process. A script that submits jobs therefore keeps its own work behind
    ``if __name__ == "__main__":``, as with :mod:`multiprocessing`; else the worker would do it once more.
    """

    state_changed = Signal(EngineState)

    def __init__(self, scheduler: str | None = None, *, preload: bool = True) -> None:
        self.scheduler = scheduler
        self.preload = preload
        self.error = ""
        self._state = EngineState.IDLE
        self._lock = threading.RLock()
        self._backend: Backend | None = None
        self._waiting: list[Job] = []
        self._jobs: dict[str, Job] = {}
        self._settled = threading.Event()
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._dispatcher: threading.Thread | None = None

    @property
    def state(self) -> EngineState:
        return self._state

    @property
    def jobs(self) -> tuple[Job, ...]:
        """All jobs of this engine's life, oldest first."""
        return tuple(self._jobs.values())

    def start(self) -> None:
        """Start the cluster in a background thread; returns at once, harmless when started."""
        with self._lock:
            if self._state is EngineState.CLOSED:
                raise EngineError("The engine has been closed: create another one for further jobs.")
            if self._state in (EngineState.STARTING, EngineState.READY):
                return
            self._settled.clear()
            self._move_to(EngineState.STARTING)
            if self._dispatcher is None:
                self._dispatcher = threading.Thread(
                    target=_dispatch, args=[self._calls], name="job events", daemon=True
                )
                self._dispatcher.start()
            self._starter = threading.Thread(target=self._start, name="engine start", daemon=True)
            self._starter.start()

    def wait_ready(self, timeout: float | None = None) -> None:
        """Block until jobs can run, starting the cluster if need be.

        Raises
        ------
        EngineError
            If the cluster cannot be started or reached, or not in time.
        """
        self.start()
        if not self._settled.wait(timeout):
            raise EngineError(f"The worker did not start within {timeout} s: see `histoanno doctor`.")
        if self._state is not EngineState.READY:
            raise EngineError(self.error or "The engine has been closed.")

    def submit(self, work: JobSpec | Job) -> Job:
        """Hand over a job; returns at once.

        Parameters
        ----------
        work : JobSpec or Job
            A job that was made before can be listened to from its very first event.

        Raises
        ------
        EngineError
            If the engine has been closed.
        """
        job = work if isinstance(work, Job) else Job(work)
        self.start()
        self._jobs[job.id] = job
        with self._lock:
            if self._state is EngineState.READY:
                self._launch(job)
            else:
                job.attach(partial(self._drop, job), lambda _request: None)
                self._waiting.append(job)
        return job

    def worker_process_ids(self) -> list[int]:
        """Process ids of the worker this engine owns."""
        return self._backend.worker_process_ids() if self._backend else []

    def log_tail(self) -> str:
        """Last lines of the local worker's log."""
        return self._backend.log_tail() if self._backend else ""

    def close(self) -> None:
        """Stop all jobs (what they have is kept), then the cluster. Blocks for some seconds at most."""
        with self._lock:
            if self._state is EngineState.CLOSED:
                return
            starting = self._state is EngineState.STARTING
        if starting:
            self._starter.join()
        with self._lock:
            self._move_to(EngineState.CLOSED)
        self._stop_jobs()
        if self._backend is not None:
            self._backend.close()
        self._calls.put(None)
        if self._dispatcher is not None and self._dispatcher is not threading.current_thread():
            self._dispatcher.join(_STOP_SECONDS)

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _stop_jobs(self) -> None:
        deadline = time.monotonic() + _STOP_SECONDS
        for job in self._jobs.values():
            job.cancel()
        for job in self._jobs.values():
            if not job.done.wait(max(0.0, deadline - time.monotonic())):
                self._receive(job, Finished("cancelled", step=0, best_step=0, message="the engine was closed"))

    def _start(self) -> None:
        try:
            backend = RemoteBackend(self.scheduler) if self.scheduler else LocalBackend(preload=self.preload)
        except (OSError, TimeoutError, RuntimeError, ValueError, ImportError) as error:
            _log.exception("cannot start the worker")
            self._fail(error)
            return
        with self._lock:
            self._backend = backend
            _open_engines.add(self)
            waiting, self._waiting = self._waiting, []
            for job in waiting:
                self._launch(job)
            self._move_to(EngineState.READY)
        self._settled.set()

    def _fail(self, error: Exception) -> None:
        where = f"reach the cluster at {self.scheduler}" if self.scheduler else "start a worker process"
        self.error = f"Cannot {where}: {error or type(error).__name__}. Run `histoanno doctor` to see what is missing."
        with self._lock:
            waiting, self._waiting = self._waiting, []
            self._move_to(EngineState.FAILED)
        for job in waiting:
            self._receive(job, Finished("failed", step=0, best_step=0, message=self.error))
        self._settled.set()

    def _drop(self, job: Job) -> None:
        """Cancel a job that still waits for the cluster."""
        with self._lock:
            if job not in self._waiting:
                return
            self._waiting.remove(job)
        self._receive(job, Finished("cancelled", step=0, best_step=0, message="stopped before it began"))

    def _launch(self, job: Job) -> None:
        assert self._backend is not None
        JobLine(job, self._backend, partial(self._receive, job)).start()

    def _receive(self, job: Job, event: Event) -> None:
        self._calls.put(partial(job.receive, event))

    def _move_to(self, state: EngineState) -> None:
        self._state = state
        self._calls.put(partial(self._announce, state))

    def _announce(self, state: EngineState) -> None:
        try:
            self.state_changed.emit(state)
        except EmitLoopError:
            _log.exception("a listener of the engine's state failed")


def _dispatch(calls: queue.SimpleQueue[Callable[[], None] | None]) -> None:
    while (call := calls.get()) is not None:
        call()


_open_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


@atexit.register
def _close_engines() -> None:
    """End what was left open, so that no worker outlives the interpreter."""
    for engine in tuple(_open_engines):
        engine.close()
