"""Connections to ``project.db``: one that writes, a few that read, and what their errors mean to a user.

Readers see the last commit and never wait for the writer (WAL). ``synchronous = FULL``: what was acknowledged survives
the process and a power cut alike; a commit costs one sync of the log.
"""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
import threading
from pathlib import Path
from shutil import copyfile
from typing import TYPE_CHECKING

from napari_histoanno.project import schema
from napari_histoanno.project.errors import ProjectError

if TYPE_CHECKING:
    from collections.abc import Iterator

_BUSY_SECONDS = 10.0
_IDLE_READERS = 4
_LOG_BYTES = 64 << 20
_CACHE_KB = 32 << 10


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into a ProjectError that says what to do."""
    try:
        yield
    except sqlite3.Error as error:
        raise _explain(error, path) from error


def _explain(error: sqlite3.Error, path: Path) -> ProjectError:
    text = str(error)
    code = getattr(error, "sqlite_errorcode", 0) or 0
    hints = {
        sqlite3.SQLITE_FULL: "The disk is full: make room and do it again; everything before it is kept",
        sqlite3.SQLITE_IOERR: "The disk could not be read or written: check the drive or the network and do it again",
        sqlite3.SQLITE_READONLY: "The project cannot be written: check the permissions of its folder",
        sqlite3.SQLITE_CANTOPEN: "Check that the folder exists and that you may read and write it",
        sqlite3.SQLITE_BUSY: "Another program holds the database: close it and try again",
        sqlite3.SQLITE_CORRUPT: "The file is damaged: restore a backup, or recover it with “sqlite3 … .recover”",
        sqlite3.SQLITE_NOTADB: "Choose the folder that holds the project.db of a project",
    }
    return ProjectError(f"{path} could not be used", text, hints.get(code & 0xFF, ""))


class Database:
    """The connections of one open project.

    Parameters
    ----------
    path : Path
        The database file.
    read_only : str
        Why nothing may be written; "" opens it for writing.
    """

    def __init__(self, path: Path, *, read_only: str) -> None:
        self.path = path
        self.read_only = bool(read_only)
        self._read_only_because = read_only
        self.closed = False
        self.lock = threading.RLock()
        """Held by the thread that writes."""
        self._snapshot: tempfile.TemporaryDirectory[str] | None = None
        self._uri = f"{path.absolute().as_uri()}?mode=ro"
        self._idle: list[sqlite3.Connection] = []
        self._idle_lock = threading.Lock()
        self._writer: sqlite3.Connection | None = None
        self._writing_thread: int | None = None
        with explained(path):
            if read_only:
                self._idle.append(self._open_reader_somehow())
            else:
                self._writer = self._open_writer()

    # ---- opening

    def _open_writer(self) -> sqlite3.Connection:
        connection = _connect(f"{self.path.absolute().as_uri()}?mode=rw")
        try:
            schema.check(connection, self.path)  # before anything is written: it may be another program's file
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA secure_delete = OFF")
            connection.execute("PRAGMA temp_store = MEMORY")
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KB}")
            connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
            schema.upgrade(connection, self.path)
            connection.execute("PRAGMA foreign_keys = ON")
        except BaseException:
            connection.close()
            raise
        return connection

    def _open_reader_somehow(self) -> sqlite3.Connection:
        """A read-only connection, also where SQLite may not create its log beside the database."""
        try:
            return self._open_reader()
        except sqlite3.OperationalError:
            log = self.path.with_name(f"{self.path.name}-wal")
            if not self.path.is_file():
                raise
            if log.is_file() and log.stat().st_size:
                self._uri = self._copy_with_log(log)
            else:
                self._uri += "&immutable=1"  # nobody can write here, so nothing will change
            return self._open_reader()

    def _copy_with_log(self, log: Path) -> str:
        """Address of a private copy: without write access SQLite cannot read commits that only the log holds."""
        self._snapshot = tempfile.TemporaryDirectory(prefix="histoanno-", ignore_cleanup_errors=True)
        for file in (self.path, log):
            copyfile(file, Path(self._snapshot.name) / file.name)
        return f"{(Path(self._snapshot.name) / self.path.name).as_uri()}?mode=rw"

    def _open_reader(self) -> sqlite3.Connection:
        connection = _connect(self._uri)
        try:
            connection.execute("PRAGMA query_only = ON")
            if self.read_only and schema.check(connection, self.path) < len(schema.MIGRATIONS):
                raise ProjectError(
                    f"{self.path} was written by an older program",
                    "it has to be brought up to date, which a read-only opening cannot do",
                    "Open the project for writing once",
                )
        except BaseException:
            connection.close()
            raise
        return connection

    # ---- use

    @property
    def writing_here(self) -> bool:
        """Whether this thread is inside a transaction."""
        return self._writing_thread == threading.get_ident()

    @property
    def writer(self) -> sqlite3.Connection:
        """The connection that writes, for whoever holds the lock.

        Raises
        ------
        ProjectError
            If the project is closed or read-only.
        """
        if self._writer is None:
            self.check_open()
            raise ProjectError(
                f"{self.path.parent} is open read-only", self._read_only_because, "Open it for writing to change it"
            )
        return self._writer

    def check_writable(self) -> None:
        """Raise ProjectError if the project is closed or read-only."""
        _ = self.writer

    def check_open(self) -> None:
        """Raise ProjectError after :meth:`close`."""
        if self.closed:
            raise ProjectError(f"{self.path.parent} is closed", "", "Open the project again")

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees the last commit, or, inside a transaction of this thread, the transaction itself."""
        self.check_open()
        with explained(self.path):
            if self.writing_here:
                yield self.writer
                return
            connection = self._take_reader()
            try:
                yield connection
            finally:
                self._return_reader(connection)

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Like :meth:`reading`, with all queries of the block seeing the same commit."""
        with self.reading() as connection:
            if self.writing_here:
                yield connection
                return
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("COMMIT")

    def _take_reader(self) -> sqlite3.Connection:
        with self._idle_lock:
            if self._idle:
                return self._idle.pop()
        return self._open_reader()

    def _return_reader(self, connection: sqlite3.Connection) -> None:
        with self._idle_lock:
            if not self.closed and len(self._idle) < _IDLE_READERS:
                self._idle.append(connection)
                return
        connection.close()

    def begin(self) -> sqlite3.Connection:
        """Start the transaction of this thread, which holds :attr:`lock`."""
        connection = self.writer
        connection.execute("BEGIN IMMEDIATE")
        self._writing_thread = threading.get_ident()
        return connection

    def commit(self) -> None:
        """Make the transaction durable."""
        self.writer.execute("COMMIT")
        self._writing_thread = None

    def roll_back(self) -> None:
        """Forget the transaction; SQLite may have done so by itself after an error."""
        self._writing_thread = None
        if self._writer is not None and self._writer.in_transaction:
            self._writer.execute("ROLLBACK")

    def close(self) -> None:
        """Close every connection; the last one merges the log into the database."""
        with self.lock:
            with self._idle_lock:
                self.closed = True
                idle, self._idle = self._idle, []
            for connection in idle:
                connection.close()
            if self._writer is not None:
                self._writer.close()
                self._writer = None
            if self._snapshot is not None:
                self._snapshot.cleanup()
                self._snapshot = None


def _connect(uri: str) -> sqlite3.Connection:
    return sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
