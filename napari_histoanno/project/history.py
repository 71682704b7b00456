"""Undo, redo and the audit trail: one timeline for the whole project, kept across restarts.

An entry is *done*, *undone*, or *abandoned* (undone, and then something else was done); it is marked, never deleted. A
*note* is a line about what cannot be undone. Old mask chunks may be pruned to bound the size of the database: their
entries stay in the trail but can no longer be undone.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from napari_histoanno.project.changes import Change, HistoryEntry, merged
from napari_histoanno.project.errors import ProjectError
from napari_histoanno.project.mask_tables import forget_entries
from napari_histoanno.project.transaction import Transaction, now

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from napari_histoanno.project.transaction import Journal

_PRUNE_TO = 0.9  # pruning a little more than needed keeps it rare

_log = logging.getLogger(__name__)
_LAST_DONE = "SELECT entry, action, pruned FROM history WHERE state = 'done' ORDER BY entry DESC LIMIT 1"
_FIRST_UNDONE = "SELECT entry, action, pruned FROM history WHERE state = 'undone' ORDER BY entry LIMIT 1"


class Reversible(Protocol):
    """A store that can take its part of an entry back and do it again."""

    def replay(self, transaction: Transaction, entry: int, *, forward: bool) -> None:
        """Bring the state before (``forward=False``) or after an entry; adds its changes to the transaction."""


class History:
    """The timeline of a project.

    Parameters
    ----------
    journal : Journal
        Where transactions happen.
    stores : sequence of Reversible
        Everything that actions change.
    """

    def __init__(self, journal: Journal, stores: Sequence[Reversible]) -> None:
        self._journal = journal
        self._stores = tuple(stores)
        journal.before_commit = self._prune

    @property
    def limit(self) -> int:
        """Bytes of mask chunks that the actions within reach of undo may have written; kept with the project.

        Beyond it the oldest actions lose their inverses at the next action; the last action can always be undone.
        """
        with self._journal.database.reading() as connection:
            return _number(connection, "history_limit")

    @limit.setter
    def limit(self, value: int) -> None:
        with self._journal.transaction("limit history") as transaction, transaction.savepoint():
            transaction.connection.execute(
                "INSERT OR REPLACE INTO meta VALUES ('history_limit', ?)", (str(int(value)),)
            )

    @property
    def can_undo(self) -> bool:
        return self.undo_text is not None

    @property
    def can_redo(self) -> bool:
        return self.redo_text is not None

    @property
    def undo_text(self) -> str | None:
        """Name of the action that :meth:`undo` takes back; None if there is none."""
        return self._reachable(_LAST_DONE)

    @property
    def redo_text(self) -> str | None:
        """Name of the action that :meth:`redo` does again; None if there is none."""
        return self._reachable(_FIRST_UNDONE)

    def _reachable(self, query: str) -> str | None:
        with self._journal.database.reading() as connection:
            row = connection.execute(query).fetchone()
        return str(row[1]) if row and not row[2] else None

    def undo(self) -> Change | None:
        """Take the last action back.

        Returns
        -------
        Change or None
            What is different now, or None if there is nothing to undo. An action that touched several things gives the
            first here and all of them by the ``changed`` signal.

        Raises
        ------
        ProjectError
            Inside a transaction, or if the project cannot be written.
        """
        return self._step(_LAST_DONE, forward=False)

    def redo(self) -> Change | None:
        """Do the last undone action again; see :meth:`undo`."""
        return self._step(_FIRST_UNDONE, forward=True)

    def _step(self, query: str, *, forward: bool) -> Change | None:
        if self._journal.current is not None:
            raise ProjectError("undo and redo are not possible inside a transaction")
        with self._journal.transaction("redo" if forward else "undo") as transaction:
            row = transaction.connection.execute(query).fetchone()
            if row is None or row[2]:
                return None
            transaction.action = str(row[1])
            for store in self._stores:
                store.replay(transaction, int(row[0]), forward=forward)
            transaction.connection.execute(
                "UPDATE history SET state = ?, marked_at = ?, marked_by = ? WHERE entry = ?",
                ("done" if forward else "undone", now(), transaction.annotator, row[0]),
            )
            changes = merged(transaction.changes)
        return changes[0] if changes else None

    def entries(self, limit: int | None = 100) -> list[HistoryEntry]:
        """The audit trail, newest first, notes included; ``limit=None`` gives all of it."""
        with self._journal.database.reading() as connection:
            rows = connection.execute(
                "SELECT entry, at, annotator, action, state, pruned FROM history ORDER BY entry DESC LIMIT ?",
                (-1 if limit is None else limit,),
            ).fetchall()
        return [
            HistoryEntry(
                id=entry,
                when=datetime.fromisoformat(at),
                annotator=annotator,
                action=action,
                undone=state in ("undone", "abandoned"),
                reversible=state in ("done", "undone") and not pruned,
            )
            for entry, at, annotator, action, state, pruned in rows
        ]

    def _prune(self, transaction: Transaction) -> None:
        """Drop the oldest inverses of mask edits while there are more bytes of them than the limit."""
        connection = transaction.connection
        total, limit = _number(connection, "history_bytes"), _number(connection, "history_limit")
        if total <= limit:
            return
        last = None
        query = "SELECT entry, bytes FROM history WHERE NOT pruned AND bytes > 0 AND entry < ? ORDER BY entry"
        for entry, size in connection.execute(query, (transaction.entry,)).fetchall():
            if total <= limit * _PRUNE_TO:
                break
            total -= size
            last = entry
        if last is None:
            return
        connection.execute("UPDATE meta SET value = ? WHERE key = 'history_bytes'", (str(total),))
        forget_entries(transaction, last)
        connection.execute("UPDATE history SET pruned = 1 WHERE entry <= ? AND NOT pruned", (last,))
        text = f"history pruned to {limit / 1e6:.1f} MB: actions up to number {last} can no longer be undone"
        transaction.note(text)
        _log.warning(text)


def _number(connection: sqlite3.Connection, key: str) -> int:
    return int(connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()[0])
