"""The slides of a project: where they are, what they are, and whether the file found is still the same slide.

A slide is known by its content fingerprint, not by its path. Both the path from the project folder and the absolute one
are kept, so that a project moves together with its slides or without them; beyond that, a file of the same name in or
beside the project folder is taken if its fingerprint is equal. Removing a slide hides it with everything drawn on it,
so it can be undone, and adding the same file again brings it back.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from napari_histoanno.annotation.model import new_id
from napari_histoanno.project.changes import Change
from napari_histoanno.project.errors import ProjectError
from napari_histoanno.project.transaction import now
from napari_histoanno.project.values import record_value, values_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_histoanno.project.transaction import Journal, Transaction
    from napari_histoanno.slides import Slide

Split: TypeAlias = Literal["", "train", "validation", "test"]

_KIND = "slide"
_FIELDS = (
    "id",
    "live",
    "name",
    "path",
    "absolute",
    "size",
    "fingerprint",
    "width",
    "height",
    "mpp",
    "patient",
    "split",
    "added",
)
_CHANGEABLE = {"name", "patient", "mpp", "split"}


@dataclass(frozen=True, slots=True)
class SlideRecord:
    """A slide of a project.

    Parameters
    ----------
    id : str
        Stays the same whatever else changes.
    name : str
        Unique in the project.
    path : str
        As stored: relative to the project folder where possible, with forward slashes.
    fingerprint : str
        Of its content.
    width, height : int
        Level-0 pixels.
    mpp : float or None
        µm per level-0 pixel, from the file or given by the user.
    patient : str
        Slides of one patient stay on one side of a split.
    split : str
        "", "train", "validation" or "test".
    added : datetime
        UTC.
    absolute : str
        Where the file was when it was added or located.
    size : int
        Bytes; 0 for a slide that is a folder.
    """

    id: str
    name: str
    path: str
    fingerprint: str
    width: int
    height: int
    mpp: float | None
    patient: str
    split: Split
    added: datetime
    absolute: str = ""
    size: int = 0


class SlideTable:
    """The slides of one project.

    Parameters
    ----------
    journal : Journal
        Where transactions happen.
    folder : Path
        The project folder.
    opener : callable
        Opens a slide file.
    """

    def __init__(self, journal: Journal, folder: Path, opener: Callable[[Path], Slide]) -> None:
        self._journal = journal
        self._folder = folder
        self._opener = opener

    # ---- asking

    def all(self) -> tuple[SlideRecord, ...]:
        """Slides in the order in which they were added."""
        with self._journal.database.reading() as connection:
            rows = connection.execute(f"SELECT {', '.join(_FIELDS)} FROM slides WHERE live ORDER BY number").fetchall()
        return tuple(_record(row) for row in rows)

    def find(self, key: str) -> SlideRecord:
        """Slide by id, or by name without regard to case.

        Raises
        ------
        ProjectError
            If there is none.
        """
        slides = self.all()
        found = next((s for s in slides if s.id == key), None)
        found = found or next((s for s in slides if s.name.casefold() == key.casefold()), None)
        if found is None:
            names = ", ".join(s.name for s in slides) or "none"
            raise ProjectError(f"no slide “{key}” in the project", f"its slides are {names}")
        return found

    def ids(self) -> dict[int, str]:
        """Id of each slide by its row, removed ones included."""
        with self._journal.database.reading() as connection:
            return dict(connection.execute("SELECT number, id FROM slides").fetchall())

    def id_of(self, number: int) -> str:
        return self.ids()[number]

    def number(self, slide: str) -> int:
        """Row of a slide.

        Raises
        ------
        ProjectError
            If there is no such slide.
        """
        with self._journal.database.reading() as connection:
            row = connection.execute("SELECT number FROM slides WHERE id = ? AND live", (slide,)).fetchone()
        if row is None:
            raise ProjectError(f"no slide “{slide}” in the project", "", "Add the slide first")
        return int(row[0])

    # ---- changing

    def add(self, path: Path, *, patient: str = "", name: str = "") -> SlideRecord:
        """Add a slide file; one that is in the project already gives its record."""
        path = path.expanduser().absolute()
        with self._opener(path) as slide:
            width, height = slide.dimensions
            fingerprint, mpp = slide.fingerprint(), slide.mpp
        with self._journal.transaction("add slide") as transaction, transaction.savepoint():
            known = transaction.connection.execute(
                f"SELECT {', '.join(_FIELDS)} FROM slides WHERE fingerprint = ?", (fingerprint,)
            ).fetchone()
            place = {"path": self._stored(path), "absolute": str(path), "size": _size(path)}
            if known is not None:
                values = dict(zip(_FIELDS, known, strict=True))
                if not values["live"]:
                    free = self._free_name(transaction, values["name"])
                    values = self._write(transaction, {**values, **place, "name": free, "live": 1})
                return _record(tuple(values.values()))
            values = {
                "id": new_id().hex,
                "live": 1,
                "name": self._free_name(transaction, name or path.stem),
                **place,
                "fingerprint": fingerprint,
                "width": int(width),
                "height": int(height),
                "mpp": mpp,
                "patient": patient,
                "split": "",
                "added": now(),
            }
            transaction.connection.execute(
                f"INSERT INTO slides ({', '.join(_FIELDS)}) VALUES ({', '.join('?' * len(_FIELDS))})",
                [0 if name == "live" else values[name] for name in _FIELDS],
            )
            return _record(tuple(self._write(transaction, values).values()))

    def remove(self, slide: str) -> None:
        """Take a slide and everything drawn on it out of sight."""
        with self._journal.transaction("remove slide") as transaction, transaction.savepoint():
            self._write(transaction, {**self._row(transaction, slide), "live": 0})

    def update(self, slide: str, **changes: Any) -> SlideRecord:
        """Change name, patient, mpp or split.

        Raises
        ------
        ProjectError
            If the slide is unknown, a field cannot be changed, a value is invalid or the name is taken.
        """
        _check_changes(changes)
        with self._journal.transaction("change slide") as transaction, transaction.savepoint():
            row = self._row(transaction, slide)
            name = changes.get("name", row["name"])
            if name.casefold() != row["name"].casefold() and self._free_name(transaction, name) != name:
                raise ProjectError(f"the slide was not renamed to “{name}”", "another slide has that name")
            return _record(tuple(self._write(transaction, {**row, **changes}).values()))

    def locate(self, slide: str, path: Path) -> SlideRecord:
        """Tell where a moved slide is now.

        Raises
        ------
        ProjectError
            If the file is another slide.
        """
        path = path.expanduser().absolute()
        record = self.find(slide)
        with self._opener(path) as found:
            same = found.fingerprint() == record.fingerprint
        if not same:
            raise ProjectError(
                f"{path} is not the slide “{record.name}”",
                "its content differs from what was annotated",
                "Choose the original file, or add this one as a slide of its own",
            )
        with self._journal.transaction("locate slide") as transaction, transaction.savepoint():
            row = self._row(transaction, record.id)
            values = {**row, "path": self._stored(path), "absolute": str(path), "size": _size(path)}
            return _record(tuple(self._write(transaction, values).values()))

    def replay(self, transaction: Transaction, entry: int, *, forward: bool) -> None:
        """Bring the slide records before or after an entry back."""
        for slide, text in values_of(transaction, entry, _KIND, forward=forward):
            self._store(transaction, json.loads(text))
            transaction.changes.append(Change("slides", transaction.action, slide))

    def _row(self, transaction: Transaction, slide: str) -> dict[str, Any]:
        row = transaction.connection.execute(
            f"SELECT {', '.join(_FIELDS)} FROM slides WHERE id = ? AND live", (slide,)
        ).fetchone()
        if row is None:
            raise ProjectError(f"no slide “{slide}” in the project")
        return dict(zip(_FIELDS, row, strict=True))

    def _write(self, transaction: Transaction, values: dict[str, Any]) -> dict[str, Any]:
        """Store a changed row with its inverse."""
        before = transaction.connection.execute(
            f"SELECT {', '.join(_FIELDS)} FROM slides WHERE id = ?", (values["id"],)
        ).fetchone()
        old = dict(zip(_FIELDS, before, strict=True))
        if old != values:
            record_value(transaction, _KIND, values["id"], json.dumps(old), json.dumps(values))
            self._store(transaction, values)
            transaction.changes.append(Change("slides", transaction.action, values["id"]))
        return values

    @staticmethod
    def _store(transaction: Transaction, values: dict[str, Any]) -> None:
        assignments = ", ".join(f"{name} = :{name}" for name in _FIELDS)
        transaction.connection.execute(f"UPDATE slides SET {assignments} WHERE id = :id", values)

    @staticmethod
    def _free_name(transaction: Transaction, name: str) -> str:
        rows = transaction.connection.execute("SELECT name FROM slides WHERE live").fetchall()
        taken = {str(row[0]).casefold() for row in rows}
        numbered = (f"{name} ({i})" for i in range(2, len(taken) + 3))
        return next(n for n in (name, *numbered) if n.casefold() not in taken)

    # ---- files

    def open(self, slide: str) -> Slide:
        """Open a slide's file after checking that it is the one annotated.

        Raises
        ------
        ProjectError
            If no file with that content is found.
        """
        record = self.find(slide)
        swapped = None
        for path in self._places(record):
            if not path.exists():
                continue
            opened = self._opener(path)
            if opened.fingerprint() == record.fingerprint:
                return opened
            opened.close()
            swapped = swapped or path
        if swapped is not None:
            raise ProjectError(
                f"{swapped} is not the slide “{record.name}”",
                "its content differs from what was annotated",
                "Put the original file back, or choose it with “locate…”",
            )
        raise ProjectError(
            f"slide “{record.name}” was not found",
            f"there is no file {self.path(slide)}",
            "Choose its new place with “locate…”",
        )

    def path(self, slide: str) -> Path:
        """Where a slide's file is taken to be, whether or not it exists."""
        record = self.find(slide)
        places = list(self._places(record))
        return next((place for place in places if place.exists()), places[0])

    def _places(self, record: SlideRecord) -> Iterator[Path]:
        stored = Path(os.path.normpath(self._folder / record.path))
        names = (self._folder / stored.name, self._folder / "slides" / stored.name, self._folder.parent / stored.name)
        yield from dict.fromkeys((stored, Path(record.absolute), *names))

    def _stored(self, path: Path) -> str:
        try:
            return Path(os.path.relpath(path, self._folder)).as_posix()
        except ValueError:  # another drive
            return path.as_posix()


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _record(row: tuple[Any, ...]) -> SlideRecord:
    values = dict(zip(_FIELDS, row, strict=True))
    del values["live"]
    return SlideRecord(**{**values, "added": datetime.fromisoformat(values["added"])})


def _check_changes(changes: dict[str, Any]) -> None:
    unknown = changes.keys() - _CHANGEABLE
    if unknown:
        raise ProjectError(
            f"a slide's {', '.join(sorted(unknown))} cannot be changed", f"only {', '.join(sorted(_CHANGEABLE))} can"
        )
    if changes.get("split", "") not in get_args(Split):
        raise ProjectError(f"“{changes['split']}” is no split", "a split is train, validation, test or empty")
    if changes.get("mpp") is not None and not float(changes["mpp"]) > 0:
        raise ProjectError(f"{changes['mpp']} is no pixel size", "µm per pixel must be positive")
    if "name" in changes and not str(changes["name"]).strip():
        raise ProjectError("a slide needs a name")
