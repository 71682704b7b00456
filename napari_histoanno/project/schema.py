"""The tables of ``project.db`` and how older ones become newer ones.

Whatever an action changes is kept in versions: a changed annotation or mask chunk is a new row, the old row stays and
is no longer live. So the inverse of an action and the way forward again are the same few numbers in ``history_*``,
nothing is stored twice, and the audit trail can show what was there. Only level 0 of a mask has versions; the coarser
levels are derived.

Long lists of coordinates (areas, scribbles) are WKB; the few numbers of a click, box or ellipse are JSON in ``native``.
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

from napari_histoanno.project.errors import ProjectError

if TYPE_CHECKING:
    from pathlib import Path

APPLICATION_ID = 0x48414E4F  # "HANO"

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE annotators (name TEXT PRIMARY KEY, added TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE slides (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    live INTEGER NOT NULL,
    name TEXT NOT NULL,
    path TEXT NOT NULL,
    absolute TEXT NOT NULL,
    size INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    mpp REAL,
    patient TEXT NOT NULL,
    split TEXT NOT NULL,
    added TEXT NOT NULL
);

CREATE TABLE annotations (
    version INTEGER PRIMARY KEY,
    rank INTEGER NOT NULL,
    live INTEGER NOT NULL,
    id BLOB NOT NULL,
    slide INTEGER NOT NULL REFERENCES slides (number),
    granularity TEXT NOT NULL,
    class_id INTEGER NOT NULL,
    annotator TEXT NOT NULL,
    source TEXT NOT NULL,
    review TEXT NOT NULL,
    confidence REAL,
    parent BLOB,
    created TEXT NOT NULL,
    modified TEXT,
    properties TEXT NOT NULL,
    native TEXT NOT NULL,
    wkb BLOB,
    x0 REAL NOT NULL, y0 REAL NOT NULL, x1 REAL NOT NULL, y1 REAL NOT NULL
);
CREATE UNIQUE INDEX annotations_live ON annotations (id) WHERE live;
CREATE INDEX annotations_slide ON annotations (slide, granularity) WHERE live;
CREATE INDEX annotations_parent ON annotations (parent) WHERE live AND parent IS NOT NULL;
CREATE VIRTUAL TABLE annotation_boxes USING rtree (version, x0, x1, y0, y1, slide0, slide1);

CREATE TABLE masks (
    mask INTEGER PRIMARY KEY,
    slide INTEGER NOT NULL REFERENCES slides (number),
    annotator TEXT NOT NULL,
    revision INTEGER NOT NULL DEFAULT 0,
    UNIQUE (slide, annotator)
);
CREATE TABLE chunk_versions (
    version INTEGER PRIMARY KEY AUTOINCREMENT,
    mask INTEGER NOT NULL REFERENCES masks (mask),
    data BLOB NOT NULL
);
CREATE TABLE chunks (
    mask INTEGER NOT NULL REFERENCES masks (mask),
    cy INTEGER NOT NULL,
    cx INTEGER NOT NULL,
    version INTEGER NOT NULL REFERENCES chunk_versions (version),
    PRIMARY KEY (mask, cy, cx)
) WITHOUT ROWID;
CREATE INDEX chunks_version ON chunks (version);
CREATE TABLE coarse_chunks (
    mask INTEGER NOT NULL REFERENCES masks (mask),
    level INTEGER NOT NULL,
    cy INTEGER NOT NULL,
    cx INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (mask, level, cy, cx)
);

CREATE TABLE history (
    entry INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    annotator TEXT NOT NULL,
    action TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('done', 'undone', 'abandoned', 'note')),
    pruned INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    marked_at TEXT,
    marked_by TEXT
);
CREATE INDEX history_state ON history (state, entry);
CREATE TABLE history_annotations (
    entry INTEGER NOT NULL REFERENCES history (entry),
    gone INTEGER REFERENCES annotations (version),
    came INTEGER REFERENCES annotations (version)
);
CREATE INDEX history_annotations_entry ON history_annotations (entry);
CREATE TABLE history_chunks (
    entry INTEGER NOT NULL REFERENCES history (entry),
    mask INTEGER NOT NULL REFERENCES masks (mask),
    cy INTEGER NOT NULL,
    cx INTEGER NOT NULL,
    before INTEGER REFERENCES chunk_versions (version),
    after INTEGER REFERENCES chunk_versions (version),
    PRIMARY KEY (entry, mask, cy, cx)
) WITHOUT ROWID;
CREATE INDEX history_chunks_before ON history_chunks (before) WHERE before IS NOT NULL;
CREATE INDEX history_chunks_after ON history_chunks (after) WHERE after IS NOT NULL;
CREATE TABLE history_values (
    entry INTEGER NOT NULL REFERENCES history (entry),
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    before TEXT NOT NULL,
    after TEXT NOT NULL,
    PRIMARY KEY (entry, kind, key)
) WITHOUT ROWID;

CREATE TABLE model_runs (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    recipe TEXT NOT NULL,
    parent TEXT,
    status TEXT NOT NULL,
    metrics TEXT NOT NULL,
    path TEXT NOT NULL,
    created TEXT NOT NULL,
    classes TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE predictions (
    id TEXT PRIMARY KEY,
    slide TEXT NOT NULL REFERENCES slides (id),
    run TEXT,
    path TEXT NOT NULL,
    mpp REAL,
    status TEXT NOT NULL,
    created TEXT NOT NULL,
    region TEXT
) WITHOUT ROWID;
"""

MIGRATIONS: tuple[str, ...] = (_TABLES,)
"""Script n takes a database from version n to n + 1. Scripts that have been released never change."""


def create(connection: sqlite3.Connection) -> None:
    """Make the tables of the newest version in an empty database."""
    connection.execute("PRAGMA journal_mode = WAL")
    _migrate(connection, 0)


def check(connection: sqlite3.Connection, path: Path) -> int:
    """Version of a project database.

    Raises
    ------
    ProjectError
        If it is no project, or one of a newer program.
    """
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    if application != APPLICATION_ID:
        raise ProjectError(
            f"{path} is no project of this program",
            f"it is an SQLite database with application id {application}",
            "Choose the folder that holds the project.db of a project",
        )
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > len(MIGRATIONS):
        raise ProjectError(
            f"{path} was written by a newer program",
            f"it has version {version}, this program knows versions up to {len(MIGRATIONS)}",
            "Update napari-histoanno to open it; nothing was changed",
        )
    return version


def upgrade(connection: sqlite3.Connection, path: Path) -> None:
    """Bring an older database to the newest version, all or nothing, after keeping a copy of it beside.

    The copy is named after the database with its old version, ``project.db.v1``.
    """
    version = check(connection, path)
    if version == len(MIGRATIONS):
        return
    with contextlib.closing(sqlite3.connect(path.with_name(f"{path.name}.v{version}"))) as copy:
        connection.backup(copy)
    _migrate(connection, version)


def _migrate(connection: sqlite3.Connection, version: int) -> None:
    script = "".join(MIGRATIONS[version:])
    # One transaction: a process killed here leaves the old version, never half of a new one.
    try:
        connection.executescript(
            f"BEGIN IMMEDIATE; {script}"
            f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {len(MIGRATIONS)}; COMMIT;"
        )
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
