"""Model runs of a project: what was trained, from what, how well.

A run owns files under ``models/``; deleting one deletes them. That cannot be undone, and neither can its other changes:
undo belongs to what people draw, and a training that ends must not stand between a user and the last stroke. Adding and
deleting a run leaves a note in the audit trail.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from napari_histoanno.annotation.model import new_id
from napari_histoanno.project.changes import Change
from napari_histoanno.project.errors import ProjectError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from napari_histoanno.project.transaction import Journal

_FIELDS = ("id", "name", "recipe", "parent", "status", "metrics", "path", "created", "classes")


def _new_id() -> str:
    return new_id().hex


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class ModelRun:
    """One training.

    Parameters
    ----------
    name : str
        Shown to the user.
    recipe : mapping
        The training recipe as JSON values.
    parent : str, optional
        Id of the run it continues.
    status : str
        As the engine says: "running", "completed", "cancelled", "failed", …
    metrics : mapping
        Validation metrics, JSON values.
    path : str
        Folder of the model, relative to the project; ``models/<id>`` by default.
    created : datetime
        UTC.
    classes : tuple of str
        Names of the classes it predicts.
    id : str
        Unique.
    """

    name: str
    recipe: Mapping[str, Any] = field(default_factory=dict)
    parent: str | None = None
    status: str = "running"
    metrics: Mapping[str, Any] = field(default_factory=dict)
    path: str = ""
    created: datetime = field(default_factory=_now)
    classes: tuple[str, ...] = ()
    id: str = field(default_factory=_new_id)

    def __post_init__(self) -> None:
        if not self.path:
            object.__setattr__(self, "path", f"models/{self.id}")


class ModelRuns:
    """The model runs of one project.

    Parameters
    ----------
    journal : Journal
        Where transactions happen.
    folder : Path
        The project folder.
    """

    def __init__(self, journal: Journal, folder: Path) -> None:
        self._journal = journal
        self._folder = folder

    def add(self, run: ModelRun) -> ModelRun:
        """Add a run; raises ProjectError if its id is taken."""
        with self._journal.transaction("train") as transaction, transaction.savepoint():
            if self._row(transaction.connection, run.id) is not None:
                raise ProjectError(f"model run {run.id} is in the project already")
            transaction.connection.execute(
                f"INSERT INTO model_runs ({', '.join(_FIELDS)}) VALUES ({', '.join('?' * len(_FIELDS))})", _values(run)
            )
            transaction.note(f"train “{run.name}”")
            transaction.changes.append(Change("runs", "train"))
        return run

    def update(self, run: str, **changes: Any) -> ModelRun:
        """Change fields of a run (not its id).

        Raises
        ------
        ProjectError
            If there is no such run or field.
        """
        with self._journal.transaction("update model run") as transaction, transaction.savepoint():
            old = self.get(run)
            if "id" in changes or not changes.keys() <= set(_FIELDS):
                raise ProjectError(f"a model run has no field to change among {', '.join(sorted(changes))}")
            new = replace(old, **changes)
            assignments = ", ".join(f"{name} = ?" for name in _FIELDS)
            transaction.connection.execute(f"UPDATE model_runs SET {assignments} WHERE id = ?", (*_values(new), run))
            transaction.changes.append(Change("runs", transaction.action))
        return new

    def get(self, run: str) -> ModelRun:
        """A run by its id; raises ProjectError if there is none."""
        with self._journal.database.reading() as connection:
            row = self._row(connection, run)
        if row is None:
            raise ProjectError(f"no model run {run} in the project")
        return _run(row)

    def list(self) -> tuple[ModelRun, ...]:
        """All runs, oldest first."""
        with self._journal.database.reading() as connection:
            rows = connection.execute(f"SELECT {', '.join(_FIELDS)} FROM model_runs ORDER BY created, id").fetchall()
        return tuple(_run(row) for row in rows)

    def delete(self, run: str) -> None:
        """Delete a run and its files; cannot be undone."""
        record = self.get(run)
        with self._journal.transaction("delete model run") as transaction, transaction.savepoint():
            transaction.connection.execute("DELETE FROM model_runs WHERE id = ?", (run,))
            transaction.note(f"delete model run “{record.name}”")
            transaction.changes.append(Change("runs", transaction.action))
        remove_files(self._folder, record.path)

    @staticmethod
    def _row(connection: Any, run: str) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = connection.execute(
            f"SELECT {', '.join(_FIELDS)} FROM model_runs WHERE id = ?", (run,)
        ).fetchone()
        return row


def remove_files(folder: Path, path: str) -> None:
    """Delete a folder of the project; a path that leads out of it is left alone."""
    place = (folder / path).resolve()
    if place != folder.resolve() and place.is_relative_to(folder.resolve()):
        shutil.rmtree(place, ignore_errors=True)


def _values(run: ModelRun) -> tuple[Any, ...]:
    return (
        run.id,
        run.name,
        json.dumps(dict(run.recipe)),
        run.parent,
        run.status,
        json.dumps(dict(run.metrics)),
        run.path,
        run.created.isoformat(),
        json.dumps(run.classes),
    )


def _run(row: tuple[Any, ...]) -> ModelRun:
    values = dict(zip(_FIELDS, row, strict=True))
    values |= {"recipe": json.loads(values["recipe"]), "metrics": json.loads(values["metrics"])}
    values |= {"created": datetime.fromisoformat(values["created"]), "classes": tuple(json.loads(values["classes"]))}
    return ModelRun(**values)
