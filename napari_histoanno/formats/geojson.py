"""GeoJSON as QuPath reads and writes it.

The file is a FeatureCollection that QuPath 0.3 and later opens as it is: UUIDs as ids, valid geometries, classification
with name and colour, ``isEllipse``. What QuPath cannot say travels in a ``histoanno`` property of each feature and, for
the label scheme, of the collection; other tools ignore both.
"""

from __future__ import annotations

import json
import math
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np

from napari_histoanno.annotation.geometry import Area, to_native
from napari_histoanno.annotation.model import Annotation, Review
from napari_histoanno.annotation.scheme import UNLABELLED, LabelScheme
from napari_histoanno.formats.base import AnnotationFile, FormatError
from napari_histoanno.formats.geojson_read import KEY, NUCLEUS, read_geojson
from napari_histoanno.formats.geojson_shapes import geometry_to_geojson

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_VERSION = 1


class GeoJson:
    """QuPath's GeoJSON, both ways."""

    name = "geojson"
    title = "GeoJSON (QuPath)"
    suffixes = (".geojson", ".json")
    writable = True

    def sniff(self, head: bytes) -> bool:
        """Whether the beginning looks like a GeoJSON object or a list of features."""
        text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
        if text[:1] not in (b"{", b"["):
            return False
        return b'"Feature' in head or b'"coordinates"' in head or text[1:].strip() == b"]"

    def read(self, data: bytes, path: Path) -> AnnotationFile:
        """What the file says; raises FormatError."""
        return read_geojson(data, path)

    def write(self, annotations: Sequence[Annotation], scheme: LabelScheme, path: Path) -> bytes:
        """A FeatureCollection, one feature per line; raises FormatError if a class is not in the scheme."""
        known = {label.id: label for label in scheme}
        unknown = {a.class_id for a in annotations} - known.keys() - {UNLABELLED}
        if unknown:
            raise FormatError(
                path, f"class ids {sorted(unknown)} are not in the label scheme", "Add these classes first."
            )
        classifications = {i: {"name": c.name, "color": list(c.color)} for i, c in known.items()}
        nuclei = _nuclei_of_cells(annotations)
        folded = {nucleus.id for nucleus in nuclei.values()}
        lines = [
            _dumps(_feature(annotation, classifications, nuclei.get(annotation.id)), path)
            for annotation in annotations
            if annotation.id not in folded
        ]
        header = {"version": _VERSION, "scheme": json.loads(scheme.to_json())}
        start = f'{{"type":"FeatureCollection","{KEY}":{_dumps(header, path)},"features":['
        return (start + ("\n" if lines else "") + ",\n".join(lines) + "\n]}\n").encode()


def _nuclei_of_cells(annotations: Sequence[Annotation]) -> dict[UUID, Annotation]:
    """The nucleus record of each cell, by the cell's id: QuPath keeps both in one object."""
    cells = {a.id: a.class_id for a in annotations if a.properties.get("objectType") == "cell"}
    nuclei: dict[UUID, Annotation] = {}
    for annotation in annotations:
        parent = annotation.parent
        if annotation.properties.get("objectType") != NUCLEUS or parent is None or parent in nuclei:
            continue
        if cells.get(parent) == annotation.class_id:
            nuclei[parent] = annotation
    return nuclei


def _feature(
    annotation: Annotation, classifications: dict[int, dict[str, Any]], nucleus: Annotation | None
) -> dict[str, Any]:
    properties = {"objectType": "annotation", **annotation.properties}
    plane = properties.pop("plane", None)
    if properties["objectType"] == NUCLEUS:
        properties["objectType"] = "detection"
    if annotation.class_id != UNLABELLED:
        properties["classification"] = classifications[annotation.class_id]
    own = _own(annotation)
    geometry = geometry_to_geojson(annotation.geometry)
    if plane is not None:
        geometry["plane"] = plane
    feature = {"type": "Feature", "id": str(annotation.id), "geometry": geometry}
    if nucleus is not None:
        feature["nucleusGeometry"] = geometry_to_geojson(nucleus.geometry)
        own[NUCLEUS] = {"id": str(nucleus.id), **_own(nucleus)}
    return {**feature, "properties": {**properties, KEY: own}}


def _own(annotation: Annotation) -> dict[str, Any]:
    """What GeoJSON cannot say of an annotation."""
    own: dict[str, Any] = {
        "granularity": annotation.granularity.value,
        "source": annotation.source.value,
        "created": annotation.created.isoformat(),
    }
    if annotation.review is not Review.UNREVIEWED:
        own["review"] = annotation.review.value
    if annotation.modified is not None:
        own["modified"] = annotation.modified.isoformat()
    if annotation.annotator:
        own["annotator"] = annotation.annotator
    if annotation.confidence is not None:
        own["confidence"] = annotation.confidence
    if annotation.parent is not None:
        own["parent"] = str(annotation.parent)
    if not isinstance(annotation.geometry, Area) or not annotation.geometry.polygon.is_valid:
        own["native"] = to_native(annotation.geometry)
    return own


def _dumps(value: Any, path: Path) -> str:
    try:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_plain)
    except ValueError:  # NaN and infinity, common among measurements, are no JSON
        return json.dumps(_finite(value), separators=(",", ":"), ensure_ascii=False, default=_plain)
    except TypeError as error:
        hint = "Keep only numbers, texts, lists and mappings in the properties of annotations."
        raise FormatError(path, f"a property cannot be written as JSON ({error})", hint) from error


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return _finite(value.tolist())
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is not a JSON value")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value
