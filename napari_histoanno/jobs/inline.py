"""The same jobs without a cluster, in the caller's own process: for scripts, the command line and tests.

There is nobody to draw for while a script trains, so nothing is gained by another process: no start, no transport, and
all cores. A window must not do this: training in its process would make it stutter.
"""

from __future__ import annotations

import importlib
import os
import socket
import threading
from typing import TYPE_CHECKING

from napari_histoanno.jobs.channel import Channel, LocalChannel
from napari_histoanno.jobs.events import Running
from napari_histoanno.jobs.guard import guarded
from napari_histoanno.jobs.job import Job

if TYPE_CHECKING:
    from collections.abc import Iterator

    from histotrain.events import Event
    from napari_histoanno.jobs.specs import JobSpec


def run_inline(spec: JobSpec, channel: Channel | None = None) -> Iterator[Event]:
    """Run a job here and now, yielding what it says; the last event is always a ``Finished``.

    Parameters
    ----------
    spec : JobSpec
        The job.
    channel : Channel, optional
        To stop it or to ask for previews from elsewhere.

    Examples
    --------
    >>> from napari_histoanno.jobs import SelfTestSpec
    >>> [type(event).__name__ for event in run_inline(SelfTestSpec(steps=1))]
    ['Progressed', 'Finished']
    """
    module, _, name = spec.target.partition(":")
    run = getattr(importlib.import_module(module), name)
    return guarded(lambda: run(spec, channel or LocalChannel()))


class InlineEngine:
    """Runs jobs in threads of this process; otherwise as :class:`~napari_histoanno.jobs.Engine`."""

    def __init__(self) -> None:
        # Heard if torch is not loaded yet: threads that spin while they wait cost most on a machine that is busy.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        self._jobs: list[Job] = []
        self._threads: list[threading.Thread] = []

    @property
    def jobs(self) -> tuple[Job, ...]:
        """All jobs of this engine's life, oldest first."""
        return tuple(self._jobs)

    def start(self) -> None:
        """Nothing to do."""

    def submit(self, work: JobSpec | Job) -> Job:
        """Start a job; returns at once."""
        job = work if isinstance(work, Job) else Job(work)
        thread = threading.Thread(target=self._run, args=[job], name=f"{job.kind} job", daemon=True)
        self._jobs.append(job)
        self._threads.append(thread)
        thread.start()
        return job

    def log_tail(self) -> str:
        """Nothing: what goes wrong is in this process's own log."""
        return ""

    def close(self) -> None:
        """Stop all jobs and wait for them; what they have is kept."""
        for job in self._jobs:
            job.cancel()
        for thread in self._threads:
            thread.join()

    @staticmethod
    def _run(job: Job) -> None:
        channel = LocalChannel()
        cancelled, request = job.attach(channel.cancel, channel.request_preview)
        if cancelled:
            channel.cancel()
        channel.request_preview(request)
        job.receive(Running(process=os.getpid(), host=socket.gethostname()))
        for event in run_inline(job.spec, channel):
            job.receive(event)
