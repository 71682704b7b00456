"""Older databases become newer ones, all or nothing; newer ones are refused."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from napari_histoanno.annotation import Annotation, Granularity, Point
from napari_histoanno.project import Project, ProjectError, SlideRecord, schema

if TYPE_CHECKING:
    from collections.abc import Callable

NEXT = (*schema.MIGRATIONS, "ALTER TABLE slides ADD COLUMN stain TEXT NOT NULL DEFAULT 'H&E';")
BROKEN = (*schema.MIGRATIONS, "ALTER TABLE slides ADD COLUMN stain TEXT; ALTER TABLE nowhere ADD COLUMN x;")


@pytest.fixture
def record(project: Project, slide: SlideRecord) -> Annotation:
    """The one annotation of a project that was closed."""
    (record,) = project.annotations.add([Annotation(slide.id, Granularity.POINT, Point(1, 2), 1)])
    project.close()
    return record


def version(project: Project, name: str = "project.db") -> int:
    with closing(sqlite3.connect(project.path / name)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def test_an_older_project_is_brought_up_to_date_beside_a_copy(
    project: Project, record: Annotation, reopen: Callable[[], Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = len(schema.MIGRATIONS)
    monkeypatch.setattr(schema, "MIGRATIONS", NEXT)
    with reopen() as again:
        assert again.annotations.query() == [record]
        assert again.history.undo_text == "draw"
    assert version(project) == old + 1
    assert version(project, f"project.db.v{old}") == old


def test_an_upgrade_that_fails_changes_nothing(
    project: Project, record: Annotation, reopen: Callable[[], Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", BROKEN)
        with pytest.raises(ProjectError, match="nowhere"):
            reopen()
    assert version(project) == len(schema.MIGRATIONS)
    with reopen() as again:
        assert again.annotations.query() == [record]


def test_a_newer_project_is_refused_untouched(
    project: Project, record: Annotation, reopen: Callable[[], Project]
) -> None:
    path = project.path / "project.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {len(schema.MIGRATIONS) + 1}")
    before = path.read_bytes()
    for read_only in (False, True):
        with pytest.raises(ProjectError, match=r"newer program.*Update napari-histoanno"):
            Project.open(project.path, read_only=read_only)
    assert path.read_bytes() == before


def test_an_older_project_cannot_be_read_without_upgrading(
    project: Project, record: Annotation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "MIGRATIONS", NEXT)
    with pytest.raises(ProjectError, match="Open the project for writing once"):
        Project.open(project.path, read_only=True)


def test_the_database_names_its_program(project: Project) -> None:
    header = (project.path / "project.db").read_bytes()[:100]
    assert header[68:72] == b"HANO"
