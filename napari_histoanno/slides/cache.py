"""Decoded tiles shared by every slide of the process, bounded in bytes.

Panning, patch sampling and half-overlapping grids ask for the same tile many times, and decoding it costs a hundred
times more than copying it. One cache for the process, not one per slide, so that ten open slides need no more memory
than one. Keys hold the file's identity, so that two openings of one file share tiles and a replaced file does not.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Hashable

DEFAULT_BYTES = 512 << 20
MAX_WORKERS = 8

Pixels = npt.NDArray[np.uint8]


class TileCache:
    """Least recently used tiles, thread-safe.

    Parameters
    ----------
    max_bytes : int
        Pixels kept at most; a single tile larger than an eighth of it is not kept at all.
    """

    def __init__(self, max_bytes: int = DEFAULT_BYTES) -> None:
        self._tiles: OrderedDict[Hashable, Pixels] = OrderedDict()
        self._lock = threading.Lock()
        self._bytes = 0
        self._max_bytes = max_bytes

    @property
    def nbytes(self) -> int:
        """Bytes held now."""
        return self._bytes

    @property
    def max_bytes(self) -> int:
        """Bytes held at most."""
        return self._max_bytes

    def resize(self, max_bytes: int) -> None:
        """Change the bound, dropping the oldest tiles if need be."""
        with self._lock:
            self._max_bytes = max_bytes
            self._evict()

    def get(self, key: Hashable) -> Pixels | None:
        """Tile kept under ``key``, or None."""
        with self._lock:
            tile = self._tiles.get(key)
            if tile is not None:
                self._tiles.move_to_end(key)
            return tile

    def put(self, key: Hashable, tile: Pixels) -> None:
        """Keep ``tile``, which nobody may write to from now on."""
        tile.flags.writeable = False
        if tile.nbytes > self._max_bytes // 8:
            return
        with self._lock:
            previous = self._tiles.pop(key, None)
            self._bytes += tile.nbytes - (previous.nbytes if previous is not None else 0)
            self._tiles[key] = tile
            self._evict()

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._tiles.clear()
            self._bytes = 0

    def _evict(self) -> None:
        while self._bytes > self._max_bytes:
            self._bytes -= self._tiles.popitem(last=False)[1].nbytes


class _Shared:
    """The process's cache and decoding threads; a forked child starts with its own: locks and threads do not fork."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.cache = TileCache()
        self.lock = threading.Lock()
        self.executor: ThreadPoolExecutor | None = None


_shared = _Shared()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_shared.reset)


def tile_cache() -> TileCache:
    """The cache of this process."""
    return _shared.cache


def decoding_threads() -> ThreadPoolExecutor:
    """The threads of this process that decode tiles; tasks given to it must not wait for other tasks of it."""
    with _shared.lock:
        if _shared.executor is None:
            workers = min(MAX_WORKERS, os.cpu_count() or 1)
            _shared.executor = ThreadPoolExecutor(workers, thread_name_prefix="slide-tiles")
        return _shared.executor
