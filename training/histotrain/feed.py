"""Batches made ready in a thread while the network computes."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Generic, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

T = TypeVar("T")

DEPTH = 3
"""Batches kept ready."""


class Feed(Generic[T]):
    """What is made for each step from a given one on, in order; a context manager that ends its thread.

    Parameters
    ----------
    make : callable
        Called with the number of each step, in the thread.
    step : int
        The first step.
    """

    def __init__(self, make: Callable[[int], T], *, step: int) -> None:
        self._make = make
        self._step = step
        self._ready: queue.Queue[T | BaseException] = queue.Queue(maxsize=DEPTH)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._produce, name="histotrain-feed", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closing.set()
        while self._thread.is_alive():
            try:
                self._ready.get_nowait()
            except queue.Empty:
                self._thread.join(timeout=0.05)

    def next(self) -> T:
        """The next item; raises what making it raised."""
        item = self._ready.get()
        if isinstance(item, BaseException):
            raise item
        return item

    def _produce(self) -> None:
        step = self._step
        try:
            while not self._closing.is_set():
                self._ready.put(self._make(step))
                step += 1
        except BaseException as error:  # noqa: BLE001 (raised again in the thread that waits for the batch)
            self._ready.put(error)
