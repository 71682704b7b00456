"""Batches made ready in a thread while the network computes.

Each batch draws its chance from (seed, step) alone, so a training repeats exactly, and one that is resumed at step n
sees the batches it would have seen, without the state of any generator having been kept.
"""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import NDArray

    from histotrain.data import PatchSource

DEPTH = 3
"""Batches kept ready."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Images uint8 (N, H, W, 3), labels uint8 (N, H, W) as channel + 1 or 0; ``rng`` is for their augmentation."""

    images: Tensor
    labels: Tensor
    rng: np.random.Generator


class Feed:
    """Batches of a source from a given step on, in order; a context manager that ends its thread.

    Parameters
    ----------
    source : PatchSource
    lookup : uint8, shape (256,)
        From class id to channel + 1.
    size : int
        Patches in a batch.
    seed, step : int
        Start of the chance, and the first step.
    """

    def __init__(self, source: PatchSource, lookup: NDArray[np.uint8], *, size: int, seed: int, step: int) -> None:
        self._source = source
        self._lookup = lookup
        self._size, self._seed, self._step = size, seed, step
        self._ready: queue.Queue[Batch | BaseException] = queue.Queue(maxsize=DEPTH)
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

    def next(self) -> Batch:
        """The next batch; raises what the source raised."""
        item = self._ready.get()
        if isinstance(item, BaseException):
            raise item
        return item

    def _produce(self) -> None:
        step = self._step
        try:
            while not self._closing.is_set():
                self._ready.put(make_batch(self._source, self._lookup, size=self._size, seed=self._seed, step=step))
                step += 1
        except BaseException as error:  # noqa: BLE001 (raised again in the thread that waits for the batch)
            self._ready.put(error)


def make_batch(source: PatchSource, lookup: NDArray[np.uint8], *, size: int, seed: int, step: int) -> Batch:
    """The batch of one step: always the same for the same source, seed and step. Parameters as for `Feed`."""
    images, labels = source.batch(size, np.random.default_rng([seed, step]))
    tensors = [torch.from_numpy(np.ascontiguousarray(a)) for a in (images, lookup[labels])]
    if torch.cuda.is_available():
        tensors = [t.pin_memory() for t in tensors]
    return Batch(tensors[0], tensors[1], rng=np.random.default_rng([seed, step, 1]))
