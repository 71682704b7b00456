"""Formats are told apart by what is inside; junk of any kind is one clear error."""

from __future__ import annotations

import gzip
import json
import pickle
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_histoanno.annotation import Granularity, LabelScheme
from napari_histoanno.formats import FormatError, formats, read_annotations, write_annotations

if TYPE_CHECKING:
    from pathlib import Path

KEYWORDS = [
    "type", "Feature", "FeatureCollection", "features", "geometry", "coordinates", "properties", "Polygon", "Point",
    "MultiPolygon", "LineString", "GeometryCollection", "geometries", "classification", "name", "names", "color",
    "colorRGB", "histoanno", "native", "kind", "area", "wkt", "scheme", "id", "objectType", "isEllipse",
    "nucleusGeometry", "granularity", "parent", "created", "confidence",
]  # fmt: skip
WORDS = st.sampled_from(KEYWORDS)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | WORDS | st.just(10**400) | st.just("1e999"),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=25,
)
FEATURES = st.fixed_dictionaries({"type": st.just("Feature"), "geometry": VALUES, "properties": VALUES, "id": VALUES})
GEOMETRY = st.fixed_dictionaries({"type": WORDS, "coordinates": VALUES})
NEARLY = st.fixed_dictionaries({"type": st.just("Feature"), "geometry": GEOMETRY, "properties": VALUES})


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=200) | st.text(max_size=200).map(str.encode), st.sampled_from(["a.geojson", "a.xml", "a.bin"])
)
def test_junk_is_a_format_error(tmp_path_factory: pytest.TempPathFactory, data: bytes, name: str) -> None:
    path = tmp_path_factory.mktemp("junk") / name
    path.write_bytes(data)
    with pytest.raises(FormatError) as caught:
        read_annotations(path)
    assert caught.value.path == path
    assert str(path) in str(caught.value)
    assert caught.value.reason
    assert caught.value.hint


@settings(max_examples=400, deadline=None)
@given(st.lists(FEATURES | NEARLY | VALUES, max_size=4) | VALUES)
def test_near_geojson_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: object) -> None:
    path = tmp_path_factory.mktemp("near") / "a.geojson"
    path.write_text(json.dumps(content))
    try:
        found = read_annotations(path)
    except FormatError:
        return
    write_annotations(path, found.annotations, found.scheme)
    assert len(read_annotations(path).annotations) == len(found.annotations)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"\x00\x01\x02", "not JSON"),
        (b'{"type": "FeatureCollection", "features": [', "cut off"),
        (b'{"type": "FeatureCollection"}', "no list of features"),
        (b'{"images": [], "categories": []}', "not GeoJSON"),
        (b"[" * 100_000, "nested too deeply"),
        (gzip.compress(b"x" * 1000)[:-9], "damaged"),
        (b'<?xml version="1.0"?><ASAP_Annotations><Annotations>', "well-formed"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><ASAP_Annotations/>', "entities"),
    ],
)
def test_each_error_says_what_is_wrong(tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(data)
    with pytest.raises(FormatError, match=says):
        read_annotations(path)


def test_missing_files_and_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="cannot be read"):
        read_annotations(tmp_path / "none.geojson")
    with pytest.raises(FormatError, match="no format 'shapefile'"):
        read_annotations(_empty_list(tmp_path), format="shapefile")
    with pytest.raises(FormatError, match="ending"):
        write_annotations(tmp_path / "a.docx", [], LabelScheme())
    with pytest.raises(FormatError, match="only be read"):
        write_annotations(tmp_path / "a.xml", [], LabelScheme(), format="asap")
    with pytest.raises(FormatError, match="cannot be written"):
        write_annotations(tmp_path / "none" / "a.geojson", [], LabelScheme())


def _empty_list(tmp_path: Path) -> Path:
    path = tmp_path / "empty.geojson"
    path.write_text("[]")
    return path


def test_content_decides_not_the_ending(tmp_path: Path) -> None:
    path = tmp_path / "wrong.xml"
    path.write_text('{"type": "Point", "coordinates": [1, 2]}')
    assert len(read_annotations(path).annotations) == 1


def test_errors_cross_process_borders() -> None:
    error = pickle.loads(pickle.dumps(FormatError("a", "b", "c")))
    assert (str(error), error.hint) == ("a: b. c", "c")


def test_formats_have_names_and_endings() -> None:
    assert [entry.name for entry in formats()] == ["geojson", "asap"]
    assert all(ending.startswith(".") for entry in formats() for ending in entry.suffixes)


def _refusal(path: Path) -> str | None:
    try:
        read_annotations(path)
    except FormatError as error:
        return str(error)
    return None


@pytest.mark.real_data
def test_every_other_real_file_is_read_or_clearly_refused(real_data: Path) -> None:
    files = [path for path in (real_data / "annotations").rglob("*") if path.is_file()]
    refusals = {path: _refusal(path) for path in files}
    assert all(str(path) in text for path, text in refusals.items() if text is not None)
    assert not any(refusals[path] for path in files if path.parent.name in ("qupath_geojson", "asap_xml"))
    assert sum(text is not None for text in refusals.values()) > 10


@pytest.mark.real_data
def test_asap(real_data: Path) -> None:
    folder = real_data / "annotations" / "asap_xml"
    camelyon = read_annotations(folder / "camelyon16_tumor_076.xml")
    assert [label.name for label in camelyon.scheme] == ["metastasis"]
    assert {note.class_id for note in camelyon.annotations} == {1}
    every = read_annotations(folder / "dplabtools_asap1.xml").annotations
    assert [note.granularity for note in every] == [
        Granularity.POINT,
        Granularity.BOX,
        Granularity.PIXEL,
        Granularity.PIXEL,
        Granularity.SPARSE,
    ]
    assert len(read_annotations(folder / "wsidicom_asap-pointset.xml").annotations) == 5
