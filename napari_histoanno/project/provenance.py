"""Which pixels of a mask are a model's and not yet a person's.

Beside each annotator's mask there may be a second one, stored the same way under a key of its own, that holds the class
a model predicted at each pixel that was taken over. A pixel counts as predicted as long as both agree. Every edit of
a mask keeps the two together, in the same transaction: what a person says at a pixel, be it the same class again, is
the person's from then on, and undo makes it the model's again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_histoanno.project.chunks import (
    CHUNK,
    ChunkState,
    Pixels,
    chunks_in,
    count,
    decode,
    dense,
    is_empty,
    paste,
    settled,
)

if TYPE_CHECKING:
    import sqlite3

    from numpy.typing import NDArray

    from napari_histoanno.project.changes import ChunkKey
    from napari_histoanno.project.mask_tables import MaskTables
    from napari_histoanno.project.rasters import LabelRaster
    from napari_histoanno.project.transaction import Journal

    _Versions = tuple[int, int | None]

# The unit separator cannot be typed into a name.
PREDICTED_PREFIX = "\x1fpredicted\x1f"


def predicted_key(annotator: str) -> str:
    """The name under which what was predicted in an annotator's mask is stored."""
    return PREDICTED_PREFIX + annotator


def is_predicted_key(name: str) -> bool:
    """Whether a name is no annotator's but one of :func:`predicted_key`."""
    return name.startswith(PREDICTED_PREFIX)


def split(mask: ChunkState, marks: ChunkState, *, predicted: bool) -> ChunkState:
    """The predicted pixels of a chunk, or all others; 0 elsewhere."""
    if is_empty(marks):
        return 0 if predicted else mask
    if isinstance(mask, int) and isinstance(marks, int):
        return mask if (mask == marks) is predicted else 0
    pixels = dense(mask)
    pixels[(pixels == marks) != predicted] = 0
    return settled(pixels)


def remarked(
    before: ChunkState,
    after: ChunkState,
    marks: ChunkState,
    said: NDArray[np.bool_] | bool,
    *,
    predicted: bool,
) -> ChunkState:
    """What is predicted in a chunk after an edit.

    Parameters
    ----------
    before, after : ChunkState
        The mask's chunk.
    marks : ChunkState
        What was predicted there.
    said : bool or bool array, shape (512, 512)
        Where something was written, even if it was there already.
    predicted : bool
        Whether the edit takes over a prediction: what it changed is predicted then. Else it is a person's.

    Returns
    -------
    ChunkState
        Settled.
    """
    if not predicted and (said is True or is_empty(marks)):
        return 0
    if isinstance(before, int) and isinstance(after, int) and isinstance(marks, int) and isinstance(said, bool):
        if before == after:
            return marks
        return after if predicted else 0
    changed = dense(before) != dense(after)
    if predicted:
        return settled(np.where(changed, dense(after), dense(marks)))
    return settled(np.where(changed | said, np.uint8(0), dense(marks)))


class MaskPart:
    """The pixels of a mask that are a person's, or those that are still a model's; made by :class:`LabelRaster`.

    Parameters
    ----------
    mask : LabelRaster
        The whole mask.
    journal : Journal
        Where transactions happen.
    tables : (MaskTables, MaskTables)
        The rows of the mask, and of what is predicted in it.
    predicted : bool
        Which of the two parts.
    """

    chunk = CHUNK

    def __init__(
        self, mask: LabelRaster, journal: Journal, tables: tuple[MaskTables, MaskTables], *, predicted: bool
    ) -> None:
        self.predicted = predicted
        self._mask = mask
        self._journal = journal
        self._tables = tables
        self._counted: dict[_Versions, NDArray[np.int64]] = {}

    def read(self, y0: int, y1: int, x0: int, x1: int) -> Pixels:
        """Level-0 class ids of a region, uint8, shape (y1 - y0, x1 - x0); 0 for all that is not of this part."""
        out = np.zeros((max(y1 - y0, 0), max(x1 - x0, 0)), np.uint8)
        states, marks = self._mask.both([(0, *key) for key in chunks_in(self._mask.shape, y0, y1, x0, x1)])
        for key, state in states.items():
            part = split(state, marks[key], predicted=self.predicted)
            if not is_empty(part):
                paste(out, (y0, x0), key[1:], part)
        out[max(self._mask.shape[0] - y0, 0) :] = 0
        out[:, max(self._mask.shape[1] - x0, 0) :] = 0
        return out

    def keys(self) -> set[ChunkKey]:
        """(row, column) of the level-0 chunks that hold pixels of this part."""
        with self._journal.database.snapshot() as connection:
            versions = self._versions(connection)
            marked = {key: pair for key, pair in versions.items() if pair[1] is not None}
            counted = self._count(connection, marked)
        return {key for key in versions if key not in marked or counted[key].any()}

    def counts(self) -> dict[int, int]:
        """Level-0 pixels of each class; classes without any are absent."""
        with self._journal.database.snapshot() as connection:
            counted = self._count(connection, self._versions(connection))
        total = sum(counted.values(), np.zeros(256, np.int64))
        return {int(value): int(total[value]) for value in np.flatnonzero(total)}

    def _versions(self, connection: sqlite3.Connection) -> dict[ChunkKey, _Versions]:
        """Live versions of the chunks that may hold something of this part, and of what is predicted in them."""
        mask, marks = (tables.versions(connection) for tables in self._tables)
        return {key: (version, marks.get(key)) for key, version in mask.items() if key in marks or not self.predicted}

    def _count(
        self, connection: sqlite3.Connection, versions: dict[ChunkKey, _Versions]
    ) -> dict[ChunkKey, NDArray[np.int64]]:
        """Pixels of each class in chunks, shape (256,) with nothing at 0; what was counted before is kept."""
        known = {pair: self._counted[pair] for pair in versions.values() if pair in self._counted}
        load = self._tables[0].load_version
        for pair in set(versions.values()) - known.keys():
            mask, marks = load(connection, pair[0]), load(connection, pair[1])
            if mask == marks:  # as most of what was taken over: told without looking into it
                part = decode(mask) if self.predicted else 0
            else:
                part = split(decode(mask), decode(marks), predicted=self.predicted)
            known[pair] = count(part)
            known[pair][0] = 0
        if self._journal.current is None:  # else it may be rolled back, and its numbers given again
            self._counted = {**self._counted, **known}
        return {key: known[pair] for key, pair in versions.items()}
