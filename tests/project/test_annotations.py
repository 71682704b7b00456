"""Annotations come back as they were drawn, are found where they are, and every change has its way back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from napari_histoanno.annotation import (
    Annotation,
    Area,
    Box,
    Ellipse,
    Geometry,
    Granularity,
    Point,
    Review,
    Scribble,
    Source,
    WholeSlide,
    new_id,
)
from napari_histoanno.project import Change, Project, ProjectError, SlideRecord

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COORDINATE = st.floats(-1e6, 1e6)
SIZE = st.floats(1e-3, 1e5)
RING = shapely.Point(50, 50).buffer(20).difference(shapely.Point(50, 50).buffer(10))
GEOMETRIES = st.one_of(
    st.builds(Point, COORDINATE, COORDINATE),
    st.builds(Box, COORDINATE, COORDINATE, SIZE, SIZE),
    st.builds(Ellipse, COORDINATE, COORDINATE, SIZE, SIZE, st.floats(-4, 4)),
    st.builds(Scribble, st.lists(st.tuples(COORDINATE, COORDINATE), min_size=1, max_size=9).map(tuple), SIZE),
    st.builds(Area, st.sampled_from([RING, shapely.MultiPolygon([RING, shapely.box(0, 0, 1 / 3, 2)])])),
    st.just(WholeSlide()),
)
ANNOTATIONS = st.builds(
    Annotation,
    slide=st.just("slide"),
    granularity=st.sampled_from(Granularity),
    geometry=GEOMETRIES,
    class_id=st.integers(0, 255),
    annotator=st.text(st.characters(codec="utf-8"), max_size=5),
    source=st.sampled_from(Source),
    review=st.sampled_from(Review),
    confidence=st.none() | st.floats(0, 1),
    parent=st.none() | st.builds(new_id),
    properties=st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=3), st.integers() | st.text(max_size=3)),
    modified=st.none() | st.datetimes(timezones=st.just(UTC)),
    id=st.builds(new_id),
)
MANY = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def at(slide: SlideRecord, x: float, y: float = 0.0, class_id: int = 1) -> Annotation:
    return Annotation(slide.id, Granularity.POINT, Point(x, y), class_id, "ann")


@MANY
@given(st.lists(ANNOTATIONS, min_size=1, max_size=5, unique_by=lambda a: a.id))
def test_records_come_back_equal_and_in_order(
    project: Project, slide: SlideRecord, annotations: list[Annotation]
) -> None:
    records = tuple(a.changed(slide=slide.id, modified=a.modified) for a in annotations)
    before = project.annotations.count()
    assert project.annotations.add(records) == records
    assert tuple(project.annotations.query(slide.id)[before:]) == records
    assert all(project.annotations.get(record.id) == record for record in records)


@MANY
@example(Point(7e-119, 0.0), (5e-119, 0.0, 1.0, 1.0))
@given(GEOMETRIES, st.tuples(COORDINATE, COORDINATE, SIZE, SIZE))
def test_a_place_finds_what_meets_it(
    project: Project, slide: SlideRecord, geometry: Geometry, place: tuple[float, float, float, float]
) -> None:
    x, y, width, height = place
    bounds = (x, y, x + width, y + height)
    (record,) = project.annotations.add([Annotation(slide.id, Granularity.PIXEL, geometry, 1)])
    x0, y0, x1, y1 = geometry.bounds
    meets = x0 <= bounds[2] and x1 >= bounds[0] and y0 <= bounds[3] and y1 >= bounds[1]
    found, count = project.annotations.query(slide.id, bounds=bounds), project.annotations.count(bounds=bounds)
    project.annotations.delete([record.id])
    assert found == [record] * meets
    assert count == meets


def test_edges_count_as_meeting_however_fine(project: Project, slide: SlideRecord) -> None:
    """The index rounds to 32 bits; the answer must not."""
    x = 70_000.123
    project.annotations.add([at(slide, x)])
    for bounds, found in (
        ((x, 0, x + 1, 1), 1),
        ((x - 1, 0, x, 1), 1),
        ((np.nextafter(x, np.inf), 0, x + 1, 1), 0),
        ((x - 1, 0, np.nextafter(x, 0), 1), 0),
    ):
        assert project.annotations.count(slide.id, bounds=bounds) == found


def test_filters_narrow_and_combine(
    project: Project, slide: SlideRecord, tmp_path: Path, make_slide: Callable[..., Path]
) -> None:
    other = project.add_slide(make_slide(tmp_path / "b.svs", 500, 500))
    a, b = at(slide, 1), at(slide, 2, class_id=2)
    c = b.derived(granularity=Granularity.BOX, geometry=Box(0, 0, 9, 9), annotator="bob")
    d = at(other, 1)
    store = project.annotations
    store.add([a, b, c, d])
    assert store.query() == [a, b, c, d]
    assert store.query(other.id) == [d]
    assert store.query(slide.id, classes=[2]) == [b, c]
    assert store.query(classes={1, 2}, annotators=["bob"]) == [c]
    assert store.query(granularities=[Granularity.BOX]) == [c]
    assert store.query(sources=[Source.CONVERTED]) == [c]
    assert store.query(parent=b.id) == [c]
    assert store.query(limit=2) == [a, b]
    assert store.query(classes=[]) == []
    assert store.query(slide.id, bounds=(0, 0, 3, 3), classes=[2]) == [b, c]
    assert store.count(slide.id) == 3
    with pytest.raises(TypeError, match="colour"):
        store.query(colour=1)  # type: ignore[call-arg]


def test_numpy_values_are_stored_as_plain_numbers(project: Project, slide: SlideRecord) -> None:
    geometry = Ellipse(*np.arange(1, 6, dtype=np.float32))
    properties = {"area": np.float32(2.5), "n": np.int64(3)}
    record = Annotation(slide.id, Granularity.ELLIPSE, geometry, np.uint8(7), properties=properties)
    project.annotations.add([record])
    (found,) = project.annotations.query(classes=[7], bounds=(0, 0, 9, 9))
    assert found.geometry == geometry
    assert found.properties == {"area": 2.5, "n": 3}


def test_changing_keeps_the_place_in_the_order_and_the_old_version(project: Project, slide: SlideRecord) -> None:
    a, b = project.annotations.add([at(slide, 1), at(slide, 2)])
    moved = a.changed(geometry=Point(500, 500))
    project.annotations.update([moved])
    assert project.annotations.query() == [moved, b]
    assert project.annotations.query(bounds=(0, 0, 9, 9)) == [b]
    project.history.undo()
    assert project.annotations.query() == [a, b]
    assert project.annotations.query(bounds=(0, 0, 9, 9)) == [a, b]
    project.history.redo()
    assert project.annotations.get(a.id) == moved


def test_deleting_and_taking_it_back(project: Project, slide: SlideRecord) -> None:
    a, b = project.annotations.add([at(slide, 1), at(slide, 2)])
    project.annotations.delete([a.id, a.id])
    assert project.annotations.query() == [b]
    with pytest.raises(ProjectError, match="not in the project"):
        project.annotations.get(a.id)
    assert project.history.undo() == Change("annotations", "delete", slide.id, (a.id,))
    assert project.annotations.query(bounds=(0, 0, 9, 9)) == [a, b]
    project.history.redo()
    assert project.annotations.query(bounds=(0, 0, 9, 9)) == [b]


def test_a_deleted_id_may_be_added_again(project: Project, slide: SlideRecord) -> None:
    (a,) = project.annotations.add([at(slide, 1)])
    project.annotations.delete([a.id])
    project.annotations.add([a])
    for expected in ([], [a], []):
        project.history.undo()
        assert project.annotations.query() == expected
    for expected in ([a], [], [a]):
        project.history.redo()
        assert project.annotations.query() == expected


@pytest.mark.parametrize("change", ["unknown slide", "taken id", "same id twice", "not a number", "not JSON"])
def test_what_cannot_be_stored_stores_nothing(project: Project, slide: SlideRecord, change: str) -> None:
    (known,) = project.annotations.add([at(slide, 1)])
    good = at(slide, 2)
    bad = {
        "unknown slide": good.derived(slide="elsewhere"),
        "taken id": known,
        "same id twice": good,
        "not a number": at(slide, float("nan")),
        "not JSON": good.derived(properties={"when": datetime.now(UTC)}),
    }[change]
    with pytest.raises((ProjectError, TypeError)):
        project.annotations.add([good, bad])
    assert project.annotations.query() == [known]
    assert project.history.undo_text == "draw"
    assert len(project.history.entries()) == 2


def test_unknown_records_cannot_be_changed_or_deleted(project: Project, slide: SlideRecord) -> None:
    (known,) = project.annotations.add([at(slide, 1)])
    for act in (
        lambda: project.annotations.update([known.changed(class_id=2), at(slide, 5)]),
        lambda: project.annotations.delete([known.id, UUID(int=1)]),
    ):
        with pytest.raises(ProjectError, match="not in the project"):
            act()
    assert project.annotations.query() == [known]


def test_nothing_to_do_is_no_action(project: Project, slide: SlideRecord) -> None:
    before = project.history.entries()
    assert project.annotations.add([]) == ()
    project.annotations.update([])
    project.annotations.delete([])
    assert project.history.entries() == before


def test_changes_name_slide_and_records(
    project: Project, slide: SlideRecord, tmp_path: Path, make_slide: Callable[..., Path]
) -> None:
    other = project.add_slide(make_slide(tmp_path / "b.svs", 500, 500))
    heard: list[Change] = []
    project.changed.connect(heard.append)
    a, b = project.annotations.add([at(slide, 1), at(other, 1)], action="import")
    moved = b.changed(slide=slide.id)
    project.annotations.update([moved])
    assert heard == [
        Change("annotations", "import", slide.id, (a.id,)),
        Change("annotations", "import", other.id, (b.id,)),
        Change("annotations", "change", slide.id, (b.id,)),
        Change("annotations", "change", other.id, (b.id,)),
    ]


def test_a_viewport_reads_the_index_not_the_table(project: Project, slide: SlideRecord) -> None:
    source, values = project.annotations._selection(slide.id, {"bounds": (0, 0, 9, 9), "classes": [1]})
    with project._database.reading() as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN SELECT a.id {source}", values)]
    assert "VIRTUAL TABLE INDEX 2:" in plan[0]
    assert plan[1].startswith("SEARCH a USING INTEGER PRIMARY KEY")
