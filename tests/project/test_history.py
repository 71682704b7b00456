"""One timeline that survives restarts, an audit trail that loses no line, and a bound on its size."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_histoanno.annotation import Annotation, Granularity, Point
from napari_histoanno.project.chunks import CHUNK

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_histoanno.project import Project, SlideRecord


def dot(slide: SlideRecord, x: float = 1.0) -> Annotation:
    return Annotation(slide.id, Granularity.POINT, Point(x, 2.0), 1, "ann")


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4, (CHUNK, CHUNK), dtype=np.uint8)


def test_all_kinds_of_actions_share_one_timeline(project: Project, slide: SlideRecord) -> None:
    scheme, raster = project.scheme, project.raster(slide.id)
    project.annotations.add([dot(slide)])
    raster.write(0, 0, np.ones((2, 2), np.uint8))
    project.set_scheme(scheme.with_class("fat"))
    project.update_slide(slide.id, patient="P1")
    undone = []
    while project.history.can_undo:
        undone.append(project.history.undo_text)
        project.history.undo()
    assert undone == ["change slide", "change classes", "paint", "draw", "add slide"]
    assert project.slides == ()
    assert project.history.undo() is None
    while project.history.can_redo:
        project.history.redo()
    assert project.history.redo() is None
    assert project.find_slide("a").patient == "P1"
    assert "fat" in project.scheme
    assert raster.counts() == {1: 4}
    assert project.annotations.count() == 1


def test_undo_and_redo_go_on_after_a_restart(
    project: Project, slide: SlideRecord, reopen: Callable[[], Project]
) -> None:
    project.annotations.add([dot(slide)])
    project.raster(slide.id).write(0, 0, np.ones((2, 2), np.uint8))
    project.history.undo()
    project.close()
    with reopen() as again:
        assert (again.history.undo_text, again.history.redo_text) == ("draw", "paint")
        again.history.redo()
        assert again.raster(slide.id).counts() == {1: 4}
        again.history.undo()
        again.history.undo()
        assert again.annotations.query() == []


def test_a_new_action_ends_redo_but_stays_in_the_trail(project: Project, slide: SlideRecord) -> None:
    project.annotations.add([dot(slide)], action="first")
    project.history.undo()
    project.set_annotator("bob")
    project.annotations.add([dot(slide)], action="second")
    assert not project.history.can_redo
    second, first, _ = project.history.entries()
    assert (first.action, first.undone, first.reversible, first.annotator) == ("first", True, False, "ann")
    assert (second.action, second.undone, second.reversible, second.annotator) == ("second", False, True, "bob")
    assert first.id < second.id
    assert timedelta() <= datetime.now(UTC) - first.when < timedelta(minutes=5)
    project.history.undo()
    assert project.history.undo_text == "add slide"


def test_entries_are_limited_on_request(project: Project, slide: SlideRecord) -> None:
    for i in range(5):
        project.annotations.add([dot(slide)], action=f"draw {i}")
    assert [entry.action for entry in project.history.entries(2)] == ["draw 4", "draw 3"]
    assert len(project.history.entries(None)) == 6


@pytest.fixture
def pruned(project: Project, slide: SlideRecord, caplog: pytest.LogCaptureFixture) -> Project:
    """A project that was painted ten times with room for about four."""
    project.history.limit = 400_000  # a chunk of noise takes some 80 kB
    raster = project.raster(slide.id)
    with caplog.at_level(logging.WARNING):
        for seed in range(10):
            raster.write(0, 0, noise(seed), action=f"paint {seed}")
    assert "can no longer be undone" in caplog.text
    return project


def stored_bytes(project: Project) -> int:
    with project._database.reading() as connection:
        return int(connection.execute("SELECT total(length(data)) FROM chunk_versions").fetchone()[0])


def test_pruning_bounds_the_size_and_keeps_every_line(pruned: Project, reopen: Callable[[], Project]) -> None:
    assert stored_bytes(pruned) <= pruned.history.limit + 90_000  # with what the oldest undo restores
    trail = pruned.history.entries(None)
    painted = [entry for entry in trail if entry.action.startswith("paint")]
    assert [entry.action for entry in painted] == [f"paint {seed}" for seed in reversed(range(10))]
    assert [e.action for e in trail if e.action.startswith("history pruned")]
    kept = [entry for entry in painted if entry.reversible]
    assert 2 <= len(kept) <= 5
    assert kept == painted[: len(kept)]
    pruned.close()
    with reopen() as again:
        assert again.history.limit == 400_000


def test_what_is_left_after_pruning_can_be_undone_and_no_more(pruned: Project, slide: SlideRecord) -> None:
    raster = pruned.raster(slide.id)
    steps = 0
    while pruned.history.can_undo:
        pruned.history.undo()
        steps += 1
        np.testing.assert_array_equal(raster.read(0, 0, CHUNK, 0, CHUNK), noise(9 - steps))
    assert 2 <= steps <= 5
    assert pruned.history.undo() is None
    while pruned.history.can_redo:
        pruned.history.redo()
    np.testing.assert_array_equal(raster.read(0, 0, CHUNK, 0, CHUNK), noise(9))


def test_the_last_action_can_be_undone_whatever_its_size(project: Project, slide: SlideRecord) -> None:
    project.history.limit = 0
    raster = project.raster(slide.id)
    for seed in range(3):
        raster.write(0, 0, noise(seed))
    project.history.undo()
    np.testing.assert_array_equal(raster.read(0, 0, CHUNK, 0, CHUNK), noise(1))
    assert not project.history.can_undo


def test_pruning_keeps_chunks_that_masks_still_show(project: Project, slide: SlideRecord) -> None:
    raster = project.raster(slide.id)
    raster.write(0, 5 * CHUNK, noise(99))
    project.history.limit = 200_000
    for seed in range(6):
        raster.write(0, 0, noise(seed))
    np.testing.assert_array_equal(raster.read(0, 0, CHUNK, 5 * CHUNK, 6 * CHUNK), noise(99))
    with project._database.reading() as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def test_repainting_in_a_group_keeps_only_what_undo_needs(project: Project, slide: SlideRecord) -> None:
    raster = project.raster(slide.id)
    raster.write(0, 0, noise(0))
    with project.transaction("group"):
        for seed in range(1, 6):
            raster.write(0, 0, noise(seed))
    with project._database.reading() as connection:
        assert connection.execute("SELECT count(*) FROM chunk_versions").fetchone()[0] == 2
    project.history.undo()
    np.testing.assert_array_equal(raster.read(0, 0, CHUNK, 0, CHUNK), noise(0))
