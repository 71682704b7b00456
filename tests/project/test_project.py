"""Making, opening and closing projects; the scheme, annotators, settings and grouped actions."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_histoanno.annotation import Annotation, Granularity, LabelScheme, Point
from napari_histoanno.project import Change, Project, ProjectError, SlideRecord

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def dot(slide: SlideRecord, x: float = 1.0) -> Annotation:
    return Annotation(slide.id, Granularity.POINT, Point(x, 2.0), 1, "ann")


def test_a_new_project_has_its_folders_and_a_background_class(project: Project) -> None:
    assert {child.name for child in project.path.iterdir() if child.is_dir()} == {"predictions", "models", "exports"}
    assert [c.name for c in project.scheme] == ["tumour", "stroma", "Background"]
    assert project.scheme.background == project.scheme["Background"]
    assert not project.read_only
    assert project.lock_owner is None


def test_a_scheme_with_a_background_is_kept_as_it_is(tmp_path: Path) -> None:
    scheme = LabelScheme.from_names(["glass", "tissue"], background="glass")
    with Project.create(tmp_path / "p", scheme=scheme) as project:
        assert project.scheme == scheme


def test_a_class_called_background_becomes_the_background(tmp_path: Path) -> None:
    with Project.create(tmp_path / "p", scheme=LabelScheme.from_names(["background"])) as project:
        assert [(c.name, c.background) for c in project.scheme] == [("background", True)]


def test_everything_is_there_again_after_reopening(
    project: Project, slide: SlideRecord, reopen: Callable[[], Project]
) -> None:
    (record,) = project.annotations.add([dot(slide)])
    project.set_setting("view", {"zoom": 2})
    project.close()
    with reopen() as again:
        assert again.slides == (slide,)
        assert again.annotations.query() == [record]
        assert again.get_setting("view") == {"zoom": 2}
        assert again.annotator == "ann"
        assert [c.name for c in again.scheme] == ["tumour", "stroma", "Background"]


def test_creating_twice_is_refused(project: Project) -> None:
    with pytest.raises(ProjectError, match="holds a project already"):
        Project.create(project.path)


def test_creating_in_a_folder_with_files_keeps_them(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    Project.create(tmp_path).close()
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_creating_where_a_file_stands_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ProjectError, match="no project could be made"):
        Project.create(tmp_path / "file" / "p")


def test_opening_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match=r"no project in .*Create one"):
        Project.open(tmp_path)


def test_a_project_opens_by_its_database_too(project: Project) -> None:
    project.close()
    with Project.open(project.path / "project.db") as again:
        assert again.path == project.path


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "project.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (x)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(ProjectError, match="no project of this program"):
        Project.open(tmp_path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"not a database at all" * 100])
def test_junk_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "project.db").write_bytes(content)
    with pytest.raises(ProjectError, match=r"Choose the folder that holds the project\.db"):
        Project.open(tmp_path)


def test_a_damaged_database_is_reported_as_damaged(
    project: Project, slide: SlideRecord, reopen: Callable[[], Project]
) -> None:
    project.annotations.add([dot(slide, float(i)) for i in range(2000)])
    project.close()
    path = project.path / "project.db"
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(ProjectError, match="damaged"), reopen() as again:
        again.annotations.query()


def test_a_closed_project_says_so(project: Project, slide: SlideRecord) -> None:
    project.close()
    project.close()
    with pytest.raises(ProjectError, match="is closed"):
        project.annotations.query()
    with pytest.raises(ProjectError, match="is closed"):
        project.annotations.add([dot(slide)])


def test_changing_the_scheme_can_be_undone(project: Project) -> None:
    before = project.scheme
    after = before.with_class("fat")
    project.set_scheme(after)
    assert project.scheme == after
    assert project.history.undo() == Change("scheme", "change classes")
    assert project.scheme == before
    project.history.redo()
    assert project.scheme == after


def test_setting_the_same_scheme_is_no_action(project: Project) -> None:
    project.set_scheme(project.scheme)
    assert not project.history.can_undo


def test_annotators_are_everyone_who_was_here(project: Project, slide: SlideRecord) -> None:
    project.set_annotator("bob")
    project.annotations.add([dot(slide).changed(annotator="model 1")])
    project.raster(slide.id, "carol").write(0, 0, np.ones((2, 2), np.uint8))
    assert project.annotator == "bob"
    assert set(project.annotators) == {"ann", "bob", "model 1", "carol"}


def test_settings_and_annotators_do_not_disturb_undo_and_redo(project: Project, slide: SlideRecord) -> None:
    project.annotations.add([dot(slide)])
    project.history.undo()
    project.set_setting("a", 1)
    project.set_annotator("bob")
    assert project.history.redo_text == "draw"
    assert project.get_setting("none", 7) == 7


def test_a_transaction_is_one_entry_and_one_undo(project: Project, slide: SlideRecord) -> None:
    scheme = project.scheme
    with project.transaction("import"):
        project.set_scheme(scheme.with_class("fat"))
        project.set_scheme(scheme.with_class("vessel"))
        (record,) = project.annotations.add([dot(slide)])
        moved = record.changed(geometry=Point(5.0, 5.0))
        project.annotations.update([moved])
        (passing,) = project.annotations.add([dot(slide, 9.0)])
        project.annotations.delete([passing.id])
    assert project.history.undo_text == "import"
    assert project.annotations.query() == [moved]
    project.history.undo()
    assert project.annotations.query() == []
    assert project.scheme == scheme
    project.history.redo()
    assert project.annotations.query() == [moved]
    assert "vessel" in project.scheme


def test_a_failed_transaction_leaves_nothing(project: Project, slide: SlideRecord) -> None:
    before = project.history.entries()

    def change_my_mind() -> None:
        with project.transaction("import"):
            project.annotations.add([dot(slide)])
            assert project.annotations.count() == 1
            raise RuntimeError("changed my mind")

    with pytest.raises(RuntimeError, match="changed my mind"):
        change_my_mind()
    assert project.annotations.count() == 0
    assert project.history.entries() == before


def test_a_failed_part_that_is_caught_leaves_the_rest(project: Project, slide: SlideRecord) -> None:
    heard: list[Change] = []
    project.changed.connect(heard.append)
    with project.transaction("import"):
        (first,) = project.annotations.add([dot(slide)])
        with pytest.raises(ProjectError, match="in use"):
            project.annotations.add([dot(slide, 3.0), first])
    assert project.annotations.query() == [first]
    assert [change.annotations for change in heard] == [(first.id,)]


def test_undo_inside_a_transaction_is_refused(project: Project, slide: SlideRecord) -> None:
    project.annotations.add([dot(slide)])
    with project.transaction("x"), pytest.raises(ProjectError, match="inside a transaction"):
        project.history.undo()
    assert project.annotations.count() == 1


def test_listeners_hear_of_commits_only_and_may_act_themselves(project: Project, slide: SlideRecord) -> None:
    heard: list[tuple[str, int]] = []

    def listen(change: Change) -> None:
        heard.append((change.action, project.annotations.count()))
        if change.action == "draw":
            project.annotations.add([dot(slide, 7.0)], action="echo")

    project.changed.connect(listen)
    with project.transaction("draw"):
        project.annotations.add([dot(slide)])
        assert heard == []
    assert heard == [("draw", 1), ("echo", 2)]
