"""Reading ahead in a thread while the network computes."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

Item = TypeVar("Item")


class Prefetch(Generic[Item]):
    """Runs an iterator in a thread, a few items ahead; what it raises is raised here.

    Parameters
    ----------
    items : iterator
        Advanced in the thread only.
    ahead : int
        How many items may wait.
    """

    def __init__(self, items: Iterator[Item], *, ahead: int) -> None:
        self._items = items
        self._queue: queue.Queue[tuple[Item] | BaseException | None] = queue.Queue(maxsize=ahead)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="histotrain-reader", daemon=True)

    def __enter__(self) -> Iterator[Item]:
        self._thread.start()
        return self._results()

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        while self._thread.is_alive():
            try:
                self._queue.get_nowait()
            except queue.Empty:
                self._thread.join(timeout=0.05)

    def _results(self) -> Iterator[Item]:
        while (item := self._queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item[0]

    def _work(self) -> None:
        try:
            for item in self._items:
                if self._closing.is_set():
                    return
                self._queue.put((item,))
            self._queue.put(None)
        except BaseException as error:  # noqa: BLE001 (raised again where the items are used)
            self._queue.put(error)
