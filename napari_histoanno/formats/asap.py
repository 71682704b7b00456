"""Reading the XML of ASAP, in which CAMELYON and other challenges publish their annotations.

An annotation's class is the group it belongs to. Splines are read as the polygon of their control points, as ASAP's own
mask writer does; measurements are lines.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

from napari_histoanno.annotation.model import Annotation, Source
from napari_histoanno.formats.base import AnnotationFile, FormatError
from napari_histoanno.formats.classes import ClassCollector, Color
from napari_histoanno.formats.geojson_shapes import ShapeError, parse_geometry

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_histoanno.annotation.scheme import LabelScheme

_HINT = "Save it again from ASAP."
_NO_GROUP = "None"


class Asap:
    """ASAP's XML, read only."""

    name = "asap"
    title = "ASAP XML"
    suffixes = (".xml",)
    writable = False

    def sniff(self, head: bytes) -> bool:
        """Whether ASAP's root element is in sight."""
        return b"<ASAP_Annotations" in head

    def read(self, data: bytes, path: Path) -> AnnotationFile:
        """What the file says; raises FormatError."""
        if b"<!DOCTYPE" in data[:4096] or b"<!ENTITY" in data[:4096]:
            raise FormatError(path, "it declares entities, which annotations never need", _HINT)
        try:
            root = ET.fromstring(data)
        except (ET.ParseError, ValueError, LookupError) as error:
            raise FormatError(path, f"it is not well-formed XML ({error})", _HINT) from error
        if root.tag != "ASAP_Annotations":
            raise FormatError(path, f"its root element is {root.tag!r}, not 'ASAP_Annotations'", _HINT)
        classes = ClassCollector()
        for group in root.iter("Group"):
            classes.id_of(group.get("Name", ""), _color(group.get("Color", "")))
        annotations: list[Annotation] = []
        problems: list[str] = []
        for number, element in enumerate(root.iter("Annotation"), 1):
            try:
                annotations += _read(element, classes)
            except ShapeError as error:
                problems.append(f"object {number} {error}; it was left out")
        return AnnotationFile(tuple(annotations), classes.scheme, (*classes.problems, *problems))

    def write(self, annotations: Sequence[Annotation], scheme: LabelScheme, path: Path) -> bytes:
        """Not offered."""
        raise FormatError(path, "ASAP XML can only be read", "Write GeoJSON instead.")


def _read(element: ET.Element, classes: ClassCollector) -> list[Annotation]:
    group = element.get("PartOfGroup", _NO_GROUP)
    class_id = classes.id_of("" if group == _NO_GROUP else group)
    shapes, _ = parse_geometry(_geometry(element.get("Type", ""), _positions(element)))
    properties = {"name": element.get("Name", ""), "type": element.get("Type", "")}
    return [
        Annotation("", granularity, shape, class_id, source=Source.IMPORTED, properties=properties)
        for granularity, shape in shapes
    ]


def _positions(element: ET.Element) -> list[list[float]]:
    try:
        ordered = sorted(element.iter("Coordinate"), key=lambda c: int(float(c.get("Order", "0"))))
        return [[float(c.attrib["X"]), float(c.attrib["Y"])] for c in ordered]
    except (KeyError, ValueError, OverflowError) as error:
        raise ShapeError("has coordinates that are not numbers") from error


def _geometry(kind: str, positions: list[list[float]]) -> dict[str, object]:
    match kind:
        case "Dot" | "PointSet":
            return {"type": "MultiPoint", "coordinates": positions}
        case "Measurement":
            return {"type": "LineString", "coordinates": positions}
        case "Polygon" | "Rectangle" | "Spline":
            return {"type": "Polygon", "coordinates": [[*positions, *positions[:1]]]}
    raise ShapeError(f"is of unknown type {kind!r}")


def _color(text: str) -> Color | None:
    try:
        value = int(text.removeprefix("#"), 16)
    except ValueError:
        return None
    return (value >> 16 & 255, value >> 8 & 255, value & 255)
