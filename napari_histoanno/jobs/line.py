"""The submitting side's end of one job: one coroutine on the dask client's event loop.

It submits the task, passes on what the user asks of it (stop, show this place), and turns what it hears into events. It
always ends with one :class:`~histotrain.events.Finished`, also when the worker died or the cluster went away.
"""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from distributed import Client, Future, KilledWorker, Queue
from distributed import Event as ClusterEvent

from histotrain.events import Event, Finished
from napari_histoanno.jobs.events import PreviewRequest, PreviewResult, from_dict
from napari_histoanno.jobs.worker import JobNames, execute

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from napari_histoanno.jobs.cluster import Backend
    from napari_histoanno.jobs.job import Job

_WORKER_DIED = (
    "The worker process died: it was killed, ran out of memory or crashed. A new one has been started; "
    "what the job had saved is kept."
)
_CONNECTION_LOST = "The connection to the cluster was lost; what the job had saved is kept."


class JobLine:
    """Serves one job until it has ended.

    Parameters
    ----------
    job : Job
        The job to submit.
    backend : Backend
        The cluster to submit it to.
    receive : callable
        Takes each event; must not block.
    """

    def __init__(self, job: Job, backend: Backend, receive: Callable[[Event], None]) -> None:
        self._job = job
        self._backend = backend
        self._client: Client = backend.client
        self._receive = receive
        self._names = JobNames(job.id)
        self._wake = asyncio.Event()
        self._wanted: PreviewRequest | None = None
        self._fetches: set[asyncio.Task[None]] = set()
        self._future: Future | None = None
        self._cancel_asked = False
        self._taken = False
        self._finished = False

    def start(self) -> None:
        """Begin; returns at once."""
        self._call(self._serve())

    def _call(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._client.loop.asyncio_loop)

    def _ask_cancel(self) -> None:
        self._call(self._set_cancel())

    def _ask_preview(self, request: PreviewRequest | None) -> None:
        self._wanted = request
        self._client.loop.asyncio_loop.call_soon_threadsafe(self._wake.set)

    async def _set_cancel(self) -> None:
        self._cancel_asked = True
        await ClusterEvent(self._names.cancel, client=self._client).set()
        if self._future is not None and not self._taken:
            await self._client.cancel([self._future])

    async def _serve(self) -> None:
        try:
            requests = await Queue(self._names.requests, client=self._client)
            self._previews = await Queue(self._names.previews, client=self._client)
            self._client.subscribe_topic(self._names.topic, self._hear)
            cancelled, self._wanted = self._job.attach(self._ask_cancel, self._ask_preview)
            if self._wanted:
                self._wake.set()
            sender = asyncio.create_task(self._send_requests(requests))
            try:
                self._future = self._submit()
                if cancelled:
                    await self._set_cancel()
                await self._conclude(self._future)
            finally:
                sender.cancel()
                await self._clean_up(requests)
        finally:
            self._finish(Finished("failed", step=0, best_step=0, message=_CONNECTION_LOST))

    def _submit(self) -> Future:
        spec = self._job.spec
        spec_class = f"{type(spec).__module__}:{type(spec).__qualname__}"
        workers = self._client.scheduler_info()["workers"].values() if spec.wants_gpu else ()
        has_gpu = any(worker.get("resources", {}).get("GPU") for worker in workers)
        return self._client.submit(
            execute,
            self._job.id,
            spec.target,
            spec_class,
            spec.model_dump_json(),
            key=f"histoanno-{spec.kind}-{self._job.id}",
            pure=False,
            retries=0,
            resources={"GPU": 1} if has_gpu else None,
        )

    async def _send_requests(self, requests: Queue) -> None:
        """Forward the newest place asked for; those it replaced while one was on its way are never sent."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await requests.put(json.dumps(asdict(self._wanted)) if self._wanted else "")

    def _hear(self, stamped: tuple[float, dict[str, Any]]) -> None:
        message = stamped[1]["payload"]
        if message["event"] == PreviewResult.__name__:
            fetch = asyncio.create_task(self._fetch_preview())
            self._fetches.add(fetch)
            fetch.add_done_callback(self._fetches.discard)
            return
        event = from_dict(message)
        self._taken = True
        if isinstance(event, Finished):
            self._finish(event)
        else:
            self._receive(event)

    async def _fetch_preview(self) -> None:
        """Take all previews that wait and pass on the newest."""
        messages = await self._previews.get(batch=True)
        if messages:
            self._receive(PreviewResult.from_bytes(messages[-1]))

    async def _conclude(self, future: Future) -> None:
        """Wait for the task; if it ended without a word, say why."""
        error: BaseException | None = None
        with suppress(CancelledError):
            error = await future.exception()
        if future.cancelled():
            if self._cancel_asked:
                self._finish(Finished("cancelled", step=0, best_step=0, message="stopped before it began"))
            return
        if isinstance(error, KilledWorker):
            tail = self._backend.log_tail()
            self._finish(Finished("failed", step=0, best_step=0, message=f"{_WORKER_DIED}\n{tail}".strip()))
        elif error is not None:
            self._finish(Finished("failed", step=0, best_step=0, message=str(error) or type(error).__name__))

    async def _clean_up(self, requests: Queue) -> None:
        """Wake the worker's listeners so that they end, and forget the job on the scheduler.

        A task that is still held when its worker dies would be computed again, because its result is lost.
        """
        if self._future is not None:
            self._future.release()
            self._future = None
        with suppress(OSError, RuntimeError, ValueError, TimeoutError):
            await asyncio.gather(*self._fetches)
            self._client.unsubscribe_topic(self._names.topic)
            await ClusterEvent(self._names.cancel, client=self._client).set()
            await requests.put("")
            if self._taken:  # else the event stays set, for a worker that was just about to take the job
                for name in (self._names.cancel, self._names.taken):
                    await ClusterEvent(name, client=self._client).clear()
            requests.close()
            self._previews.close()

    def _finish(self, event: Finished) -> None:
        if not self._finished:
            self._finished = True
            self._receive(event)
