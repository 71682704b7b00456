"""What a user does through the session lands in the project, is told to whoever listens, and can be taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from napari_histoanno.annotation import Area, Box, Ellipse, Granularity, LabelScheme, Point, Source
from napari_histoanno.annotation.tools import Tool
from napari_histoanno.project import Project, ProjectError
from napari_histoanno.session import Session, SessionError
from tests.jobs.tissue import STROMA, TUMOUR, write_picture

if TYPE_CHECKING:
    from pathlib import Path


def test_without_a_project_actions_are_refused_with_what_to_do() -> None:
    session = Session()
    with pytest.raises(SessionError, match="Create or open"):
        session.undo()
    with pytest.raises(SessionError, match="Create or open"):
        session.add_annotation(Point(1, 1), Granularity.POINT)
    session.close()


def test_a_refusal_is_told_where_somebody_listens_and_raised_where_nobody_does(tmp_path: Path) -> None:
    session = Session()
    with pytest.raises(ProjectError):
        session.open_project(tmp_path)
    told: list[str] = []
    session.error.connect(told.append)
    assert session.open_project(tmp_path) is None
    assert "no project" in told[0]


def test_a_session_begins_where_the_last_one_stopped(tmp_path: Path) -> None:
    session = Session()
    session.create_project(tmp_path / "p", scheme=LabelScheme.from_names(["a"]), annotator="Ada")
    write_picture(tmp_path / "one.png")
    added = session.add_slides([tmp_path / "one.png"])
    assert added is not None
    assert session.slide_id == added[0].id
    session.close()
    session = Session()
    session.open_project(tmp_path / "p")
    assert (session.slide_id, session.class_id, session.annotator) == (added[0].id, 1, "Ada")
    session.close()


def test_slides_that_can_be_read_are_added_even_if_another_cannot(session: Session, tmp_path: Path) -> None:
    told: list[str] = []
    session.error.connect(told.append)
    (tmp_path / "junk.svs").write_bytes(b"junk")
    (tmp_path / "more").mkdir()
    other = write_picture(tmp_path / "more" / "other.png")
    other.write_bytes(other.read_bytes() + b"different")
    before = len(session.project.slides) if session.project else 0
    session.add_slides([tmp_path / "junk.svs", other])
    assert session.project is not None
    assert len(session.project.slides) == before + 1
    assert "junk.svs" in told[0]


def test_choices_are_told_once(session: Session) -> None:
    heard: list[object] = []
    for signal in (session.class_changed, session.tool_changed, session.brush_changed):
        signal.connect(heard.append)
    for _ in range(2):
        session.set_class(STROMA)
        session.set_tool("brush")
        session.set_brush_size(12)
    assert heard == [STROMA, Tool.BRUSH, 12.0]


def test_drawing_uses_the_current_class_slide_and_annotator_and_can_be_undone(session: Session) -> None:
    session.set_class(STROMA)
    changes = []
    session.annotations_changed.connect(changes.append)
    drawn = session.add_annotation(Ellipse(50, 50, 8, 5), Granularity.ELLIPSE)
    assert (drawn.class_id, drawn.slide, drawn.annotator) == (STROMA, session.slide_id, "Ada")
    assert session.counts()["ellipses"] == 1
    assert session.undo() is not None
    assert "ellipses" not in session.counts()
    session.redo()
    assert session.counts()["ellipses"] == 1
    assert len(changes) == 3


def test_what_was_held_back_is_stored_before_an_undo(session: Session) -> None:
    order: list[str] = []
    session.about_to_read.connect(lambda: order.append("stored"))
    session.annotations_changed.connect(lambda _: order.append("undone"))
    session.undo()
    assert order == ["stored", "undone"]


def test_a_class_is_needed_to_draw_but_not_for_a_done_region(session: Session) -> None:
    session.set_class(0)
    with pytest.raises(SessionError, match="No class"):
        session.add_annotation(Point(1, 1), Granularity.POINT)
    assert session.add_annotation(Box(0, 0, 9, 9), Granularity.EXHAUSTIVE).class_id == 0


def test_a_slide_label_replaces_the_one_before(session: Session) -> None:
    session.label_slide(class_id=TUMOUR)
    session.label_slide(class_id=STROMA)
    assert session.project is not None
    (label,) = session.project.annotations.query(granularities=[Granularity.IMAGE])
    assert label.class_id == STROMA
    session.undo()
    (label,) = session.project.annotations.query(granularities=[Granularity.IMAGE])
    assert label.class_id == TUMOUR


def test_a_class_that_is_gone_is_let_go(session: Session) -> None:
    assert session.project is not None
    session.set_class(STROMA)
    session.set_scheme(session.project.scheme.without(STROMA))
    assert session.class_id == 0


def test_conversion_derives_records_in_one_action(session: Session) -> None:
    ellipse = session.add_annotation(Ellipse(50, 50, 8, 5), Granularity.ELLIPSE)
    session.set_selection([ellipse.id])
    made = session.convert(None, Granularity.BOX)
    assert made is not None
    assert [(record.parent, record.source) for record in made] == [(ellipse.id, Source.CONVERTED)]
    session.undo()
    assert "boxes" not in session.counts()
    with pytest.raises(SessionError, match="nothing to convert"):
        session.convert(Granularity.POINT, Granularity.BOX)


def test_annotations_go_out_and_come_back_with_their_classes(session: Session, tmp_path: Path) -> None:
    assert session.project is not None
    before = session.project.annotations.query(session.slide_id)
    assert session.export_annotations(tmp_path / "out.geojson") == len(before)
    other = Session()
    other.create_project(tmp_path / "other", scheme=LabelScheme.from_names(["Stroma"]), annotator="Grace")
    other.add_slides([tmp_path / "slide.png"])
    added = other.import_annotations(tmp_path / "out.geojson")
    assert added is not None
    assert other.project is not None
    names = [other.project.scheme[record.class_id].name for record in added]
    assert sorted(names) == sorted(session.project.scheme[record.class_id].name for record in before)
    assert all(isinstance(record.geometry, Area | Box) and record.source is Source.IMPORTED for record in added)
    other.undo()
    assert other.project.annotations.count() == 0
    assert "Tumour" not in other.project.scheme
    other.close()


def test_what_came_from_here_and_was_changed_elsewhere_is_changed_here(session: Session, tmp_path: Path) -> None:
    assert session.project is not None
    store, out = session.project.annotations, tmp_path / "out.geojson"
    ellipse = session.add_annotation(Ellipse(50, 50, 8, 5, 0.3), Granularity.ELLIPSE)
    before = {record.id: record for record in store.query()}
    session.export_annotations(out)
    assert session.import_annotations(out) == ()
    assert {record.id: record for record in store.query()} == before
    session.update_annotations([ellipse.changed(geometry=Ellipse(90, 90, 8, 5))])
    (changed,) = session.import_annotations(out) or ()
    assert (changed.id, changed.geometry, store.count()) == (ellipse.id, ellipse.geometry, len(before))
    session.undo()
    assert store.get(ellipse.id).geometry == Ellipse(90, 90, 8, 5)


def test_what_is_on_another_slide_is_added_with_ids_of_its_own(session: Session, tmp_path: Path) -> None:
    assert session.project is not None
    store, out = session.project.annotations, tmp_path / "out.geojson"
    ellipse = session.add_annotation(Ellipse(50, 50, 8, 5), Granularity.ELLIPSE)
    session.convert([ellipse.id], Granularity.BOX)
    session.export_annotations(out)
    before = store.count()
    (tmp_path / "more").mkdir()
    other = write_picture(tmp_path / "more" / "other.png")
    other.write_bytes(other.read_bytes() + b"different")
    session.add_slides([other])
    added = session.import_annotations(out) or ()
    assert len(added) == before
    assert store.count() == 2 * before
    (box,) = [record for record in added if record.granularity is Granularity.BOX]
    (again,) = [record for record in added if record.granularity is Granularity.ELLIPSE]
    assert box.parent == again.id != ellipse.id


def test_a_project_in_use_elsewhere_is_read_only_and_says_so(session: Session) -> None:
    assert session.project is not None
    other = Session()
    other.open_project(session.project.path, read_only=True)
    assert isinstance(other.project, Project)
    with pytest.raises(SessionError, match="reading only"):
        other.add_annotation(Point(1, 1), Granularity.POINT)
    other.close()
