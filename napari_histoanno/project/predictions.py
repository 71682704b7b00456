"""Predictions of a project: which model said what about which slide, and where the result is stored.

Like model runs they own files and are not undoable; see :mod:`napari_histoanno.project.runs`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from napari_histoanno.annotation.model import new_id
from napari_histoanno.project.changes import Change
from napari_histoanno.project.errors import ProjectError
from napari_histoanno.project.runs import remove_files

if TYPE_CHECKING:
    from pathlib import Path

    from napari_histoanno.project.transaction import Journal

_FIELDS = ("id", "slide", "run", "path", "mpp", "status", "created", "region")


def _new_id() -> str:
    return new_id().hex


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class PredictionRecord:
    """One prediction of a slide.

    Parameters
    ----------
    slide : str
        Id of the slide.
    run : str or None
        Id of the model run; None for a model from elsewhere.
    path : str
        Its store, relative to the project; ``predictions/<id>.zarr`` by default.
    mpp : float, optional
        µm per pixel of its finest level.
    status : str
        As the engine says: "running", "completed", "cancelled", "failed", …
    created : datetime
        UTC.
    region : (x0, y0, x1, y1), optional
        Level-0 pixels; None for the whole slide.
    id : str
        Unique.
    """

    slide: str
    run: str | None = None
    path: str = ""
    mpp: float | None = None
    status: str = "running"
    created: datetime = field(default_factory=_now)
    region: tuple[float, float, float, float] | None = None
    id: str = field(default_factory=_new_id)

    def __post_init__(self) -> None:
        if not self.path:
            object.__setattr__(self, "path", f"predictions/{self.id}.zarr")


class Predictions:
    """The predictions of one project.

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

    def add(self, prediction: PredictionRecord) -> PredictionRecord:
        """Add a prediction; raises ProjectError if its id is taken or its slide unknown."""
        with self._journal.transaction("predict") as transaction, transaction.savepoint():
            if self._select("WHERE id = ?", prediction.id):
                raise ProjectError(f"prediction {prediction.id} is in the project already")
            query = "SELECT 1 FROM slides WHERE id = ? AND live"
            if transaction.connection.execute(query, (prediction.slide,)).fetchone() is None:
                raise ProjectError(f"no slide “{prediction.slide}” in the project", "", "Add the slide first")
            transaction.connection.execute(
                f"INSERT INTO predictions ({', '.join(_FIELDS)}) VALUES ({', '.join('?' * len(_FIELDS))})",
                _values(prediction),
            )
            transaction.note("predict")
            transaction.changes.append(Change("predictions", "predict", prediction.slide))
        return prediction

    def update(self, prediction: str, **changes: Any) -> PredictionRecord:
        """Change fields of a prediction (not its id or slide).

        Raises
        ------
        ProjectError
            If there is no such prediction or field.
        """
        with self._journal.transaction("update prediction") as transaction, transaction.savepoint():
            if not changes.keys() <= set(_FIELDS) - {"id", "slide"}:
                raise ProjectError(f"a prediction has no field to change among {', '.join(sorted(changes))}")
            new = replace(self.get(prediction), **changes)
            assignments = ", ".join(f"{name} = ?" for name in _FIELDS)
            transaction.connection.execute(
                f"UPDATE predictions SET {assignments} WHERE id = ?", (*_values(new), prediction)
            )
            transaction.changes.append(Change("predictions", transaction.action, new.slide))
        return new

    def get(self, prediction: str) -> PredictionRecord:
        """A prediction by its id; raises ProjectError if there is none."""
        found = self._select("WHERE id = ?", prediction)
        if not found:
            raise ProjectError(f"no prediction {prediction} in the project")
        return found[0]

    def list(self, slide: str | None = None) -> tuple[PredictionRecord, ...]:
        """Predictions of the slides in the project, or of one slide, oldest first."""
        if slide is None:
            return self._select("WHERE slide IN (SELECT id FROM slides WHERE live) ORDER BY created, id")
        return self._select("WHERE slide = ? ORDER BY created, id", slide)

    def delete(self, prediction: str) -> None:
        """Delete a prediction and its files; cannot be undone."""
        record = self.get(prediction)
        with self._journal.transaction("delete prediction") as transaction, transaction.savepoint():
            transaction.connection.execute("DELETE FROM predictions WHERE id = ?", (prediction,))
            transaction.note("delete prediction")
            transaction.changes.append(Change("predictions", transaction.action, record.slide))
        remove_files(self._folder, record.path)

    def _select(self, condition: str, *values: Any) -> tuple[PredictionRecord, ...]:
        with self._journal.database.reading() as connection:
            rows = connection.execute(f"SELECT {', '.join(_FIELDS)} FROM predictions {condition}", values).fetchall()
        return tuple(_prediction(row) for row in rows)


def _values(prediction: PredictionRecord) -> tuple[Any, ...]:
    return (
        prediction.id,
        prediction.slide,
        prediction.run,
        prediction.path,
        prediction.mpp,
        prediction.status,
        prediction.created.isoformat(),
        json.dumps(prediction.region) if prediction.region is not None else None,
    )


def _prediction(row: tuple[Any, ...]) -> PredictionRecord:
    values = dict(zip(_FIELDS, row, strict=True))
    region = values["region"]
    values["region"] = tuple(json.loads(region)) if region is not None else None
    values["created"] = datetime.fromisoformat(values["created"])
    return PredictionRecord(**values)
