"""The rows of a mask: live chunks, their versions, and what the history needs of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_histoanno.project.provenance import is_predicted_key
from napari_histoanno.project.transaction import now

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping

    from napari_histoanno.project.changes import ChunkKey
    from napari_histoanno.project.chunks import LevelKey
    from napari_histoanno.project.transaction import Transaction

_UNUSED = (
    "DELETE FROM chunk_versions WHERE version IN (SELECT version FROM temp.forgotten)"
    " AND NOT EXISTS (SELECT 1 FROM chunks WHERE chunks.version = chunk_versions.version)"
    " AND NOT EXISTS (SELECT 1 FROM history_chunks WHERE before = chunk_versions.version)"
    " AND NOT EXISTS (SELECT 1 FROM history_chunks WHERE after = chunk_versions.version)"
)


class MaskTables:
    """The rows of one mask.

    Parameters
    ----------
    slide : str
        Id of the slide.
    number : int
        Its row.
    annotator : str
        Whose mask.
    """

    def __init__(self, slide: str, number: int, annotator: str) -> None:
        self.slide = slide
        self.annotator = annotator
        self._number = number

    # ---- reading

    def _row(self, connection: sqlite3.Connection) -> tuple[int, int] | None:
        """(mask, revision), or None while nothing was ever painted."""
        row: tuple[int, int] | None = connection.execute(
            "SELECT mask, revision FROM masks WHERE slide = ? AND annotator = ?", (self._number, self.annotator)
        ).fetchone()
        return row

    def revision(self, connection: sqlite3.Connection) -> int:
        """Grows with every change of the mask; -1 before the first."""
        row = self._row(connection)
        return row[1] if row else -1

    def versions(self, connection: sqlite3.Connection) -> dict[ChunkKey, int]:
        """Live version of each level-0 chunk that holds labels."""
        row = self._row(connection)
        if row is None:
            return {}
        rows = connection.execute("SELECT cy, cx, version FROM chunks WHERE mask = ?", row[:1])
        return {(cy, cx): version for cy, cx, version in rows}

    def load(self, connection: sqlite3.Connection, keys: Iterable[LevelKey]) -> Iterator[tuple[LevelKey, bytes | None]]:
        """Stored bytes of chunks of any level."""
        row = self._row(connection)
        for level, cy, cx in keys:
            found = None
            if row is not None and level == 0:
                query = (
                    "SELECT data FROM chunks JOIN chunk_versions USING (version)"
                    " WHERE chunks.mask = ? AND cy = ? AND cx = ?"
                )
                found = connection.execute(query, (row[0], cy, cx)).fetchone()
            elif row is not None:
                query = "SELECT data FROM coarse_chunks WHERE mask = ? AND level = ? AND cy = ? AND cx = ?"
                found = connection.execute(query, (row[0], level, cy, cx)).fetchone()
            yield (level, cy, cx), found[0] if found else None

    @staticmethod
    def load_version(connection: sqlite3.Connection, version: int | None) -> bytes | None:
        """Stored bytes of a version; None is an empty chunk."""
        if version is None:
            return None
        row = connection.execute("SELECT data FROM chunk_versions WHERE version = ?", (version,)).fetchone()
        return bytes(row[0])

    # ---- writing

    def _mask(self, transaction: Transaction) -> int:
        """Row of the mask, made on first use, with its revision counted up."""
        transaction.connection.execute(
            "INSERT INTO masks (slide, annotator) VALUES (?, ?)"
            " ON CONFLICT (slide, annotator) DO UPDATE SET revision = revision + 1",
            (self._number, self.annotator),
        )
        if self.annotator and not is_predicted_key(self.annotator):
            transaction.connection.execute("INSERT OR IGNORE INTO annotators VALUES (?, ?)", (self.annotator, now()))
        row = self._row(transaction.connection)
        assert row is not None  # it was just inserted
        return row[0]

    def replace(self, transaction: Transaction, blobs: Mapping[ChunkKey, bytes | None]) -> None:
        """Give level-0 chunks new bytes (None empties them) and keep the inverse in the history."""
        connection, mask, entry = transaction.connection, self._mask(transaction), transaction.entry
        # Numbers are never used again, so what is known of a version stays true.
        row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'chunk_versions'").fetchone()
        last, shared = int(row[0]) if row else 0, dict[bytes, int]()
        versions: dict[ChunkKey, int | None] = {}
        fresh: list[tuple[int, int, bytes]] = []
        for key, data in blobs.items():
            version = shared.get(data) if data is not None else None
            if data is not None and version is None:
                last = version = last + 1
                fresh.append((version, mask, data))
                if len(data) == 1:  # a filled area is one version for all its chunks
                    shared[data] = version
            versions[key] = version
        connection.executemany("INSERT INTO chunk_versions (version, mask, data) VALUES (?, ?, ?)", fresh)
        size = sum(len(data) for _, _, data in fresh)
        connection.execute("UPDATE history SET bytes = bytes + ? WHERE entry = ?", (size, entry))
        connection.execute("UPDATE meta SET value = value + ? WHERE key = 'history_bytes'", (size,))
        overwritten = self._record(transaction, mask, versions)
        self._point(connection, mask, versions)
        _forget(connection, overwritten)

    def _record(self, transaction: Transaction, mask: int, versions: Mapping[ChunkKey, int | None]) -> list[int]:
        """Write the history of new versions; gives back those of the same action that they replace."""
        connection, entry, overwritten = transaction.connection, transaction.entry, list[int]()
        for (cy, cx), version in versions.items():
            where = (entry, mask, cy, cx)
            known = connection.execute(
                "SELECT after FROM history_chunks WHERE entry = ? AND mask = ? AND cy = ? AND cx = ?", where
            ).fetchone()
            if known is None:
                connection.execute(
                    "INSERT INTO history_chunks VALUES (?1, ?2, ?3, ?4,"
                    " (SELECT version FROM chunks WHERE mask = ?2 AND cy = ?3 AND cx = ?4), ?5)",
                    (*where, version),
                )
                continue
            connection.execute(
                "UPDATE history_chunks SET after = ? WHERE entry = ? AND mask = ? AND cy = ? AND cx = ?",
                (version, *where),
            )
            if known[0] is not None:
                overwritten.append(known[0])
        return overwritten

    def point(self, transaction: Transaction, versions: Mapping[ChunkKey, int | None]) -> None:
        """Make these versions the live ones."""
        self._point(transaction.connection, self._mask(transaction), versions)

    @staticmethod
    def _point(connection: sqlite3.Connection, mask: int, versions: Mapping[ChunkKey, int | None]) -> None:
        connection.executemany(
            "INSERT INTO chunks VALUES (?, ?, ?, ?)"
            " ON CONFLICT (mask, cy, cx) DO UPDATE SET version = excluded.version",
            ((mask, cy, cx, version) for (cy, cx), version in versions.items() if version is not None),
        )
        connection.executemany(
            "DELETE FROM chunks WHERE mask = ? AND cy = ? AND cx = ?",
            ((mask, cy, cx) for (cy, cx), version in versions.items() if version is None),
        )

    def write_coarse(self, transaction: Transaction, blobs: Mapping[LevelKey, bytes | None]) -> None:
        """Give chunks of the coarser levels new bytes; None empties them."""
        row = self._row(transaction.connection)
        assert row is not None  # level 0 was written before
        transaction.connection.executemany(
            "INSERT INTO coarse_chunks VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (mask, level, cy, cx) DO UPDATE SET data = excluded.data",
            ((row[0], *key, data) for key, data in blobs.items() if data is not None),
        )
        transaction.connection.executemany(
            "DELETE FROM coarse_chunks WHERE mask = ? AND level = ? AND cy = ? AND cx = ?",
            ((row[0], *key) for key, data in blobs.items() if data is None),
        )


def forget_entries(transaction: Transaction, last: int) -> None:
    """Delete the chunk versions that only entries up to ``last`` refer to."""
    connection = transaction.connection
    old = connection.execute("SELECT before, after FROM history_chunks WHERE entry <= ?", (last,)).fetchall()
    connection.execute("DELETE FROM history_chunks WHERE entry <= ?", (last,))
    _forget(connection, (version for pair in old for version in pair if version is not None))


def _forget(connection: sqlite3.Connection, versions: Iterable[int]) -> None:
    """Delete those versions that neither a mask nor the history needs."""
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS forgotten (version INTEGER PRIMARY KEY)")
    connection.executemany("INSERT OR IGNORE INTO temp.forgotten VALUES (?)", ((version,) for version in versions))
    connection.execute(_UNUSED)
    connection.execute("DELETE FROM temp.forgotten")
