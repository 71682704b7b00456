"""What runs in the worker process: a polite set-up, and the loop that serves one job.

The worker lives beside a person who draws. It is niced, its BLAS keeps to one thread, OpenMP threads sleep instead of
spinning (a spinning pool beside one busy process makes a training step seven times slower), and the heavy imports
happen once, in the background, right after it starts, so that the first click on Train does not wait for them.
"""

from __future__ import annotations

import asyncio
import faulthandler
import importlib
import json
import logging
import os
import socket
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distributed import Event as ClusterEvent
from distributed import Queue, Worker, WorkerPlugin, get_client, get_worker

from napari_histoanno.jobs.events import PreviewRequest, PreviewResult, Running, to_dict
from napari_histoanno.jobs.guard import guarded

if TYPE_CHECKING:
    from histotrain.events import Event
    from napari_histoanno.jobs.specs import JobSpec

_log = logging.getLogger(__name__)

NICENESS = 10
PRELOADED = ("torch", "histotrain.loop", "histotrain.models", "napari_histoanno.jobs.training")


class WorkerSetup(WorkerPlugin):
    """Applied to the local worker at every start, also after the nanny restarted it.

    Parameters
    ----------
    log_path : str
        File that receives everything the worker process prints, logs, or says when it crashes.
    preload : bool
        Import the learning engine in the background.
    """

    name = "histoanno-setup"

    def __init__(self, log_path: str, *, preload: bool = True) -> None:
        self.log_path = log_path
        self.preload = preload

    def setup(self, worker: Worker) -> None:
        _redirect_output(Path(self.log_path))
        if hasattr(os, "nice"):
            os.nice(NICENESS - os.nice(0))
        if self.preload:
            threading.Thread(target=preload, name="preload", daemon=True).start()


def preload() -> None:
    """Import what the first job will need; a missing part is left to be reported by the job that needs it."""
    for module in PRELOADED:
        started = time.monotonic()
        try:
            importlib.import_module(module)
        except ImportError:
            _log.warning("cannot preload %s", module, exc_info=True)
        _log.info("imported %s in %.1f s", module, time.monotonic() - started)


def _redirect_output(path: Path) -> None:
    file = path.open("a", buffering=1)
    os.dup2(file.fileno(), sys.stdout.fileno())
    os.dup2(file.fileno(), sys.stderr.fileno())
    faulthandler.enable(file)
    handler = logging.StreamHandler(file)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger("napari_histoanno")
    root.addHandler(handler)
    root.setLevel(logging.INFO)


@dataclass(frozen=True, slots=True)
class JobNames:
    """Names under which a job's client and its worker meet on the scheduler."""

    job: str

    @property
    def topic(self) -> str:
        return f"histoanno-{self.job}-events"

    @property
    def cancel(self) -> str:
        return f"histoanno-{self.job}-cancel"

    @property
    def taken(self) -> str:
        return f"histoanno-{self.job}-taken"

    @property
    def requests(self) -> str:
        return f"histoanno-{self.job}-requests"

    @property
    def previews(self) -> str:
        return f"histoanno-{self.job}-previews"


class ClusterChannel:
    """The worker's end of a job's lines: listens in the background, so that asking between steps is free.

    Two coroutines on the worker's own event loop wait at the scheduler, one for the cancel event and one for preview
    requests. The client wakes both when the job has ended.
    """

    def __init__(self, names: JobNames) -> None:
        self._names = names
        self._client = get_client()
        self._cancelled = threading.Event()
        self._request: PreviewRequest | None = None
        self._previews = Queue(names.previews, client=self._client)

    def __enter__(self) -> ClusterChannel:
        self._listening = asyncio.run_coroutine_threadsafe(self._listen(), self._client.loop.asyncio_loop)
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.cancel()

    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    def preview_request(self) -> PreviewRequest | None:
        return self._request

    def send(self, event: Event) -> None:
        """Hand an event to the client; pixels go through a queue, so that the scheduler's event log keeps none."""
        if isinstance(event, PreviewResult):
            self._previews.put(event.to_bytes())
            message: dict[str, Any] = {"event": "PreviewResult"}
        else:
            message = to_dict(event)
        get_worker().log_event(self._names.topic, {"payload": message})

    async def _listen(self) -> None:
        await asyncio.gather(self._await_cancel(), self._await_requests())

    async def _await_cancel(self) -> None:
        await ClusterEvent(self._names.cancel, client=self._client).wait()
        self._cancelled.set()

    async def _await_requests(self) -> None:
        queue = await Queue(self._names.requests, client=self._client)
        while True:
            message = await queue.get()
            self._request = PreviewRequest(**json.loads(message)) if message else None


def execute(job: str, target: str, spec_class: str, spec_json: str) -> None:
    """Serve one job on a worker, forwarding its events to the client; the task that the engine submits.

    Parameters
    ----------
    job : str
        Id of the job.
    target, spec_class : str
        ``"module:name"`` of the generator and of the spec's class.
    spec_json : str
        The spec's values.
    """
    names = JobNames(job)
    client = get_client()
    taken = ClusterEvent(names.taken, client=client)
    if taken.is_set():
        # dask gives the task of a dead worker to the next one; a job that killed one worker must not kill the rest.
        raise RuntimeError("the worker process died")
    taken.set()
    with ClusterChannel(names) as channel:
        channel.send(Running(process=os.getpid(), host=socket.gethostname()))
        spec: JobSpec = _resolve(spec_class).model_validate_json(spec_json)
        for event in guarded(lambda: _resolve(target)(spec, channel)):
            channel.send(event)


def _resolve(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
