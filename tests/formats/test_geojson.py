"""GeoJSON of QuPath and ours: what is read, what survives the way out and back."""

from __future__ import annotations

import gzip
import json
import math
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_histoanno.annotation import (
    Annotation,
    Area,
    Box,
    Ellipse,
    Granularity,
    LabelScheme,
    Point,
    Review,
    Scribble,
    Source,
    WholeSlide,
    new_id,
)
from napari_histoanno.formats import FormatError, read_annotations, write_annotations

if TYPE_CHECKING:
    from pathlib import Path

SCHEME = LabelScheme.from_names(["tumour", "stroma", "Background"], background="Background").with_changed(2, parent=1)
SQUARE = [[[0, 0], [9, 0], [9, 8], [0, 9], [0, 0]]]
POLYGON = {"type": "Polygon", "coordinates": SQUARE}

NUMBER = st.floats(-1e6, 1e6)
SIZE = st.floats(0.01, 1e4)
SHAPES = st.one_of(
    st.tuples(st.just(Granularity.POINT), st.builds(Point, NUMBER, NUMBER)),
    st.tuples(st.just(Granularity.BOX), st.builds(Box, NUMBER, NUMBER, SIZE, SIZE)),
    st.tuples(
        st.just(Granularity.ELLIPSE),
        st.builds(Ellipse, NUMBER, NUMBER, SIZE, SIZE, st.sampled_from([0, math.pi / 2]) | st.floats(-4, 4)),
    ),
    st.tuples(
        st.just(Granularity.SPARSE),
        st.builds(Scribble, st.lists(st.tuples(NUMBER, NUMBER), min_size=1, max_size=5).map(tuple), SIZE),
    ),
    st.tuples(
        st.sampled_from([Granularity.PIXEL, Granularity.EXHAUSTIVE, Granularity.SPARSE]),
        st.builds(lambda x, y, r: Area(shapely.Point(x, y).buffer(r, quad_segs=3)), NUMBER, NUMBER, SIZE),
    ),
    st.just((Granularity.IMAGE, WholeSlide())),
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
RESERVED = {"classification", "histoanno", "objectType", "object_type", "plane", "nucleusGeometry"}
ANNOTATIONS = st.builds(
    lambda shape, **rest: Annotation("", *shape, **rest),
    SHAPES,
    class_id=st.integers(0, 3),
    annotator=st.text(max_size=9),
    source=st.sampled_from(Source),
    review=st.sampled_from(Review),
    confidence=st.none() | st.floats(0, 1),
    parent=st.none() | st.builds(new_id),
    modified=st.none() | st.datetimes(),
    properties=st.dictionaries(st.text().filter(lambda k: k not in RESERVED), JSON, max_size=3),
)


def feature(geometry: Any, **properties: Any) -> dict[str, Any]:
    return {"type": "Feature", "id": "PathAnnotationObject", "geometry": geometry, "properties": properties}


def read(tmp_path: Path, content: Any) -> Any:
    path = tmp_path / "file.geojson"
    path.write_text(json.dumps(content))
    return read_annotations(path)


@settings(max_examples=60, deadline=None)
@given(st.lists(ANNOTATIONS, max_size=4))
def test_everything_survives_the_way_out_and_back(tmp_path_factory: pytest.TempPathFactory, notes: list) -> None:
    path = tmp_path_factory.mktemp("round") / "notes.geojson"
    write_annotations(path, notes, SCHEME)
    back = read_annotations(path)
    assert back.problems == ()
    assert back.annotations == tuple(notes)
    assert back.scheme == SCHEME


@settings(max_examples=40, deadline=None)
@given(st.lists(ANNOTATIONS, min_size=1, max_size=4))
def test_other_tools_see_valid_features(tmp_path_factory: pytest.TempPathFactory, notes: list) -> None:
    path = tmp_path_factory.mktemp("valid") / "notes.geojson"
    write_annotations(path, notes, SCHEME)
    collection = json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert collection["type"] == "FeatureCollection"
    for entry, note in zip(collection["features"], notes, strict=True):
        assert UUID(entry["id"]) == note.id
        shape = shapely.from_geojson(json.dumps(entry["geometry"]))
        assert shape.is_valid
        assert not shape.is_empty
        assert entry["properties"]["objectType"] == "annotation"
        if note.class_id:
            label = SCHEME[note.class_id]
            assert entry["properties"]["classification"] == {"name": label.name, "color": list(label.color)}


@pytest.mark.parametrize("wrap", [lambda f: f, lambda f: [f], lambda f: {"type": "FeatureCollection", "features": [f]}])
def test_every_kind_of_root(tmp_path: Path, wrap: Any) -> None:
    (note,) = read(tmp_path, wrap(feature(POLYGON, name="one"))).annotations
    assert note.granularity is Granularity.PIXEL
    assert (note.source, dict(note.properties)) == (Source.IMPORTED, {"name": "one"})


def test_bare_geometry(tmp_path: Path) -> None:
    assert read(tmp_path, {"type": "Point", "coordinates": [1, 2]}).annotations[0].geometry == Point(1, 2)


@pytest.mark.parametrize(
    ("classification", "name", "color"),
    [
        ({"name": "Tumor", "colorRGB": -3670016}, "Tumor", (200, 0, 0)),
        ({"name": "Tumor", "color": [1, 2, 3]}, "Tumor", (1, 2, 3)),
        ({"names": ["Tumor", "Positive"], "color": [1, 2, 3]}, "Tumor: Positive", (1, 2, 3)),
        ("Tumor", "Tumor", (228, 26, 28)),
    ],
)
def test_classifications_of_every_version(tmp_path: Path, classification: Any, name: str, color: tuple) -> None:
    found = read(tmp_path, [feature(POLYGON, classification=classification), feature(POLYGON)])
    assert [(c.id, c.name, c.color) for c in found.scheme] == [(1, name, color)]
    assert [note.class_id for note in found.annotations] == [1, 0]


@pytest.mark.parametrize(
    ("geometry", "expected"),
    [
        ({"type": "Point", "coordinates": [1, 2, 0]}, [Point(1, 2)]),
        ({"type": "MultiPoint", "coordinates": [[1, 2], [3, 4]]}, [Point(1, 2), Point(3, 4)]),
        ({"type": "LineString", "coordinates": [[1, 2], [3, 4]]}, [Scribble(((1, 2), (3, 4)), 1)]),
        (
            {"type": "MultiLineString", "coordinates": [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]},
            [Scribble(((1, 2), (3, 4)), 1), Scribble(((5, 6), (7, 8)), 1)],
        ),
        ({"type": "Polygon", "coordinates": [[[1, 2], [1, 5], [4, 5], [4, 2], [1, 2]]]}, [Box(1, 2, 3, 3)]),
        (
            {"type": "GeometryCollection", "geometries": [{"type": "Point", "coordinates": [1, 2]}]},
            [Point(1, 2)],
        ),
    ],
)
def test_every_geometry_type(tmp_path: Path, geometry: Any, expected: list) -> None:
    found = read(tmp_path, feature(geometry)).annotations
    assert [note.geometry for note in found] == expected
    assert len({note.id for note in found}) == len(expected)


def test_multipolygon_and_holes(tmp_path: Path) -> None:
    hole = [[2, 2], [3, 2], [3, 3], [2, 3], [2, 2]]
    far = [[[20, 0], [29, 0], [29, 9], [20, 8], [20, 0]]]
    shape = {"type": "MultiPolygon", "coordinates": [[SQUARE[0], hole], far]}
    polygon = read(tmp_path, feature(shape)).annotations[0].geometry.polygon
    assert len(polygon.geoms) == 2
    assert len(polygon.geoms[0].interiors) == 1


def test_qupath_ellipse_is_restored_from_its_bounds(tmp_path: Path) -> None:
    drawn = Ellipse(100, 50, 30, 20)
    ring = shapely.get_coordinates(drawn.shape).tolist()
    (note,) = read(tmp_path, feature({"type": "Polygon", "isEllipse": True, "coordinates": [ring]})).annotations
    assert note.granularity is Granularity.ELLIPSE
    assert (note.geometry.cx, note.geometry.cy, note.geometry.a, note.geometry.b) == pytest.approx((100, 50, 30, 20))


def test_ellipse_is_marked_for_qupath_only_where_it_is_upright(tmp_path: Path) -> None:
    path = tmp_path / "e.geojson"
    upright, turned = Ellipse(5, 5, 2, 4, math.pi / 2), Ellipse(5, 5, 2, 4, 0.3)
    write_annotations(path, [Annotation("", Granularity.ELLIPSE, e, 1) for e in (upright, turned)], SCHEME)
    first, second = (entry["geometry"] for entry in json.loads(path.read_text())["features"])
    assert first["isEllipse"] is True
    assert shapely.from_geojson(json.dumps(first)).bounds == pytest.approx(upright.bounds, abs=1e-12)
    assert "isEllipse" not in second


def test_cells_keep_their_nuclei(tmp_path: Path) -> None:
    nucleus = {"type": "Polygon", "coordinates": [[[3, 3], [6, 3], [5, 6], [3, 3]]]}
    cell = feature(POLYGON, objectType="cell", classification={"name": "Tumor"}, measurements={"Area": 72.5})
    cell |= {"id": "6423a977-ffff-48db-affc-cd11632010f0", "nucleusGeometry": nucleus}
    found = read(tmp_path, [cell])
    outer, inner = found.annotations
    assert (inner.parent, inner.class_id, inner.properties["objectType"]) == (outer.id, 1, "nucleus")
    path = tmp_path / "out.geojson"
    write_annotations(path, found.annotations, found.scheme)
    (entry,) = json.loads(path.read_text())["features"]
    assert entry["id"] == cell["id"]
    assert entry["properties"]["objectType"] == "cell"
    assert entry["properties"]["measurements"] == {"Area": 72.5}
    assert shapely.from_geojson(json.dumps(entry["nucleusGeometry"])).equals(inner.geometry.shape)
    assert read_annotations(path).annotations == found.annotations


def test_plane_and_measurements_go_back_where_they_were(tmp_path: Path) -> None:
    plane = {"c": -1, "z": 2, "t": 0}
    found = read(
        tmp_path, feature({**POLYGON, "plane": plane}, measurements=[{"name": "a", "value": 1.5}], isLocked=True)
    )
    path = tmp_path / "out.geojson"
    write_annotations(path, found.annotations, found.scheme)
    (entry,) = json.loads(path.read_text())["features"]
    assert entry["geometry"]["plane"] == plane
    assert entry["properties"]["measurements"] == [{"name": "a", "value": 1.5}]
    assert entry["properties"]["isLocked"] is True


def test_native_parameters_give_way_to_a_shape_moved_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "moved.geojson"
    write_annotations(path, [Annotation("", Granularity.ELLIPSE, Ellipse(5, 5, 2, 4, 0.3), 1)], SCHEME)
    content = json.loads(path.read_text())
    ring = content["features"][0]["geometry"]["coordinates"][0]
    content["features"][0]["geometry"]["coordinates"][0] = [[x + 100, y] for x, y in ring]
    found = read(tmp_path, content)
    assert found.annotations[0].bounds[0] > 100
    assert "changed by another tool" in found.problems[0]


def test_self_crossing_outline_is_repaired_and_said(tmp_path: Path) -> None:
    bow_tie = {"type": "Polygon", "coordinates": [[[0, 0], [4, 4], [4, 0], [0, 4], [0, 0]]]}
    found = read(tmp_path, feature(bow_tie))
    assert found.annotations[0].geometry.shape.is_valid
    assert found.annotations[0].geometry.shape.area == 8
    assert "repaired" in found.problems[0]


def test_bad_objects_are_left_out_and_named(tmp_path: Path) -> None:
    bad = [
        None,
        feature(None),
        feature({"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}),
        feature({"type": "Circle"}),
        feature({"type": "Point", "coordinates": ["a", 1]}),
        feature({"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [2, 2], [0, 0]]]}),
    ]
    found = read(tmp_path, [*bad, feature(POLYGON)])
    assert len(found.annotations) == 1
    assert [int(problem.split()[1]) for problem in found.problems] == [1, 2, 3, 4, 5, 6]


def test_ids_are_kept_and_doubled_ones_replaced(tmp_path: Path) -> None:
    identity = "6423a977-ffff-48db-affc-cd11632010f0"
    found = read(tmp_path, [{**feature(POLYGON), "id": identity} for _ in range(2)])
    assert str(found.annotations[0].id) == identity
    assert found.annotations[1].id != found.annotations[0].id
    assert "id of another" in found.problems[0]


def test_names_that_differ_in_case_are_not_merged_silently(tmp_path: Path) -> None:
    found = read(tmp_path, [feature(POLYGON, classification={"name": name}) for name in ("Tumor", "tumor")])
    assert [note.class_id for note in found.annotations] == [1, 1]
    assert "case only" in found.problems[0]


def test_gzip_and_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(b"\xef\xbb\xbf" + json.dumps(feature(POLYGON)).encode()))
    assert len(read_annotations(path).annotations) == 1
    write_annotations(path, [], SCHEME)
    assert path.read_bytes()[:2] == b"\x1f\x8b"
    assert read_annotations(path).annotations == ()


def test_properties_that_json_cannot_say(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    note = Annotation("", Granularity.POINT, Point(1, 2), 1, properties={"measurements": {"a": math.nan, "b": 1}})
    write_annotations(path, [note], SCHEME)
    assert read_annotations(path).annotations[0].properties == {"measurements": {"a": None, "b": 1}}
    with pytest.raises(FormatError, match="property"):
        write_annotations(path, [note.changed(properties={"a": object()})], SCHEME)
    assert len(read_annotations(path).annotations) == 1


def test_a_class_outside_the_scheme_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="not in the label scheme"):
        write_annotations(tmp_path / "a.geojson", [Annotation("", Granularity.POINT, Point(1, 2), 9)], SCHEME)


@pytest.mark.real_data
def test_real_files_of_two_qupath_versions(real_data: Path, tmp_path: Path) -> None:
    files = sorted((real_data / "annotations" / "qupath_geojson").iterdir())
    assert len(files) >= 11
    for file in files:
        found = read_annotations(file)
        assert found.annotations
        assert found.problems == ()
        out = tmp_path / f"{file.stem}.geojson"
        write_annotations(out, found.annotations, found.scheme)
        assert read_annotations(out).annotations == found.annotations
    kinds = {f.stem.rpartition("-")[2]: read_annotations(f).annotations[0].granularity for f in files}
    assert (kinds["rectangle"], kinds["polyline"], kinds["wand"], kinds["multipoint"]) == (
        Granularity.BOX,
        Granularity.SPARSE,
        Granularity.PIXEL,
        Granularity.POINT,
    )
