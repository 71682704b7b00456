"""Reading GeoJSON as QuPath, this project and others write it.

A feature that this project wrote carries a ``histoanno`` property with everything GeoJSON cannot say (native
parameters, granularity, source, review, parent); it is believed where it is there and well-formed. Everything else a
feature says is kept in the annotation's properties, for the way back.
"""

from __future__ import annotations

import gc
import json
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from napari_histoanno.annotation.geometry import from_native
from napari_histoanno.annotation.model import Annotation, Granularity, Review, Source, new_id
from napari_histoanno.annotation.scheme import LabelScheme
from napari_histoanno.formats.base import AnnotationFile, FormatError
from napari_histoanno.formats.classes import ClassCollector, qupath_class
from napari_histoanno.formats.geojson_shapes import ShapeError, geometry_to_geojson, parse_geometry, same_extent

if TYPE_CHECKING:
    from pathlib import Path

KEY = "histoanno"
NUCLEUS = "nucleus"

_HINT = "Export it again as GeoJSON, from QuPath for example with File > Export objects as GeoJSON"
_GEOMETRIES = ["Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon", "GeometryCollection"]
_MOST_PROBLEMS = 100
# QuPath 0.2 wrote the Java class of an object where its id belongs.
_OBJECT_TYPES = {
    "PathAnnotationObject": "annotation",
    "PathDetectionObject": "detection",
    "PathCellObject": "cell",
    "PathTileObject": "tile",
    "TMACoreObject": "tmaCore",
    "PathRootObject": "root",
}


def read_geojson(data: bytes, path: Path) -> AnnotationFile:
    """What a GeoJSON file says; see :mod:`.geojson_read`."""
    # A large file is millions of small lists and no garbage: looking for cycles among them takes most of the time.
    collecting = gc.isenabled()
    gc.disable()
    try:
        root = _parse(data, path)
        features = _features(root, path)
        classes = ClassCollector(_stored_scheme(root))
        reader = _Reader(classes)
        for number, feature in enumerate(features, 1):
            reader.read(number, feature)
    finally:
        if collecting:
            gc.enable()
    if reader.failed and not reader.annotations:
        raise FormatError(path, f"none of its {len(features)} objects can be read ({reader.problems[0]})", _HINT)
    problems = classes.problems + reader.problems
    if len(problems) > _MOST_PROBLEMS:
        problems = [*problems[:_MOST_PROBLEMS], f"… and {len(problems) - _MOST_PROBLEMS} more of the kind"]
    return AnnotationFile(tuple(reader.annotations), classes.scheme, tuple(problems))


def _parse(data: bytes, path: Path) -> Any:
    try:
        return json.loads(data)
    except UnicodeDecodeError as error:
        raise FormatError(path, "it is not text", _HINT) from error
    except RecursionError as error:
        raise FormatError(path, "it is nested too deeply to be annotations", _HINT) from error
    except ValueError as error:
        raise FormatError(path, f"it is not JSON ({error}); it may be cut off", _HINT) from error


def _features(root: Any, path: Path) -> list[Any]:
    if isinstance(root, list):
        nested = [_features(item, path) if _is_collection(item) else [item] for item in root]
        return [feature for part in nested for feature in part]
    if _is_collection(root):
        features = root.get("features")
        if isinstance(features, list):
            return features
        raise FormatError(path, "its FeatureCollection holds no list of features", _HINT)
    if isinstance(root, dict) and root.get("type") == "Feature":
        return [root]
    if isinstance(root, dict) and root.get("type") in _GEOMETRIES:
        return [{"type": "Feature", "geometry": root}]
    raise FormatError(path, "it is JSON but not GeoJSON", _HINT)


def _is_collection(item: Any) -> bool:
    return isinstance(item, dict) and item.get("type") == "FeatureCollection"


def _stored_scheme(root: Any) -> LabelScheme | None:
    stored = root.get(KEY) if isinstance(root, dict) else None
    if not isinstance(stored, dict) or "scheme" not in stored:
        return None
    try:
        return LabelScheme.from_json(json.dumps(stored["scheme"]))
    except ValueError:
        return None


