"""Slides are known by their content: moved ones are found, others are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from napari_histoanno.annotation import Annotation, Granularity, Point
from napari_histoanno.project import Change, Project, ProjectError, SlideRecord
from napari_histoanno.slides import SlideError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_a_record_says_what_the_slide_is(project: Project, slide: SlideRecord) -> None:
    assert (slide.name, slide.width, slide.height, slide.mpp) == ("a", 100_000, 80_000, 0.25)
    assert (slide.path, slide.patient, slide.split) == ("../a.svs", "", "")
    assert slide.size == project.slide_path(slide.id).stat().st_size
    assert project.slides == (slide,)
    assert project.find_slide(slide.id) == project.find_slide("A") == slide


def test_a_real_picture_is_a_slide(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    with Project.create(tmp_path / "p") as project:
        record = project.add_slide(tmp_path / "picture.png")
        assert (record.width, record.height) == (80, 60)
        with project.open_slide(record.id) as slide:
            np.testing.assert_array_equal(slide.read_region((0, 0), 0, (80, 60)), pixels)
        with pytest.raises(SlideError):
            project.add_slide(tmp_path / "nothing.png")
        assert project.slides == (record,)


def test_the_same_content_is_one_slide(project: Project, slide: SlideRecord, tmp_path: Path) -> None:
    copy = tmp_path / "copy.svs"
    copy.write_bytes((tmp_path / "a.svs").read_bytes())
    assert project.add_slide(copy) == slide
    assert project.slides == (slide,)


def test_names_are_made_unique(
    project: Project, slide: SlideRecord, tmp_path: Path, make_slide: Callable[..., Path]
) -> None:
    (tmp_path / "more").mkdir()
    second = project.add_slide(make_slide(tmp_path / "more" / "A.svs", 10, 10))
    third = project.add_slide(make_slide(tmp_path / "more" / "b.svs", 20, 20), name="a", patient="P")
    assert [record.name for record in project.slides] == ["a", "A (2)", "a (3)"]
    assert third.patient == "P"
    with pytest.raises(ProjectError, match="another slide has that name"):
        project.update_slide(second.id, name="a")
    assert project.update_slide(second.id, name="B").name == "B"
    assert project.update_slide(second.id, name="b").name == "b"


def test_an_unknown_slide_is_named_with_those_there_are(project: Project, slide: SlideRecord) -> None:
    with pytest.raises(ProjectError, match=r"no slide “b” .*its slides are a"):
        project.find_slide("b")


def test_removing_hides_everything_on_it_and_can_be_undone(project: Project, slide: SlideRecord) -> None:
    (record,) = project.annotations.add([Annotation(slide.id, Granularity.POINT, Point(1, 1), 1)])
    project.remove_slide(slide.id)
    assert project.slides == ()
    assert project.annotations.query() == []
    assert project.history.undo() == Change("slides", "remove slide", slide.id)
    assert project.slides == (slide,)
    assert project.annotations.query() == [record]


def test_adding_a_removed_slide_brings_it_back(project: Project, slide: SlideRecord, tmp_path: Path) -> None:
    (record,) = project.annotations.add([Annotation(slide.id, Granularity.POINT, Point(1, 1), 1)])
    project.remove_slide(slide.id)
    assert project.add_slide(tmp_path / "a.svs") == slide
    assert project.annotations.query(slide.id) == [record]


def test_updates_can_be_undone(project: Project, slide: SlideRecord) -> None:
    changed = project.update_slide(slide.id, patient="P1", split="train", mpp=0.5)
    assert (changed.patient, changed.split, changed.mpp) == ("P1", "train", 0.5)
    project.history.undo()
    assert project.find_slide(slide.id) == slide
    project.history.redo()
    assert project.find_slide(slide.id) == changed


@pytest.mark.parametrize(
    "changes", [{"width": 5}, {"split": "some"}, {"mpp": 0.0}, {"mpp": float("nan")}, {"name": " "}]
)
def test_impossible_updates_are_refused(project: Project, slide: SlideRecord, changes: dict[str, Any]) -> None:
    with pytest.raises(ProjectError):
        project.update_slide(slide.id, **changes)
    assert project.find_slide(slide.id) == slide


def test_a_missing_slide_is_named_and_can_be_located(project: Project, slide: SlideRecord, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    moved = (tmp_path / "a.svs").rename(tmp_path / "elsewhere" / "z.svs")
    with pytest.raises(ProjectError, match=r"there is no file .*a\.svs.*“locate…”"):
        project.open_slide(slide.id)
    located = project.locate_slide(slide.id, moved)
    assert (located.id, located.path) == (slide.id, "../elsewhere/z.svs")
    assert project.open_slide(slide.id).path == moved


def test_another_slide_is_refused(
    project: Project, slide: SlideRecord, tmp_path: Path, make_slide: Callable[..., Path]
) -> None:
    other = make_slide(tmp_path / "other.svs", 10, 10)
    with pytest.raises(ProjectError, match="is not the slide “a”"):
        project.locate_slide(slide.id, other)
    other.rename(tmp_path / "a.svs")
    with pytest.raises(ProjectError, match="is not the slide “a”"):
        project.open_slide(slide.id)
    assert project.find_slide(slide.id) == slide


@pytest.mark.parametrize("place", ["project", "project/slides", "."])
def test_a_slide_in_or_beside_the_project_is_found(
    project: Project, tmp_path: Path, make_slide: Callable[..., Path], place: str
) -> None:
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "project" / "slides").mkdir()
    file = make_slide(tmp_path / "far" / "away" / "x.svs", 10, 10)
    record = project.add_slide(file)
    moved = file.rename(tmp_path / place / "x.svs")
    assert project.open_slide(record.id).path == moved
    assert project.slide_path(record.id) == moved


def test_a_project_may_move_with_its_slides_or_without(
    project: Project, slide: SlideRecord, tmp_path: Path, opener: Any
) -> None:
    project.close()
    (tmp_path / "new" / "deep").mkdir(parents=True)
    project.path.rename(tmp_path / "new" / "deep" / "p")
    with Project.open(tmp_path / "new" / "deep" / "p", opener=opener) as alone:
        assert alone.open_slide(slide.id).path == tmp_path / "a.svs"
    (tmp_path / "a.svs").rename(tmp_path / "new" / "deep" / "a.svs")
    with Project.open(tmp_path / "new" / "deep" / "p", opener=opener) as together:
        assert together.open_slide(slide.id).path == tmp_path / "new" / "deep" / "a.svs"
