"""Chunks of a mask: how they are stored, halved and cached.

A chunk is 512 x 512 class ids. One that is the same everywhere is just that number (a ``ChunkState`` is an int or an
array), so large filled areas cost a byte per chunk; 0 is not stored at all.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from imagecodecs import zstd_decode, zstd_encode
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari_histoanno.project.changes import ChunkKey

CHUNK = 512
HALF = CHUNK // 2

Pixels: TypeAlias = NDArray[np.uint8]
ChunkState: TypeAlias = int | Pixels
LevelKey: TypeAlias = tuple[int, int, int]
"""(level, row, column) of a chunk."""


def encode(state: ChunkState) -> bytes:
    """One byte for a constant chunk, zstd for any other."""
    if isinstance(state, int):
        return bytes((state,))
    return bytes(zstd_encode(state.tobytes(), level=1))


def decode(data: bytes | None) -> ChunkState:
    """State from :func:`encode`'s bytes; None, for what is not stored, is 0. Arrays cannot be written."""
    if data is None:
        return 0
    if len(data) == 1:
        return data[0]
    pixels: Pixels = np.frombuffer(zstd_decode(data), np.uint8).reshape(CHUNK, CHUNK)
    pixels.flags.writeable = False
    return pixels


def settled(state: ChunkState) -> ChunkState:
    """The same chunk as a number if it is constant, else as an array that cannot be written."""
    if isinstance(state, int):
        return state
    lowest = int(state.min())
    if lowest == int(state.max()):
        return lowest
    state.flags.writeable = False
    return state


def same(a: ChunkState, b: ChunkState) -> bool:
    """Whether two settled chunks have the same pixels."""
    if isinstance(a, int) or isinstance(b, int):
        return isinstance(a, int) and isinstance(b, int) and a == b
    return a is b or bool(np.array_equal(a, b))


def dense(state: ChunkState) -> Pixels:
    """A writable copy of a chunk's pixels."""
    return np.full((CHUNK, CHUNK), state, np.uint8) if isinstance(state, int) else state.copy()


def halved(state: ChunkState) -> ChunkState:
    """The chunk at half the resolution: each pixel is the highest of four, so that thin strokes stay visible."""
    if isinstance(state, int):
        return state
    rows = np.maximum(state[0::2], state[1::2])
    return np.maximum(rows[:, 0::2], rows[:, 1::2])


def is_empty(state: ChunkState) -> bool:
    """Whether a settled chunk holds no label."""
    return isinstance(state, int) and state == 0


def count(state: ChunkState) -> NDArray[np.int64]:
    """Pixels of each value in a chunk, shape (256,)."""
    if isinstance(state, int):
        return np.bincount([state], minlength=256) * CHUNK * CHUNK
    return np.bincount(state.ravel(), minlength=256)


def chunks_in(shape: tuple[int, int], y0: int, y1: int, x0: int, x1: int) -> list[ChunkKey]:
    """Chunks of a level of this shape that a region touches."""
    rows = range(max(y0, 0) // CHUNK, -(-min(y1, shape[0]) // CHUNK))
    columns = range(max(x0, 0) // CHUNK, -(-min(x1, shape[1]) // CHUNK))
    return [(cy, cx) for cy in rows for cx in columns]


def overlap(
    origin: tuple[int, int], shape: tuple[int, ...], key: ChunkKey
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where a chunk and an array at ``origin`` (y, x) meet: as slices of the chunk, and of the array."""
    inside, part = [], []
    for start, size, index in zip(origin, shape, key, strict=True):
        low, high = max(start, index * CHUNK), min(start + size, (index + 1) * CHUNK)
        inside.append(slice(low - index * CHUNK, high - index * CHUNK))
        part.append(slice(low - start, high - start))
    return (inside[0], inside[1]), (part[0], part[1])


def paste(out: Pixels, origin: tuple[int, int], key: ChunkKey, state: ChunkState) -> None:
    """Copy what a chunk and the array at ``origin`` have in common into the array."""
    inside, part = overlap(origin, out.shape, key)
    out[part] = state if isinstance(state, int) else state[inside]


def clip(out: Pixels, origin: tuple[int, int], shape: tuple[int, int]) -> None:
    """Clear what an array at ``origin`` has beyond a level of this shape."""
    out[max(shape[0] - origin[0], 0) :] = 0
    out[:, max(shape[1] - origin[1], 0) :] = 0


def coarser(
    changed: Mapping[ChunkKey, ChunkState], levels: int, load: Callable[[LevelKey], ChunkState]
) -> dict[LevelKey, ChunkState]:
    """What changes on the levels above when level-0 chunks change.

    Parameters
    ----------
    changed : mapping
        New states of level-0 chunks, settled.
    levels : int
        Number of levels, level 0 included.
    load : callable
        Present state of a chunk.

    Returns
    -------
    dict
        New states of the coarser chunks that differ from the present ones, settled.
    """
    result: dict[LevelKey, ChunkState] = {}
    below = dict(changed)
    for level in range(1, levels):
        quarters: dict[ChunkKey, dict[ChunkKey, ChunkState]] = {}
        for (cy, cx), state in below.items():
            quarters.setdefault((cy // 2, cx // 2), {})[cy % 2, cx % 2] = state
        below = {}
        for (cy, cx), parts in quarters.items():
            old = load((level, cy, cx))
            new = _assembled(old, parts)
            if not same(old, new):
                below[cy, cx] = result[level, cy, cx] = new
    return result


def _assembled(old: ChunkState, parts: Mapping[ChunkKey, ChunkState]) -> ChunkState:
    values = {part if isinstance(part, int) else -1 for part in parts.values()}
    if len(values) == 1 and -1 not in values and (len(parts) == 4 or values == {old if isinstance(old, int) else -1}):
        return values.pop()
    pixels = dense(old)
    for (row, column), part in parts.items():
        pixels[row * HALF : (row + 1) * HALF, column * HALF : (column + 1) * HALF] = halved(part)
    return settled(pixels)


class ChunkCache:
    """Chunk states, least recently used first out, bounded in bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._states: OrderedDict[LevelKey, ChunkState] = OrderedDict()
        self._bytes = 0

    def get(self, key: LevelKey) -> ChunkState | None:
        state = self._states.get(key)
        if state is not None:
            self._states.move_to_end(key)
        return state

    def put(self, key: LevelKey, state: ChunkState) -> None:
        self.discard(key)
        self._states[key] = state
        self._bytes += _cost(state)
        while self._bytes > self.limit:
            _, dropped = self._states.popitem(last=False)
            self._bytes -= _cost(dropped)

    def discard(self, key: Any) -> None:
        old = self._states.pop(key, None)
        if old is not None:
            self._bytes -= _cost(old)

    def clear(self) -> None:
        self._states.clear()
        self._bytes = 0


def _cost(state: ChunkState) -> int:
    return 200 if isinstance(state, int) else CHUNK * CHUNK
