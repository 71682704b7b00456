"""Pixel masks of whole slides: one annotator's class ids on one slide, sparse, at every level of a pyramid.

An edit is made on level 0 and becomes, in one transaction, new chunk versions, their inverse in the history and all
coarser levels. Parents are the highest of their four pixels, so a mask looks the same however it came about: the
coarser levels can always be derived again. Reads see whole commits only; an edit sees itself.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_histoanno.project.changes import Change
from napari_histoanno.project.chunks import (
    CHUNK,
    ChunkCache,
    ChunkState,
    LevelKey,
    Pixels,
    chunks_in,
    clip,
    coarser,
    decode,
    dense,
    encode,
    is_empty,
    overlap,
    paste,
    same,
    settled,
)
from napari_histoanno.project.errors import ProjectError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from napari_histoanno.project.changes import ChunkKey
    from napari_histoanno.project.mask_tables import MaskTables
    from napari_histoanno.project.transaction import Journal, Transaction

CACHE_BYTES = 96 << 20
COARSEST = 1024


class LabelRaster:
    """A sparse ``uint8`` class mask with its pyramid; made by :meth:`Project.raster`.

    Parameters
    ----------
    journal : Journal
        Where transactions happen.
    tables : MaskTables
        The rows of this mask.
    shape : (int, int)
        (height, width) at level 0.
    """

    chunk = CHUNK

    def __init__(self, journal: Journal, tables: MaskTables, shape: tuple[int, int]) -> None:
        self.slide = tables.slide
        self.annotator = tables.annotator
        self.shape = shape
        self.levels = 1
        while max(self.level_shape(self.levels - 1)) > COARSEST:
            self.levels += 1
        self._journal = journal
        self._tables = tables
        self._cache = ChunkCache(CACHE_BYTES)
        self._lock = threading.RLock()
        self._revision = -1
        """The mask's revision that a read-only project has cached."""
        self._editing = False
        self._counted: dict[int, NDArray[np.int64]] = {}

    def level_shape(self, level: int) -> tuple[int, int]:
        """(height, width) at a level; odd sizes are rounded up."""
        height, width = self.shape
        return (-(-height >> level), -(-width >> level))

    # ---- reading

    def read(self, level: int, y0: int, y1: int, x0: int, x1: int) -> Pixels:
        """Class ids of a region, uint8, shape (y1 - y0, x1 - x0); 0 where nothing is labelled and outside the mask."""
        out = np.zeros((max(y1 - y0, 0), max(x1 - x0, 0)), np.uint8)
        if not 0 <= level < self.levels:
            raise IndexError(f"level {level} of a mask with levels 0 … {self.levels - 1}")
        keys = [(level, *key) for key in chunks_in(self.level_shape(level), y0, y1, x0, x1)]
        for (_, cy, cx), state in self.states(keys).items():
            if not is_empty(state):
                paste(out, (y0, x0), (cy, cx), state)
        clip(out, (y0, x0), self.level_shape(level))
        return out

    def keys(self) -> set[ChunkKey]:
        """(row, column) of the level-0 chunks that hold labels."""
        return set(self._versions())

    def _versions(self) -> dict[ChunkKey, int]:
        with self._journal.database.reading() as connection:
            return self._tables.versions(connection)

    def bounds_of_labels(self) -> tuple[int, int, int, int] | None:
        """Tight box (x0, y0, x1, y1) around everything labelled, level-0 pixels; None if nothing is."""
        with self._lock:  # no commit in between
            keys = self.keys()
            rows, columns = {k[0] for k in keys}, {k[1] for k in keys}
            edges = [k for k in keys if k[0] in (min(rows), max(rows)) or k[1] in (min(columns), max(columns))]
            states = self.states([(0, *key) for key in sorted(edges)])
        boxes = []
        for (_, cy, cx), state in states.items():
            if not is_empty(state):
                ys, xs = np.flatnonzero(dense(state).any(1)), np.flatnonzero(dense(state).any(0))
                y, x = cy * CHUNK, cx * CHUNK
                boxes.append((xs[0] + x, ys[0] + y, xs[-1] + x + 1, ys[-1] + y + 1))
        if not boxes:
            return None
        corners = np.array(boxes)
        x0, y0 = corners[:, :2].min(0).tolist()
        x1, y1 = corners[:, 2:].max(0).tolist()
        return (x0, y0, x1, y1)

    def counts(self) -> dict[int, int]:
        """Labelled level-0 pixels of each class; classes without any are absent."""
        with self._journal.database.snapshot() as connection:
            versions = self._tables.versions(connection)
            counted = {version: self._counted[version] for version in versions.values() if version in self._counted}
            for version in set(versions.values()) - counted.keys():
                counted[version] = _count(decode(self._tables.load_version(connection, version)))
        if self._journal.current is None:  # else it may be rolled back, and its numbers given again
            self._counted = counted
        total = sum((counted[version] for version in versions.values()), np.zeros(256, np.int64))
        return {int(value): int(total[value]) for value in np.flatnonzero(total) if value}

    def states(self, keys: list[LevelKey]) -> dict[LevelKey, ChunkState]:
        """States of chunks, all of one commit; those of the running transaction first, in its own thread."""
        database = self._journal.database
        transaction = self._journal.current
        pending = transaction.states.get(self, {}) if transaction else {}
        states = {key: pending[key] for key in keys if key in pending}
        with self._lock:
            if not database.read_only:
                states |= self._cached(keys, states)
            missing = [key for key in keys if key not in states]
            if not missing:
                return states
            with database.snapshot() as connection:
                if database.read_only:
                    self._follow(connection)
                    states |= self._cached(missing, states)
                    missing = [key for key in missing if key not in states]
                for key, data in self._tables.load(connection, missing):
                    states[key] = decode(data)
                    self._cache.put(key, states[key])
        return states

    def _cached(self, keys: Iterable[LevelKey], known: Mapping[LevelKey, ChunkState]) -> dict[LevelKey, ChunkState]:
        found = ((key, self._cache.get(key)) for key in keys if key not in known)
        return {key: state for key, state in found if state is not None}

    def _follow(self, connection: sqlite3.Connection) -> None:
        """Forget the cache if the owning process has changed the mask."""
        revision = self._tables.revision(connection)
        if revision != self._revision:
            self._cache.clear()
            self._revision = revision

    # ---- editing

    @contextmanager
    def edit(self, action: str = "paint") -> Iterator[RasterEdit]:
        """Change level-0 chunks in one undoable action.

        Nothing is written before the block ends, and nothing at all if it ends with an exception. Afterwards
        ``changed`` of the edit names the chunks that are different.

        Raises
        ------
        ProjectError
            If the project cannot be written, or this mask is being edited by this thread already.
        """
        with self._journal.exclusive():
            self._journal.database.check_writable()
            if self._editing:
                raise ProjectError("the mask is being edited already", "", "Finish that edit first")
            self._editing = True
            try:
                edit = RasterEdit(self)
                yield edit
                self._commit(edit, action)
            finally:
                self._editing = False

    def write(
        self, y0: int, x0: int, block: Pixels, *, mask: NDArray[np.bool_] | None = None, action: str = "paint"
    ) -> frozenset[ChunkKey]:
        """Write a block of class ids at a place, clipped to the slide, as one action.

        Parameters
        ----------
        y0, x0 : int
            Level-0 pixel of the block's first one.
        block : uint8, shape (h, w)
            Class ids, 0 to erase.
        mask : bool, shape (h, w), optional
            Where to write; everywhere by default.
        action : str
            Name in the history.

        Returns
        -------
        frozenset of (int, int)
            Chunks that are different.
        """
        block = np.asarray(block, np.uint8)
        with self.edit(action) as edit:
            edit.write(y0, x0, block, mask=mask)
        return edit.changed

    def _commit(self, edit: RasterEdit, action: str) -> None:
        states = edit.finished()
        if not states:
            return
        with self._journal.transaction(action) as transaction, transaction.savepoint():
            blobs = {key: encode(state) if not is_empty(state) else None for key, state in states.items()}
            self._tables.replace(transaction, blobs)
            self._derive(transaction, states)
        edit.changed = frozenset(states)

    def restore(self, transaction: Transaction, versions: Mapping[ChunkKey, int | None]) -> None:
        """Make other versions of level-0 chunks the live ones, for undo and redo."""
        if self._editing:
            raise ProjectError("the mask is being edited", "", "Finish that edit first")
        blobs = {key: self._tables.load_version(transaction.connection, v) for key, v in versions.items()}
        self._tables.point(transaction, versions)
        self._derive(transaction, {key: decode(data) for key, data in blobs.items()})

    def _derive(self, transaction: Transaction, states: Mapping[ChunkKey, ChunkState]) -> None:
        """Bring the coarser levels and the transaction's view of them up to date."""
        new: dict[LevelKey, ChunkState] = {(0, *key): state for key, state in states.items()}
        above = coarser(states, self.levels, lambda key: self.states([key])[key])
        self._tables.write_coarse(
            transaction, {key: encode(state) if not is_empty(state) else None for key, state in above.items()}
        )
        transaction.states.setdefault(self, {}).update(new | above)
        transaction.changes.append(
            Change("raster", transaction.action, self.slide, annotator=self.annotator, chunks=frozenset(states))
        )

    def publishing(self) -> AbstractContextManager[Any]:
        """Keeps readers out while a commit happens."""
        return self._lock

    def publish(self, states: Mapping[LevelKey, ChunkState]) -> None:
        """Take over what was committed."""
        for key, state in states.items():
            self._cache.put(key, state)


