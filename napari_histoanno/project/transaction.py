"""One user action, one transaction: what it changes, its inverse and its line in the history become durable together.

Actions nest: ``with journal.transaction("convert")`` around several of them makes one entry. Inside, each is a
savepoint, so one that fails leaves nothing behind even if its caller carries on. What lives in memory (cached mask
chunks) follows only after the commit, and listeners hear of it last, when no lock is held.
"""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from napari_histoanno.project.changes import Change, merged
from napari_histoanno.project.database import explained
from napari_histoanno.project.errors import ProjectError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Mapping

    from napari_histoanno.project.database import Database


class Published(Protocol):
    """Something in memory that mirrors the database."""

    def publishing(self) -> contextlib.AbstractContextManager[Any]:
        """Keeps readers out while the commit happens."""

    def publish(self, states: Mapping[Any, Any]) -> None:
        """Take over what was committed."""


def now() -> str:
    """The time as it is stored."""
    return datetime.now(UTC).isoformat()


class Transaction:
    """What one action has done so far; only the thread that began it sees it."""

    def __init__(self, connection: sqlite3.Connection, action: str) -> None:
        self.connection = connection
        self.action = action
        self.changes: list[Change] = []
        self.states: dict[Published, dict[Any, Any]] = {}
        self.depth = 0
        self.broken = False
        self._entry: int | None = None

    @property
    def annotator(self) -> str:
        row = self.connection.execute("SELECT value FROM meta WHERE key = 'annotator'").fetchone()
        return str(row[0]) if row else ""

    @property
    def entry(self) -> int:
        """This action's line in the history, written on first use; what could be redone until now no longer can."""
        if self._entry is None:
            self.connection.execute("UPDATE history SET state = 'abandoned' WHERE state = 'undone'")
            self._entry = self._write_entry(self.action, "done")
        return self._entry

    @property
    def has_entry(self) -> bool:
        return self._entry is not None

    def note(self, text: str) -> None:
        """Write a line in the audit trail for what cannot be undone."""
        self._write_entry(text, "note")

    def _write_entry(self, action: str, state: str) -> int:
        cursor = self.connection.execute(
            "INSERT INTO history (at, annotator, action, state) VALUES (?, ?, ?, ?)",
            (now(), self.annotator, action, state),
        )
        return int(cursor.lastrowid or 0)

    def check_whole(self) -> None:
        """Raise ProjectError if the database has given the transaction up."""
        self.broken = self.broken or not self.connection.in_transaction
        if self.broken:
            raise ProjectError(
                f"“{self.action}” was not saved",
                "a part of it could not be written",
                "Make room on the disk and do it again; everything before it is kept",
            )

    @contextlib.contextmanager
    def savepoint(self) -> Iterator[None]:
        """All of the block or nothing of it."""
        self.check_whole()
        name = f"level{self.depth}"
        changes, entry = len(self.changes), self._entry
        states = {owner: dict(known) for owner, known in self.states.items()}
        self.connection.execute(f"SAVEPOINT {name}")
        self.depth += 1
        try:
            yield
            self.connection.execute(f"RELEASE {name}")
        except BaseException:
            del self.changes[changes:]
            self.states, self._entry = states, entry
            # After a full disk SQLite has already given up the whole transaction.
            self.broken = self.broken or not self.connection.in_transaction
            if not self.broken:
                self.connection.execute(f"ROLLBACK TO {name}")
                self.connection.execute(f"RELEASE {name}")
            raise
        finally:
            self.depth -= 1


class Journal:
    """The transactions of a project.

    Parameters
    ----------
    database : Database
        Where they happen.
    announce : callable
        Told of every change after its commit, from the thread that made it.
    """

    def __init__(self, database: Database, announce: Callable[[Change], None]) -> None:
        self.database = database
        self.before_commit: Callable[[Transaction], None] = lambda _: None
        """Called inside each transaction that has a history entry, before it ends."""
        self._announce = announce
        self._current: Transaction | None = None
        self._committed: list[Change] = []
        self._holds = 0

    @property
    def current(self) -> Transaction | None:
        """The transaction of this thread, if it is inside one."""
        return self._current if self.database.writing_here else None

    @contextlib.contextmanager
    def transaction(self, action: str) -> Iterator[Transaction]:
        """Everything in the block as one action; an exception undoes it and goes on.

        Raises
        ------
        ProjectError
            If the project is closed or read-only, or the database cannot be written.
        """
        with explained(self.database.path):
            running = self.current
            if running is not None:
                with running.savepoint():
                    yield running
                return
            with self.exclusive():
                transaction = Transaction(self.database.begin(), action)
                self._current = transaction
                try:
                    yield transaction
                    self._commit(transaction)
                except BaseException:
                    self.database.roll_back()
                    raise
                finally:
                    self._current = None

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """No other thread writes inside the block; what it committed is announced after it, when no lock is held."""
        committed: list[Change] = []
        try:
            with self.database.lock:
                self._holds += 1
                try:
                    yield
                finally:
                    self._holds -= 1
                    if not self._holds:
                        committed, self._committed = self._committed, []
        finally:
            for change in committed:
                self._announce(change)

    def _commit(self, transaction: Transaction) -> None:
        transaction.check_whole()
        if transaction.has_entry:
            self.before_commit(transaction)
        with contextlib.ExitStack() as stack:
            for owner in transaction.states:
                stack.enter_context(owner.publishing())
            self.database.commit()
            for owner, states in transaction.states.items():
                owner.publish(states)
        self._committed.extend(merged(transaction.changes))
