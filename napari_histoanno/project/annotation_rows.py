"""Annotations as rows of ``project.db``, thousands at a time."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
import shapely

from napari_histoanno.annotation.geometry import Area, Geometry, Scribble, from_native, to_native
from napari_histoanno.annotation.model import Annotation, Granularity, Review, Source

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from shapely.geometry.base import BaseGeometry

COLUMNS = (
    "id",
    "slide",
    "granularity",
    "class_id",
    "annotator",
    "source",
    "review",
    "confidence",
    "parent",
    "created",
    "modified",
    "properties",
    "native",
    "wkb",
    "x0",
    "y0",
    "x1",
    "y1",
)

_AREA = '{"kind": "area"}'


def encode(annotations: Sequence[Annotation], slide_numbers: Mapping[str, int]) -> Iterator[tuple[Any, ...]]:
    """Values of :data:`COLUMNS` for each annotation.

    Parameters
    ----------
    annotations : sequence of Annotation
        Records whose slides are all in ``slide_numbers``.
    slide_numbers : mapping of str to int
        Row of each slide by its id.
    """
    geometries = [annotation.geometry for annotation in annotations]
    outlines = [_vertices(geometry) for geometry in geometries]
    blobs = shapely.to_wkb(outlines)
    for annotation, geometry, outline, blob in zip(annotations, geometries, outlines, blobs, strict=True):
        yield (
            annotation.id.bytes,
            slide_numbers[annotation.slide],
            str(annotation.granularity),
            int(annotation.class_id),
            annotation.annotator,
            str(annotation.source),
            str(annotation.review),
            None if annotation.confidence is None else float(annotation.confidence),
            annotation.parent.bytes if annotation.parent else None,
            annotation.created.isoformat(),
            annotation.modified.isoformat() if annotation.modified else None,
            _json(dict(annotation.properties)) if annotation.properties else "{}",
            _AREA if outline is not None and isinstance(geometry, Area) else _parameters(geometry),
            blob,
            *map(float, geometry.bounds),
        )


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a property of an annotation must be a JSON value, not {type(value).__name__}")


_json = json.JSONEncoder(default=_plain).encode
"""JSON text; NumPy's numbers become plain ones."""


def _vertices(geometry: Geometry) -> BaseGeometry | None:
    """What is kept as WKB: the shapes that are lists of vertices."""
    if isinstance(geometry, Area):
        return geometry.polygon
    if isinstance(geometry, Scribble):
        return geometry.path
    return None


def _parameters(geometry: Geometry) -> str:
    if isinstance(geometry, Scribble):
        return _json({"kind": "scribble", "width": geometry.width})
    return _json(to_native(geometry))


def decode(rows: Sequence[Sequence[Any]], slide_ids: Mapping[int, str]) -> list[Annotation]:
    """Annotations from rows of :data:`COLUMNS` (the bounds may be missing)."""
    outlines = shapely.from_wkb([row[13] for row in rows])
    return [_record(row, outline, slide_ids) for row, outline in zip(rows, outlines, strict=True)]


def _record(row: Sequence[Any], outline: BaseGeometry | None, slide_ids: Mapping[int, str]) -> Annotation:
    return Annotation(
        slide=slide_ids[row[1]],
        granularity=Granularity(row[2]),
        geometry=_geometry(row[12], outline),
        class_id=row[3],
        annotator=row[4],
        source=Source(row[5]),
        review=Review(row[6]),
        confidence=row[7],
        parent=UUID(bytes=row[8]) if row[8] is not None else None,
        properties=json.loads(row[11]) if row[11] != "{}" else {},
        created=datetime.fromisoformat(row[9]),
        modified=datetime.fromisoformat(row[10]) if row[10] is not None else None,
        id=UUID(bytes=row[0]),
    )


def _geometry(native: str, outline: BaseGeometry | None) -> Geometry:
    if native == _AREA and isinstance(outline, shapely.Polygon | shapely.MultiPolygon):
        return Area(outline)
    parameters = json.loads(native)
    if parameters["kind"] == "scribble" and outline is not None:
        return Scribble(tuple((x, y) for x, y in outline.coords), parameters["width"])
    return from_native(parameters)