def _count(state: ChunkState) -> NDArray[np.int64]:
    """Pixels of each value in a chunk."""
    if isinstance(state, int):
        return np.bincount([state], minlength=256) * CHUNK * CHUNK
    return np.bincount(state.ravel(), minlength=256)


class RasterEdit:
    """Level-0 chunks being changed; made by :meth:`LabelRaster.edit`."""

    def __init__(self, raster: LabelRaster) -> None:
        self.changed: frozenset[ChunkKey] = frozenset()
        """After the edit: the chunks that are different."""
        self._raster = raster
        self._states: dict[ChunkKey, ChunkState] = {}

    def chunk(self, cy: int, cx: int) -> Pixels:
        """The writable pixels of a chunk, uint8, shape (512, 512); what lies beyond the slide is ignored."""
        state = self._states.get((cy, cx))
        if isinstance(state, np.ndarray):
            return state
        pixels = dense(self._current(cy, cx) if state is None else state)
        self._states[cy, cx] = pixels
        return pixels

    def fill(self, cy: int, cx: int, value: int) -> None:
        """Give a whole chunk one class id."""
        self._check(cy, cx)
        if not 0 <= value <= 255:
            raise ValueError(f"a class id lies in 0 … 255, not {value}")
        self._states[cy, cx] = int(value)

    def read(self, y0: int, y1: int, x0: int, x1: int) -> Pixels:
        """Level-0 class ids of a region as this edit leaves them; see :meth:`LabelRaster.read`."""
        out = self._raster.read(0, y0, y1, x0, x1)
        for key in chunks_in(self._raster.shape, y0, y1, x0, x1):
            if key in self._states:
                paste(out, (y0, x0), key, self._states[key])
        clip(out, (y0, x0), self._raster.shape)
        return out

    def write(self, y0: int, x0: int, block: Pixels, *, mask: NDArray[np.bool_] | None = None) -> None:
        """Write a block at a place, where ``mask`` says so, clipped to the slide."""
        height, width = block.shape
        for cy, cx in chunks_in(self._raster.shape, y0, y0 + height, x0, x0 + width):
            inside, part = overlap((y0, x0), block.shape, (cy, cx))
            if mask is None:
                self.chunk(cy, cx)[inside] = block[part]
            elif mask[part].any():
                np.copyto(self.chunk(cy, cx)[inside], block[part], where=mask[part])

    def finished(self) -> dict[ChunkKey, ChunkState]:
        """The chunks that are different now, settled, empty beyond the slide."""
        before = self._raster.states([(0, *key) for key in self._states])
        # Copies: whoever still holds an array of this edit must not write into what was committed.
        after = {key: settled(self._within_slide(key, state)) for key, state in self._states.items()}
        return {key: state for key, state in after.items() if not same(before[0, *key], state)}

    def _within_slide(self, key: ChunkKey, state: ChunkState) -> ChunkState:
        height, width = self._raster.shape
        cut = (key[0] + 1) * CHUNK > height or (key[1] + 1) * CHUNK > width
        if isinstance(state, int) and not (state and cut):
            return state
        pixels = dense(state)
        clip(pixels, (key[0] * CHUNK, key[1] * CHUNK), self._raster.shape)
        return pixels

    def _current(self, cy: int, cx: int) -> ChunkState:
        self._check(cy, cx)
        return self._raster.states([(0, cy, cx)])[0, cy, cx]

    def _check(self, cy: int, cx: int) -> None:
        height, width = self._raster.shape
        if not (0 <= cy * CHUNK < height and 0 <= cx * CHUNK < width):
            raise IndexError(f"chunk ({cy}, {cx}) lies outside a mask of {width} x {height} px")