class _Reader:
    """Annotations of the features seen so far."""

    def __init__(self, classes: ClassCollector) -> None:
        self.classes = classes
        self.annotations: list[Annotation] = []
        self.problems: list[str] = []
        self.failed = 0
        self._ids: set[UUID] = set()

    def read(self, number: int, feature: Any) -> None:
        """Add what one feature says; a feature that cannot be read becomes a problem."""
        if not isinstance(feature, dict):
            self._fail(number, "is not an object")
            return
        properties = feature.get("properties")
        properties = dict(properties) if isinstance(properties, dict) else {}
        kind = _object_type(feature, properties)
        if kind == "root":
            return
        properties.pop("objectType", None)
        if kind not in ("", "annotation"):
            properties["objectType"] = kind
        try:
            self._read(number, feature, properties)
        except ShapeError as error:
            self._fail(number, f"{error}; it was left out")

    def _fail(self, number: int, reason: str) -> None:
        self.failed += 1
        self.problems.append(f"object {number} {reason}")

    def _read(self, number: int, feature: dict[str, Any], properties: dict[str, Any]) -> None:
        own = properties.pop(KEY, None)
        own = own if isinstance(own, dict) else {}
        name, color = qupath_class(properties.pop("classification", None))
        geometry = feature.get("geometry")
        if isinstance(geometry, dict) and isinstance(geometry.get("plane"), dict):
            properties["plane"] = geometry["plane"]
        nucleus = feature.get("nucleusGeometry") or properties.pop("nucleusGeometry", None)
        shapes, repairs = parse_geometry(geometry)
        self.problems += [f"object {number} {repair}" for repair in repairs]
        class_id = self.classes.id_of(name, color)
        stored = self._stored(number, own, geometry)
        cell = None
        for granularity, shape in shapes:
            values: dict[str, Any] = {"granularity": granularity, "geometry": shape, "source": Source.IMPORTED}
            if cell is None:
                values |= stored
            identity = self._own_id(number, feature.get("id") if cell is None else None)
            annotation = Annotation("", class_id=class_id, properties=dict(properties), id=identity, **values)
            cell = cell or annotation
            self.annotations.append(annotation)
        if nucleus is not None and cell is not None:
            self._read_nucleus(number, nucleus, cell, own)

    def _read_nucleus(self, number: int, geometry: Any, cell: Annotation, own: dict[str, Any]) -> None:
        """The nucleus of a cell: a record of its own whose parent is the cell."""
        told = own.get(NUCLEUS)
        told = told if isinstance(told, dict) else {}
        try:
            (granularity, shape), *_ = parse_geometry(geometry)[0]
        except ShapeError as error:
            self.problems.append(f"the nucleus of object {number} {error}; it was left out")
            return
        values: dict[str, Any] = {"granularity": granularity, "geometry": shape, "parent": cell.id}
        values |= self._stored(number, told, geometry)
        values |= {"id": self._own_id(number, told.get("id")), "properties": {"objectType": NUCLEUS}}
        self.annotations.append(replace(cell, **values))

    def _own_id(self, number: int, value: Any) -> UUID:
        """The feature's own id if it has one that no other feature has."""
        found = _uuid(value) or new_id()
        if found in self._ids:
            self.problems.append(f"object {number} has the id of another one and was given a new one")
            found = new_id()
        self._ids.add(found)
        return found

    def _stored(self, number: int, own: dict[str, Any], shown: Any) -> dict[str, Any]:
        """What this project wrote about an annotation, as values of its fields.

        Native parameters count only if the geometry beside them still shows the same: else another tool moved it.
        """
        try:
            values = _own_values(own)
        except (ValueError, TypeError) as error:
            self.problems.append(f"object {number} has a damaged {KEY!r} property ({error}); only its shape was read")
            return {}
        if "geometry" in values and not same_extent(geometry_to_geojson(values["geometry"]), shown):
            self.problems.append(f"object {number} was changed by another tool; its shape there was taken")
            del values["geometry"]
            values.pop("granularity", None)
        return values


def _own_values(own: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, kind in (("granularity", Granularity), ("source", Source), ("review", Review)):
        if key in own:
            values[key] = kind(own[key])
    if "native" in own:
        values["geometry"] = from_native(own["native"])
    for key in ("created", "modified"):
        if own.get(key) is not None:
            values[key] = datetime.fromisoformat(own[key])
    if own.get("confidence") is not None:
        values["confidence"] = float(own["confidence"])
        if not 0 <= values["confidence"] <= 1:
            raise ValueError("its confidence is out of range")
    if own.get("parent") is not None:
        values["parent"] = UUID(own["parent"])
    if isinstance(own.get("annotator"), str):
        values["annotator"] = own["annotator"]
    return values


def _object_type(feature: dict[str, Any], properties: dict[str, Any]) -> str:
    for key in ("objectType", "object_type"):
        if isinstance(properties.get(key), str):
            return str(properties[key])
    identity = feature.get("id")
    return _OBJECT_TYPES.get(identity, "") if isinstance(identity, str) else ""


def _uuid(value: Any) -> UUID | None:
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None
