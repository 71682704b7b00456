"""A mask equals a plain array at every level, whatever was painted, undone and redone."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from napari_histoanno.project import Change, LabelRaster, Project, ProjectError, SlideRecord
from napari_histoanno.project.chunks import CHUNK

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HEIGHT, WIDTH = 701, 2311
ROWS, COLUMNS = -(-HEIGHT // CHUNK), -(-WIDTH // CHUNK)


def halved(mask: np.ndarray) -> np.ndarray:
    """Highest of each 2 x 2 block, odd edges padded with nothing."""
    padded = np.pad(mask, [(0, size % 2) for size in mask.shape])
    return padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2).max((1, 3))


def assert_equal(raster: LabelRaster, mask: np.ndarray) -> None:
    for level in range(raster.levels):
        assert mask.shape == raster.level_shape(level)
        np.testing.assert_array_equal(raster.read(level, 0, mask.shape[0], 0, mask.shape[1]), mask)
        mask = halved(mask)


@pytest.fixture
def small(project: Project, tmp_path: Path, make_slide: Callable[..., Path]) -> LabelRaster:
    return project.raster(project.add_slide(make_slide(tmp_path / "s.svs", WIDTH, HEIGHT)).id)


@pytest.fixture
def large(project: Project, slide: SlideRecord) -> LabelRaster:
    return project.raster(slide.id)


class Painting(RuleBasedStateMachine):
    """Any sequence of actions on a mask beside the same on a plain array."""

    project_of: Callable[[], Project]

    @initialize()
    def begin(self) -> None:
        self.project = type(self).project_of()
        self.slide = self.project.slides[0].id
        self.mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        self.done: list[np.ndarray] = []
        self.undone: list[np.ndarray] = []

    @property
    def raster(self) -> LabelRaster:
        return self.project.raster(self.slide)

    def remember(self, before: np.ndarray) -> None:
        if not np.array_equal(before, self.mask):
            self.done.append(before)
            self.undone.clear()

    @rule(
        y=st.integers(-40, HEIGHT),
        x=st.integers(-40, WIDTH),
        shape=st.tuples(st.integers(1, 700), st.integers(1, 700)),
        value=st.integers(0, 3),
        seed=st.none() | st.integers(0, 9),
    )
    def write(self, y: int, x: int, shape: tuple[int, int], value: int, seed: int | None) -> None:
        before = self.mask.copy()
        block = np.full(shape, value, np.uint8)
        where = np.ones(shape, bool) if seed is None else np.random.default_rng(seed).random(shape) < 0.3
        self.raster.write(y, x, block, mask=None if seed is None else where)
        y0, x0 = max(y, 0), max(x, 0)
        target = self.mask[y0 : max(y + shape[0], 0), x0 : max(x + shape[1], 0)]
        part = np.s_[y0 - y : y0 - y + target.shape[0], x0 - x : x0 - x + target.shape[1]]
        target[where[part]] = block[part][where[part]]
        self.remember(before)

    @rule(
        cy=st.integers(0, ROWS - 1),
        cx=st.integers(0, COLUMNS - 1),
        rows=st.integers(1, ROWS),
        columns=st.integers(1, COLUMNS),
        value=st.integers(0, 3),
    )
    def fill(self, cy: int, cx: int, rows: int, columns: int, value: int) -> None:
        before = self.mask.copy()
        with self.raster.edit() as edit:
            for y in range(cy, min(cy + rows, ROWS)):
                for x in range(cx, min(cx + columns, COLUMNS)):
                    edit.fill(y, x, value)
        self.mask[cy * CHUNK : (cy + rows) * CHUNK, cx * CHUNK : (cx + columns) * CHUNK] = value
        self.remember(before)

    @precondition(lambda self: self.done)
    @rule()
    def undo(self) -> None:
        assert self.project.history.undo() is not None
        self.undone.append(self.mask)
        self.mask = self.done.pop()

    @precondition(lambda self: self.undone)
    @rule()
    def redo(self) -> None:
        assert self.project.history.redo() is not None
        self.done.append(self.mask)
        self.mask = self.undone.pop()

    @rule(value=st.integers(1, 3))
    def fail(self, value: int) -> None:
        with suppress(KeyError), self.project.transaction("group"):
            self.raster.write(5, 5, np.full((600, 600), value, np.uint8))
            assert self.raster.read(0, 5, 6, 5, 6) == value
            self.raster.counts()
            raise KeyError

    @rule(values=st.lists(st.integers(0, 3), min_size=1, max_size=3))
    def group(self, values: list[int]) -> None:
        before, touched = self.mask.copy(), False
        with self.project.transaction("group"):
            for value in values:
                self.raster.write(300, 300, np.full((300, 300), value, np.uint8))
                touched |= bool((self.mask[300:600, 300:600] != value).any())
                self.mask[300:600, 300:600] = value
        if touched:  # going back and forth inside a group is an action all the same
            self.done.append(before)
            self.undone.clear()

    @rule()
    def reopen(self) -> None:
        path = self.project.path
        self.project.close()
        self.project = Project.open(path)

    @invariant()
    def equals_the_array(self) -> None:
        if hasattr(self, "project"):
            assert_equal(self.raster, self.mask)
            counts = np.bincount(self.mask.ravel(), minlength=4)
            assert self.raster.counts() == {i: int(counts[i]) for i in (1, 2, 3) if counts[i]}
            assert self.project.history.can_undo == bool(self.done)
            assert self.project.history.can_redo == bool(self.undone)

    @invariant()
    def bounds_are_tight(self) -> None:
        if hasattr(self, "project"):
            ys, xs = np.flatnonzero(self.mask.any(1)), np.flatnonzero(self.mask.any(0))
            expected = (xs[0], ys[0], xs[-1] + 1, ys[-1] + 1) if len(ys) else None
            assert self.raster.bounds_of_labels() == expected
            places = [(y, x) for y in range(ROWS) for x in range(COLUMNS)]
            held = {(y, x) for y, x in places if self.mask[y * CHUNK :, x * CHUNK :][:CHUNK, :CHUNK].any()}
            assert self.raster.keys() == held

    def teardown(self) -> None:
        if hasattr(self, "project"):
            self.project.close()


def test_a_mask_equals_an_array(tmp_path: Path, make_slide: Callable[..., Path], opener: type) -> None:
    made = iter(range(10**6))
    path = make_slide(tmp_path / "s.svs", WIDTH, HEIGHT)

    def fresh() -> Project:
        project = Project.create(tmp_path / f"p{next(made)}", annotator="ann", opener=opener)
        project.add_slide(path)
        with project._journal.transaction("forget") as transaction:  # the slide is not part of the game
            transaction.connection.execute("UPDATE history SET state = 'note'")
        return project

    machine = type("FreshPainting", (Painting,), {"project_of": staticmethod(fresh)})
    limits = settings(
        max_examples=12, stateful_step_count=10, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    run_state_machine_as_test(machine, settings=limits)


def test_levels_end_at_1024_pixels(large: LabelRaster, small: LabelRaster) -> None:
    assert (large.levels, large.level_shape(7)) == (8, (625, 782))
    assert (small.levels, small.level_shape(2)) == (3, (176, 578))


def test_a_thin_stroke_is_visible_at_every_level(large: LabelRaster) -> None:
    large.write(40_001, 60_003, np.ones((1, 1), np.uint8))
    for level in range(large.levels):
        y, x = 40_001 >> level, 60_003 >> level
        assert large.read(level, y - 1, y + 2, x - 1, x + 2).tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]


def test_reading_reaches_beyond_the_slide(small: LabelRaster) -> None:
    small.write(0, 0, np.full((HEIGHT, WIDTH), 2, np.uint8))
    region = small.read(0, -10, HEIGHT + 10, -20, WIDTH + 20)
    assert region.sum() == 2 * HEIGHT * WIDTH
    assert (region[10:-10, 20:-20] == 2).all()
    assert small.read(0, 5, 2, 5, 9).shape == (0, 4)
    with pytest.raises(IndexError, match="level 3"):
        small.read(3, 0, 1, 0, 1)


def test_large_fills_are_cheap(large: LabelRaster, project: Project) -> None:
    with large.edit("fill") as edit:
        for cy in range(100):
            for cx in range(100):
                edit.fill(cy, cx, 3)
    assert large.counts() == {3: 100 * 100 * CHUNK * CHUNK}
    with project._database.reading() as connection:
        assert connection.execute("SELECT count(*), sum(length(data)) FROM chunk_versions").fetchone() == (1, 1)


def test_an_edit_sees_itself_and_others_do_not(small: LabelRaster) -> None:
    with small.edit() as edit:
        edit.chunk(0, 0)[0, :3] = 1
        edit.fill(0, 1, 2)
        assert edit.read(0, 1, 0, 4).tolist() == [[1, 1, 1, 0]]
        assert edit.read(-1, 1, 511, 513).tolist() == [[0, 0], [0, 2]]
        assert not small.read(0, 0, 1, 0, 4).any()
    assert edit.changed == {(0, 0), (0, 1)}
    assert small.read(0, 0, 1, 0, 4).tolist() == [[1, 1, 1, 0]]


def test_an_edit_that_changes_nothing_is_no_action(small: LabelRaster, project: Project) -> None:
    before = project.history.entries()
    with small.edit() as edit:
        edit.chunk(0, 0)
        edit.fill(1, 1, 0)
    assert edit.changed == frozenset()
    assert project.history.entries() == before


def test_arrays_of_an_edit_cannot_change_the_mask_later(small: LabelRaster) -> None:
    with small.edit() as edit:
        kept = edit.chunk(0, 0)
        kept[0, 0] = 1
    kept[...] = 9
    assert small.counts() == {1: 1}


def test_an_edit_with_an_exception_writes_nothing(small: LabelRaster) -> None:
    with suppress(KeyError), small.edit() as edit:
        edit.fill(0, 0, 1)
        raise KeyError
    assert small.counts() == {}
    small.write(0, 0, np.ones((1, 1), np.uint8))


def test_a_part_of_a_group_that_fails_leaves_the_mask_of_before(small: LabelRaster, project: Project) -> None:
    with project.transaction("group"):
        small.write(0, 0, np.ones((1, 1), np.uint8))
        with suppress(KeyError), project.transaction("part"):
            small.write(0, 0, np.full((9, 9), 2, np.uint8))
            assert small.counts() == {2: 81}
            raise KeyError
        assert small.read(0, 0, 2, 0, 2).tolist() == [[1, 0], [0, 0]]
    assert small.read(0, 0, 2, 0, 2).tolist() == [[1, 0], [0, 0]]
    assert small.counts() == {1: 1}


def test_counts_know_nothing_of_what_was_rolled_back(small: LabelRaster, project: Project) -> None:
    with suppress(KeyError), project.transaction("group"):
        small.write(0, 0, np.full((9, 9), 2, np.uint8))
        assert small.counts() == {2: 81}
        raise KeyError
    small.write(0, 0, np.ones((5, 5), np.uint8))
    assert small.counts() == {1: 25}


def test_a_mask_is_edited_by_one_edit_at_a_time(small: LabelRaster, project: Project) -> None:
    small.write(0, 0, np.ones((1, 1), np.uint8))
    with small.edit() as edit:
        with pytest.raises(ProjectError, match="being edited"):
            small.write(0, 0, np.ones((1, 1), np.uint8))
        with pytest.raises(ProjectError, match="being edited"):
            project.history.undo()
        edit.fill(0, 0, 1)
    assert small.counts() == {1: CHUNK * CHUNK}


@pytest.mark.parametrize("key", [(-1, 0), (0, -1), (ROWS, 0), (0, COLUMNS)])
def test_chunks_outside_the_slide_are_refused(small: LabelRaster, key: tuple[int, int]) -> None:
    with small.edit() as edit:
        with pytest.raises(IndexError, match="outside"):
            edit.chunk(*key)
        with pytest.raises(IndexError, match="outside"):
            edit.fill(*key, 1)


def test_class_ids_are_checked(small: LabelRaster) -> None:
    with small.edit() as edit, pytest.raises(ValueError, match="256"):
        edit.fill(0, 0, 256)


def test_each_annotator_has_a_mask(project: Project, slide: SlideRecord) -> None:
    ones = np.ones((2, 2), np.uint8)
    assert project.raster_annotators(slide.id) == ()
    project.raster(slide.id).write(0, 0, ones)
    project.raster(slide.id, "bob").write(9, 9, ones * 2)
    assert project.raster(slide.id).counts() == {1: 4}
    assert project.raster(slide.id, "bob").counts() == {2: 4}
    assert project.raster(slide.id, "ann") is project.raster(slide.id)
    assert project.raster_annotators(slide.id) == ("ann", "bob")
    project.history.undo()
    assert project.raster_annotators(slide.id) == ("ann",)


def test_changes_name_mask_and_chunks(project: Project, slide: SlideRecord) -> None:
    heard: list[Change] = []
    project.changed.connect(heard.append)
    project.raster(slide.id).write(511, 0, np.ones((2, 2), np.uint8), action="brush")
    expected = Change("raster", "brush", slide.id, annotator="ann", chunks=frozenset({(0, 0), (1, 0)}))
    assert heard == [expected]
    assert project.history.undo() == expected
    assert heard == [expected, expected]


def test_more_than_the_cache_holds_is_read_from_the_database(
    large: LabelRaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    large._cache.limit = 3 * CHUNK * CHUNK
    noise = np.random.default_rng(0).integers(0, 4, (4 * CHUNK, 4 * CHUNK), dtype=np.uint8)
    large.write(100, 100, noise)
    for _ in range(2):
        np.testing.assert_array_equal(large.read(0, 100, 100 + 4 * CHUNK, 100, 100 + 4 * CHUNK), noise)
    assert large._cache._bytes <= large._cache.limit
