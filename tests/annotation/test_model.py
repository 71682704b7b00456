"""Records, shapes and schemes keep what they are told and refuse what makes no sense."""

from __future__ import annotations

import math

import pytest
import shapely
from hypothesis import example, given
from hypothesis import strategies as st

from napari_histoanno.annotation import (
    Annotation,
    Area,
    Box,
    Ellipse,
    Granularity,
    LabelScheme,
    Point,
    Scribble,
    Source,
    WholeSlide,
    new_id,
)
from napari_histoanno.annotation.geometry import from_native, to_native

NUMBER = st.floats(-1e7, 1e7)
SIZE = st.floats(1e-3, 1e6)
GEOMETRIES = st.one_of(
    st.builds(Point, NUMBER, NUMBER),
    st.builds(Box, NUMBER, NUMBER, SIZE, SIZE),
    st.builds(Ellipse, NUMBER, NUMBER, SIZE, SIZE, st.floats(-4, 4)),
    st.builds(Scribble, st.lists(st.tuples(NUMBER, NUMBER), min_size=1, max_size=4).map(tuple), SIZE),
    st.builds(lambda x, y, r: Area(shapely.box(x, y, x + r, y + r)), NUMBER, NUMBER, SIZE),
    st.just(WholeSlide()),
)


@given(GEOMETRIES)
@example(Area(shapely.box(-5.960464477539063e-08, 0.1 + 0.2, 0.25, 1.25)))
def test_native_parameters_round_trip(geometry: object) -> None:
    assert from_native(to_native(geometry)) == geometry


@given(GEOMETRIES)
def test_bounds_hold_the_shape(geometry: object) -> None:
    x0, y0, x1, y1 = geometry.bounds
    sx0, sy0, sx1, sy1 = geometry.shape.bounds
    slack = 1e-6 * (1 + max(abs(v) for v in (sx0, sy0, sx1, sy1) if math.isfinite(v)) if math.isfinite(sx0) else 1)
    assert math.isnan(sx0) or (x0 - slack <= sx0 and y0 - slack <= sy0 and x1 + slack >= sx1 and y1 + slack >= sy1)


@pytest.mark.parametrize(
    "native",
    [
        {},
        {"kind": "star"},
        {"kind": "box", "x": 1},
        {"kind": "area", "wkt": "POLYGON"},
        {"kind": "area", "wkt": "POINT(1 1)"},
        {"kind": "area", "wkb": "no hexadecimal"},
        {"kind": "area"},
        {"kind": "point", "x": "a", "y": 1},
        {"kind": "scribble", "points": [[1]], "width": 1},
    ],
)
def test_malformed_parameters_are_value_errors(native: dict) -> None:
    with pytest.raises(ValueError, match=r".+"):
        from_native(native)


def test_ids_sort_by_creation() -> None:
    ids = [new_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert all(i.version == 7 and i.variant == "specified in RFC 4122" for i in ids)
    assert [i.int >> 80 for i in ids] == sorted(i.int >> 80 for i in ids)


def test_changed_keeps_the_id_and_derived_does_not() -> None:
    note = Annotation("s", Granularity.POINT, Point(1, 2), 1)
    changed, derived = note.changed(class_id=2), note.derived(granularity=Granularity.BOX)
    assert (changed.id, changed.class_id) == (note.id, 2)
    assert changed.modified is not None
    assert (derived.parent, derived.source) == (note.id, Source.CONVERTED)
    assert derived.id != note.id


@pytest.mark.parametrize("changes", [{"class_id": 256}, {"class_id": -1}, {"confidence": 1.5}])
def test_impossible_records_are_refused(changes: dict) -> None:
    with pytest.raises(ValueError, match="must lie"):
        Annotation(
            **{"slide": "s", "granularity": Granularity.POINT, "geometry": Point(0, 0), "class_id": 1, **changes}
        )


def test_scheme_round_trips_and_keeps_ids_when_it_changes() -> None:
    scheme = LabelScheme.from_names(["a", "b", "c"], background="c").with_changed(2, parent=1, name="B")
    assert LabelScheme.from_json(scheme.to_json()) == scheme
    assert [c.id for c in scheme.without(1)] == [2, 3]
    assert scheme.without(1)["B"].parent is None
    assert scheme.without(2).with_class("d")["d"].id == 2
    assert scheme.background is not None
    assert scheme.background.name == "c"


@pytest.mark.parametrize("text", ["{", "[1]", '[{"id": 1}]', '[{"id": 0, "name": "a", "color": [0, 0, 0]}]'])
def test_what_is_no_scheme_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        LabelScheme.from_json(text)
