"""The annotation store of a project: every drawn record, found by place, class, granularity or author.

Records are immutable and so are their rows: changing one adds a version and retires the old, deleting retires it. Only
live versions are in the R*Tree, whose third axis is the slide, so a viewport query touches the records of one place of
one slide.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any, TypedDict, Unpack
from uuid import UUID

from napari_histoanno.project import annotation_rows
from napari_histoanno.project.changes import Change
from napari_histoanno.project.errors import ProjectError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from napari_histoanno.annotation.geometry import Bounds
    from napari_histoanno.annotation.model import Annotation, Granularity, Source
    from napari_histoanno.project.slide_table import SlideTable
    from napari_histoanno.project.transaction import Journal, Transaction

_COLUMNS = ", ".join(f"a.{name}" for name in annotation_rows.COLUMNS)
_INSERT = (
    f"INSERT INTO annotations (version, rank, live, {', '.join(annotation_rows.COLUMNS)})"
    f" VALUES (?, ?, 1, {', '.join('?' * len(annotation_rows.COLUMNS))})"
)
_NEAR = 1e-3
# The index holds 32-bit floats and cannot divide nodes around infinite boxes; exact bounds are in the table.
_INDEX = (
    "INSERT INTO annotation_boxes"
    " SELECT version, max(x0, -1e9), min(x1, 1e9), max(y0, -1e9), min(y1, 1e9), slide, slide"
    " FROM annotations WHERE version IN (SELECT version FROM temp.picked)"
)


class Filters(TypedDict, total=False):
    """What :meth:`AnnotationStore.query` and :meth:`AnnotationStore.count` can be narrowed to; None filters nothing.

    Parameters
    ----------
    bounds : (x0, y0, x1, y1), optional
        Level-0 pixels: records whose bounding box meets this one, edges included.
    granularities, classes, sources, annotators : iterable, optional
        Values to accept; an empty one accepts nothing.
    parent : UUID, optional
        Only records converted from this one.
    """

    bounds: Bounds | None
    granularities: Iterable[Granularity | str] | None
    classes: Iterable[int] | None
    sources: Iterable[Source | str] | None
    annotators: Iterable[str] | None
    parent: UUID | None


class AnnotationStore:
    """The annotations of a project; made by :class:`~napari_histoanno.project.Project`."""

    def __init__(self, journal: Journal, slides: SlideTable) -> None:
        self._journal = journal
        self._slides = slides

    # ---- changing

    def add(self, annotations: Iterable[Annotation], *, action: str = "draw") -> tuple[Annotation, ...]:
        """Add records in one undoable action.

        Parameters
        ----------
        annotations : iterable of Annotation
            New records; their ids must not be in use.
        action : str
            Name in the history.

        Raises
        ------
        ProjectError
            If a slide is not in the project, an id is taken or the project cannot be written; nothing is added then.
        """
        records = tuple(annotations)
        if not records:
            return ()
        with self._journal.transaction(action) as transaction, transaction.savepoint():
            first = _next_version(transaction)
            self._insert(transaction, records, range(first, first + len(records)))
            self._record(transaction, records, [None] * len(records), first)
        return records

    def update(self, annotations: Iterable[Annotation], *, action: str = "change") -> tuple[Annotation, ...]:
        """Replace the records of equal id in one undoable action; the old versions stay in the history.

        Raises
        ------
        ProjectError
            If a record is not in the project, or the project cannot be written; nothing is changed then.
        """
        records = tuple({annotation.id: annotation for annotation in annotations}.values())
        if not records:
            return ()
        with self._journal.transaction(action) as transaction, transaction.savepoint():
            old = _live_versions(transaction, [record.id for record in records])
            first = _next_version(transaction)
            _retire(transaction, [version for version, _ in old])
            self._insert(transaction, records, [rank for _, rank in old])
            gone = [version for version, _ in old]
            self._record(transaction, records, gone, first)
            transaction.changes.extend(self._changes(transaction, gone))  # they may have been on other slides
        return records

    def delete(self, ids: Iterable[UUID], *, action: str = "delete") -> None:
        """Delete records in one undoable action.

        Raises
        ------
        ProjectError
            If a record is not in the project, or the project cannot be written; nothing is deleted then.
        """
        unique = tuple(dict.fromkeys(ids))
        if not unique:
            return
        with self._journal.transaction(action) as transaction, transaction.savepoint():
            old = [version for version, _ in _live_versions(transaction, unique)]
            _retire(transaction, old)
            transaction.connection.executemany(
                f"INSERT INTO history_annotations VALUES ({transaction.entry}, ?, NULL)", ((v,) for v in old)
            )
            transaction.changes.extend(self._changes(transaction, old, []))

    def _insert(self, transaction: Transaction, records: Sequence[Annotation], ranks: Sequence[int]) -> None:
        first = _next_version(transaction)
        numbers = {slide: self._slides.number(slide) for slide in {record.slide for record in records}}
        rows = annotation_rows.encode(records, numbers)
        try:
            transaction.connection.executemany(
                _INSERT, ((first + i, rank, *row) for i, (rank, row) in enumerate(zip(ranks, rows, strict=True)))
            )
        except sqlite3.IntegrityError as error:
            taken = "UNIQUE" in str(error)
            reason = "an id is in use already" if taken else "a coordinate is not a number"
            hint = "Change records that are there with update()" if taken else ""
            raise ProjectError("the annotations were not stored", reason, hint) from error
        transaction.connection.execute(
            _INDEX.replace("IN (SELECT version FROM temp.picked)", ">= ?"),
            (first,),
        )
        transaction.connection.executemany(
            "INSERT OR IGNORE INTO annotators VALUES (?, datetime('now'))",
            {(record.annotator,) for record in records if record.annotator},
        )

    def _record(
        self, transaction: Transaction, records: Sequence[Annotation], gone: Sequence[int | None], first: int
    ) -> None:
        transaction.connection.executemany(
            f"INSERT INTO history_annotations VALUES ({transaction.entry}, ?, ?)",
            ((old, first + i) for i, old in enumerate(gone)),
        )
        by_slide: dict[str, list[UUID]] = {}
        for record in records:
            by_slide.setdefault(record.slide, []).append(record.id)
        transaction.changes.extend(
            Change("annotations", transaction.action, slide, tuple(ids)) for slide, ids in by_slide.items()
        )

    def replay(self, transaction: Transaction, entry: int, *, forward: bool) -> None:
        """Bring the versions before or after an entry to life."""
        rows = transaction.connection.execute(
            "SELECT gone, came FROM history_annotations WHERE entry = ?", (entry,)
        ).fetchall()
        if not rows:
            return
        gone = {old for old, _ in rows if old is not None}
        came = {new for _, new in rows if new is not None}
        retired, revived = (gone, came) if forward else (came, gone)
        _retire(transaction, retired)
        _revive(transaction, revived - retired)
        transaction.changes.extend(self._changes(transaction, retired, revived))

    def _changes(self, transaction: Transaction, *versions: Iterable[int]) -> Iterator[Change]:
        with _picked(transaction, chain(*versions)):
            rows = transaction.connection.execute(
                "SELECT DISTINCT slide, id FROM annotations WHERE version IN (SELECT version FROM temp.picked)"
            ).fetchall()
        by_slide: dict[int, list[UUID]] = {}
        for slide, identifier in rows:
            by_slide.setdefault(slide, []).append(UUID(bytes=identifier))
        for slide, ids in by_slide.items():
            yield Change("annotations", transaction.action, self._slides.id_of(slide), tuple(ids))

    # ---- asking

    def get(self, identifier: UUID) -> Annotation:
        """The record of an id.

        Raises
        ------
        ProjectError
            If it is not in the project.
        """
        with self._journal.database.reading() as connection:
            row = connection.execute(
                f"SELECT {_COLUMNS} FROM annotations a WHERE a.id = ? AND a.live", (identifier.bytes,)
            ).fetchone()
        if row is None:
            raise ProjectError(f"annotation {identifier} is not in the project", "it was deleted or never added")
        return annotation_rows.decode([row], self._slides.ids())[0]

    def query(
        self, slide: str | None = None, *, limit: int | None = None, **filters: Unpack[Filters]
    ) -> list[Annotation]:
        """Records that pass all filters, in the order in which they were drawn.

        Parameters
        ----------
        slide : str, optional
            Id of a slide; None asks all slides of the project.
        limit : int, optional
            At most this many.
        **filters : Filters
            ``bounds``, ``granularities``, ``classes``, ``sources``, ``annotators`` and ``parent``.
        """
        source, values = self._selection(slide, filters)
        order = "ORDER BY a.rank" + (f" LIMIT {int(limit)}" if limit is not None else "")
        with self._journal.database.reading() as connection:
            rows = connection.execute(f"SELECT {_COLUMNS} {source} {order}", values).fetchall()
        return annotation_rows.decode(rows, self._slides.ids()) if rows else []

    def count(self, slide: str | None = None, **filters: Unpack[Filters]) -> int:
        """How many records pass the filters of :meth:`query`."""
        source, values = self._selection(slide, filters)
        with self._journal.database.reading() as connection:
            return int(connection.execute(f"SELECT count(*) {source}", values).fetchone()[0])

    def _selection(self, slide: str | None, filters: Filters) -> tuple[str, list[Any]]:
        """FROM … WHERE … of a query, and its values."""
        unknown = filters.keys() - Filters.__annotations__.keys()
        if unknown:
            raise TypeError(f"unknown filter {', '.join(sorted(unknown))}")
        bounds, parent = filters.get("bounds"), filters.get("parent")
        number = None if slide is None else self._slides.number(slide)
        source, conditions, values = "FROM annotations a", ["a.live"], list[Any]()
        if bounds is not None:
            x0, y0, x1, y1 = map(float, bounds)
            # The index rounds to 32 bits and gives near misses too: the exact bounds decide.
            source = "FROM annotation_boxes b CROSS JOIN annotations a ON a.version = b.version"
            conditions += ["b.x0 <= ? AND b.x1 >= ? AND b.y0 <= ? AND b.y1 >= ?"]
            conditions += ["a.x0 <= ? AND a.x1 >= ? AND a.y0 <= ? AND a.y1 >= ?"]
            values += [x1 + _NEAR, x0 - _NEAR, y1 + _NEAR, y0 - _NEAR, x1, x0, y1, y0]
            if number is not None:
                conditions.append("b.slide0 <= ? AND b.slide1 >= ?")
                values += [number, number]
        if number is not None:
            conditions.append("a.slide = ?")
            values.append(number)
        else:
            conditions.append("a.slide IN (SELECT number FROM slides WHERE live)")
        if parent is not None:
            conditions.append("a.parent = ?")
            values.append(parent.bytes)
        for column, choices in (
            ("granularity", filters.get("granularities")),
            ("class_id", filters.get("classes")),
            ("source", filters.get("sources")),
            ("annotator", filters.get("annotators")),
        ):
            if choices is not None:
                chosen = [int(c) if column == "class_id" else str(c) for c in choices]
                conditions.append(f"a.{column} IN ({', '.join('?' * len(chosen))})")
                values += chosen
        return f"{source} WHERE {' AND '.join(conditions)}", values


def _next_version(transaction: Transaction) -> int:
    return int(transaction.connection.execute("SELECT coalesce(max(version), 0) + 1 FROM annotations").fetchone()[0])


def _live_versions(transaction: Transaction, ids: Sequence[UUID]) -> list[tuple[int, int]]:
    """(version, rank) of each record, in order."""
    found = []
    for identifier in ids:
        row = transaction.connection.execute(
            "SELECT version, rank FROM annotations WHERE id = ? AND live", (identifier.bytes,)
        ).fetchone()
        if row is None:
            raise ProjectError(f"annotation {identifier} is not in the project", "it was deleted or never added")
        found.append((row[0], row[1]))
    return found


@contextmanager
def _picked(transaction: Transaction, versions: Iterable[int]) -> Iterator[None]:
    """``temp.picked`` holds these versions inside the block."""
    connection = transaction.connection
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS picked (version INTEGER PRIMARY KEY)")
    connection.execute("DELETE FROM temp.picked")
    connection.executemany("INSERT OR IGNORE INTO temp.picked VALUES (?)", ((v,) for v in versions))
    yield
    connection.execute("DELETE FROM temp.picked")


def _retire(transaction: Transaction, versions: Iterable[int]) -> None:
    with _picked(transaction, versions):
        picked = "version IN (SELECT version FROM temp.picked)"
        transaction.connection.execute(f"UPDATE annotations SET live = 0 WHERE {picked}")
        transaction.connection.execute(f"DELETE FROM annotation_boxes WHERE {picked}")


def _revive(transaction: Transaction, versions: Iterable[int]) -> None:
    with _picked(transaction, versions):
        picked = "version IN (SELECT version FROM temp.picked)"
        transaction.connection.execute(f"UPDATE annotations SET live = 1 WHERE {picked}")
        transaction.connection.execute(_INDEX)
