"""The single objects of a prediction on disk, found by place; readable while they are written.

A SQLite file in the prediction's folder: a row for each object with its class, score, centre, box and, unless it is a
point, its outline as WKB, all in level-0 pixels; an R*Tree over the boxes. A hundred thousand nuclei take some 40 MB.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import shapely

from napari_histoanno.annotation import vectorize
from napari_histoanno.jobs.errors import PredictionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from histotrain.objects import PredictedObject
    from napari_histoanno.annotation import Bounds

OBJECTS_FILE = "objects.db"
_CANVAS = 512
_BATCH = 4096
_SCHEMA = """
CREATE TABLE objects (
    id INTEGER PRIMARY KEY, class_id INTEGER NOT NULL, score REAL NOT NULL, x REAL NOT NULL, y REAL NOT NULL, wkb BLOB
);
CREATE VIRTUAL TABLE boxes USING rtree(id, x0, x1, y0, y1);
"""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object of a prediction, level-0 pixels.

    Parameters
    ----------
    x, y : float
        Its centre.
    class_id : int
        Its class.
    score : float
        0 … 1.
    outline : Polygon or MultiPolygon, optional
        None for a point.
    """

    x: float
    y: float
    class_id: int
    score: float
    outline: shapely.Polygon | shapely.MultiPolygon | None = None


class ObjectStore:
    """The objects of a prediction; see the module.

    Parameters
    ----------
    folder : Path
        Of the prediction.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / OBJECTS_FILE

    @property
    def exists(self) -> bool:
        """Whether single objects were predicted."""
        return self._path.is_file()

    def create(self) -> None:
        """Make it, empty; raises PredictionError if it cannot be written."""
        self._path.unlink(missing_ok=True)
        with self._connected() as connection:
            connection.executescript(_SCHEMA)

    def add(self, objects: Sequence[PredictedObject], downsample: float) -> None:
        """Store objects of the model's frame, one pixel of which is ``downsample`` level-0 pixels."""
        if not objects:
            return
        outlines = _outlines(objects, downsample)
        with self._connected() as connection, connection:
            (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM objects").fetchone()
            numbers = range(last + 1, last + 1 + len(objects))
            connection.executemany(
                "INSERT INTO objects VALUES (?, ?, ?, ?, ?, ?)",
                (
                    (n, o.class_id, o.score, o.x * downsample, o.y * downsample, shapely.to_wkb(g) if g else None)
                    for n, o, g in zip(numbers, objects, outlines, strict=True)
                ),
            )
            connection.executemany(
                "INSERT INTO boxes VALUES (?, ?, ?, ?, ?)",
                (
                    (n, *(_box(g) if g else (o.x * downsample,) * 2 + (o.y * downsample,) * 2))
                    for n, o, g in zip(numbers, objects, outlines, strict=True)
                ),
            )

    def query(self, bounds: Bounds | None = None, classes: Iterable[int] | None = None) -> Iterator[StoredObject]:
        """Objects whose centre lies in a level-0 box (x0, y0, x1, y1), of some classes; all by default.

        Raises
        ------
        PredictionError
            If they cannot be read.
        """
        conditions, values = ["1"], list[float]()
        source = "objects o"
        if bounds is not None:
            x0, y0, x1, y1 = bounds
            source = "boxes b CROSS JOIN objects o ON o.id = b.id"
            conditions += ["b.x1 >= ? AND b.x0 <= ? AND b.y1 >= ? AND b.y0 <= ?"]
            conditions += ["o.x >= ? AND o.x < ? AND o.y >= ? AND o.y < ?"]
            values += [x0, x1, y0, y1, x0, x1, y0, y1]
        if classes is not None:
            chosen = sorted({int(value) for value in classes})
            conditions.append(f"o.class_id IN ({', '.join('?' * len(chosen))})")
            values += chosen
        with self._connected() as connection:
            rows = connection.execute(
                f"SELECT o.x, o.y, o.class_id, o.score, o.wkb FROM {source} WHERE {' AND '.join(conditions)}"
                " ORDER BY o.id",
                values,
            )
            while batch := rows.fetchmany(_BATCH):
                outlines = shapely.from_wkb(np.array([row[4] for row in batch], object))
                yield from (
                    StoredObject(row[0], row[1], row[2], row[3], outline)
                    for row, outline in zip(batch, outlines, strict=True)
                )

    def count(self) -> int:
        """How many there are."""
        with self._connected() as connection:
            return int(connection.execute("SELECT count(*) FROM objects").fetchone()[0])

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self._path, timeout=60)) as connection:
                yield connection
        except sqlite3.Error as error:
            raise PredictionError(
                f"The predicted objects in {self._path} cannot be used: {error}. Free some space, or predict again."
            ) from error


def _box(outline: shapely.Polygon | shapely.MultiPolygon) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = outline.bounds
    return x0, x1, y0, y1


def _outlines(
    objects: Sequence[PredictedObject], downsample: float
) -> list[shapely.Polygon | shapely.MultiPolygon | None]:
    """Outline of each object at level 0; those that lie near each other are traced at once."""
    outlines: list[shapely.Polygon | shapely.MultiPolygon | None] = [None] * len(objects)
    groups: dict[tuple[int, int], list[int]] = {}
    for index, item in enumerate(objects):
        if item.mask is not None:
            groups.setdefault((item.top // _CANVAS, item.left // _CANVAS), []).append(index)
    for members in groups.values():
        chosen = [(index, objects[index]) for index in members]
        left, top = min(o.left for _, o in chosen), min(o.top for _, o in chosen)
        parts: dict[int, list[shapely.Polygon]] = {}
        canvas = _canvas(chosen, left, top)
        for number, area in vectorize(canvas, origin=(left * downsample, top * downsample), downsample=downsample):
            parts.setdefault(number - 1, []).extend(shapely.get_parts(area.polygon))
        for index, polygons in parts.items():
            outlines[index] = polygons[0] if len(polygons) == 1 else shapely.MultiPolygon(polygons)
    return outlines


def _canvas(chosen: Sequence[tuple[int, PredictedObject]], left: int, top: int) -> np.ndarray:
    masks = [(index, item, item.mask) for index, item in chosen if item.mask is not None]
    height = max(item.top + mask.shape[0] for _, item, mask in masks) - top
    width = max(item.left + mask.shape[1] for _, item, mask in masks) - left
    canvas = np.zeros((height, width), np.int32)
    for index, item, mask in masks:
        h, w = mask.shape
        canvas[item.top - top :, item.left - left :][:h, :w][mask] = index + 1
    return canvas
