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
    count,
    decode,
    dense,
    encode,
    is_empty,
    paste,
)
from napari_histoanno.project.errors import ProjectError
from napari_histoanno.project.provenance import MaskPart
from napari_histoanno.project.raster_edit import RasterEdit

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
    predicted : LabelRaster, optional
        The classes that a model predicted at pixels of this mask; None for such a mask itself.

    Attributes
    ----------
    confirmed, unconfirmed : MaskPart
        The pixels that a person painted or confirmed, and those that were predicted and nobody has touched.
    """

    chunk = CHUNK

    def __init__(
        self, journal: Journal, tables: MaskTables, shape: tuple[int, int], *, predicted: LabelRaster | None = None
    ) -> None:
        self.slide = tables.slide
        self.annotator = tables.annotator
        self.shape = shape
        self.levels = 1
        while max(self.level_shape(self.levels - 1)) > COARSEST:
            self.levels += 1
        self._journal = journal
        self.tables = tables
        self._cache = ChunkCache(CACHE_BYTES)
        self._predicted = predicted
        # One lock for both, so that whoever reads both sees the same commit of them.
        self.lock: threading.RLock = threading.RLock() if predicted is None else predicted.lock
        self._revision = -1
        """The mask's revision that a read-only project has cached."""
        self._editing = False
        self._counted: dict[int, NDArray[np.int64]] = {}
        if predicted is not None:
            both = (tables, predicted.tables)
            self.confirmed = MaskPart(self, journal, both, predicted=False)
            self.unconfirmed = MaskPart(self, journal, both, predicted=True)

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
            return self.tables.versions(connection)

    def bounds_of_labels(self) -> tuple[int, int, int, int] | None:
        """Tight box (x0, y0, x1, y1) around everything labelled, level-0 pixels; None if nothing is."""
        with self.lock:  # no commit in between
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
            versions = self.tables.versions(connection)
            counted = {version: self._counted[version] for version in versions.values() if version in self._counted}
            for version in set(versions.values()) - counted.keys():
                counted[version] = count(decode(self.tables.load_version(connection, version)))
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
        with self.lock:
            if not database.read_only:
                states |= self._cached(keys, states)
            missing = [key for key in keys if key not in states]
            if not missing:
                return states
            with database.snapshot() as connection:
                return states | self.load(connection, missing)

    def both(self, keys: list[LevelKey]) -> tuple[dict[LevelKey, ChunkState], dict[LevelKey, ChunkState]]:
        """States of chunks and of what was predicted there, all of one commit."""
        marks = self._predicted
        if marks is None:
            raise ProjectError("this mask holds nothing but predictions", "", "Ask the annotator's own")
        database = self._journal.database
        with self.lock:
            if not database.read_only:
                return self.states(keys), marks.states(keys)
            with database.snapshot() as connection:
                return self.load(connection, keys), marks.load(connection, keys)

    def load(self, connection: sqlite3.Connection, keys: list[LevelKey]) -> dict[LevelKey, ChunkState]:
        """States of chunks as a connection sees them; for whoever holds :attr:`lock`."""
        states = {}
        if self._journal.database.read_only:
            self._follow(connection)
            states = self._cached(keys, {})
        for key, data in self.tables.load(connection, [key for key in keys if key not in states]):
            states[key] = decode(data)
            self._cache.put(key, states[key])
        return states

    def holds_predictions(self, key: ChunkKey) -> bool:
        """Whether something in a level-0 chunk was predicted and not touched since."""
        return self._predicted is not None and not is_empty(self._predicted.states([(0, *key)])[0, *key])

    def _cached(self, keys: Iterable[LevelKey], known: Mapping[LevelKey, ChunkState]) -> dict[LevelKey, ChunkState]:
        found = ((key, self._cache.get(key)) for key in keys if key not in known)
        return {key: state for key, state in found if state is not None}

    def _follow(self, connection: sqlite3.Connection) -> None:
        """Forget the cache if the owning process has changed the mask."""
        revision = self.tables.revision(connection)
        if revision != self._revision:
            self._cache.clear()
            self._revision = revision

    # ---- editing

    @contextmanager
    def edit(self, action: str = "paint", *, predicted: bool = False) -> Iterator[RasterEdit]:
        """Change level-0 chunks in one undoable action.

        Nothing is written before the block ends, and nothing at all if it ends with an exception. Afterwards
        ``changed`` of the edit names the chunks that are different.

        Parameters
        ----------
        action : str
            Name in the history.
        predicted : bool
            The edit takes over what a model said: what it changes is predicted until a person says something there.
            Otherwise all that is written becomes the person's, the class that was predicted there included.

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
                edit = RasterEdit(self, predicted=predicted)
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
        marks = edit.remarked(states, self._predicted) if self._predicted is not None else {}
        if not (states or marks):
            return
        with self._journal.transaction(action) as transaction, transaction.savepoint():
            self.replace(transaction, states)
            if self._predicted is not None:
                self._predicted.replace(transaction, marks)
        edit.changed = frozenset(states)

    def replace(self, transaction: Transaction, states: Mapping[ChunkKey, ChunkState]) -> None:
        """Give level-0 chunks new states, settled, with their inverse and all coarser levels."""
        if states:
            blobs = {key: encode(state) if not is_empty(state) else None for key, state in states.items()}
            self.tables.replace(transaction, blobs)
            self._derive(transaction, states)

    def restore(self, transaction: Transaction, versions: Mapping[ChunkKey, int | None]) -> None:
        """Make other versions of level-0 chunks the live ones, for undo and redo."""
        if self._editing:
            raise ProjectError("the mask is being edited", "", "Finish that edit first")
        blobs = {key: self.tables.load_version(transaction.connection, v) for key, v in versions.items()}
        self.tables.point(transaction, versions)
        self._derive(transaction, {key: decode(data) for key, data in blobs.items()})

    def _derive(self, transaction: Transaction, states: Mapping[ChunkKey, ChunkState]) -> None:
        """Bring the coarser levels and the transaction's view of them up to date."""
        new: dict[LevelKey, ChunkState] = {(0, *key): state for key, state in states.items()}
        above = coarser(states, self.levels, lambda key: self.states([key])[key])
        self.tables.write_coarse(
            transaction, {key: encode(state) if not is_empty(state) else None for key, state in above.items()}
        )
        transaction.states.setdefault(self, {}).update(new | above)
        transaction.changes.append(
            Change("raster", transaction.action, self.slide, annotator=self.annotator, chunks=frozenset(states))
        )

    def publishing(self) -> AbstractContextManager[Any]:
        """Keeps readers out while a commit happens."""
        return self.lock

    def publish(self, states: Mapping[LevelKey, ChunkState]) -> None:
        """Take over what was committed."""
        for key, state in states.items():
            self._cache.put(key, state)
