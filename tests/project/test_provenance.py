"""What a model said stays a model's until a person says something there, whatever is painted, undone and redone."""

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

from napari_histoanno.project import (
    Change,
    LabelRaster,
    Project,
    ProjectError,
    SlideRecord,
    is_predicted_key,
    predicted_key,
)
from napari_histoanno.project.chunks import CHUNK

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HEIGHT, WIDTH = 701, 1211
ROWS, COLUMNS = -(-HEIGHT // CHUNK), -(-WIDTH // CHUNK)


def take_over(raster: LabelRaster, y: int, x: int, block: np.ndarray) -> None:
    with raster.edit("take over", predicted=True) as edit:
        edit.write(y, x, block)


class Correcting(RuleBasedStateMachine):
    """A mask and what is predicted in it beside two plain arrays."""

    project_of: Callable[[], Project]

    @initialize()
    def begin(self) -> None:
        self.project = type(self).project_of()
        self.slide = self.project.slides[0].id
        self.mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        self.predicted = np.zeros((HEIGHT, WIDTH), bool)
        self.done: list[tuple[np.ndarray, np.ndarray]] = []
        self.undone: list[tuple[np.ndarray, np.ndarray]] = []

    @property
    def raster(self) -> LabelRaster:
        return self.project.raster(self.slide)

    def say(self, where: np.ndarray, value: np.ndarray | int, *, predicted: bool) -> None:
        """The model: what a prediction changes is predicted, what a person says is not."""
        before = self.mask.copy(), self.predicted.copy()
        value = np.broadcast_to(np.uint8(value), self.mask.shape)
        if predicted:
            where = where & (self.mask != value)
        self.predicted[where] = predicted & (value[where] > 0)
        self.mask[where] = value[where]
        if not (np.array_equal(before[0], self.mask) and np.array_equal(before[1], self.predicted)):
            self.done.append(before)
            self.undone.clear()

    @rule(
        y=st.integers(-40, HEIGHT),
        x=st.integers(-40, WIDTH),
        shape=st.tuples(st.integers(1, 700), st.integers(1, 700)),
        value=st.integers(0, 2),
        seed=st.none() | st.integers(0, 9),
        predicted=st.booleans(),
    )
    def write(self, y: int, x: int, shape: tuple[int, int], value: int, seed: int | None, predicted: bool) -> None:
        inside = np.ones(shape, bool) if seed is None else np.random.default_rng(seed).random(shape) < 0.3
        with self.raster.edit(predicted=predicted) as edit:
            edit.write(y, x, np.full(shape, value, np.uint8), mask=None if seed is None else inside)
        where = np.zeros((HEIGHT + 900, WIDTH + 900), bool)
        where[y + 40 : y + 40 + shape[0], x + 40 : x + 40 + shape[1]] = inside
        self.say(where[40 : 40 + HEIGHT, 40 : 40 + WIDTH], value, predicted=predicted)

    @rule(cy=st.integers(0, ROWS - 1), cx=st.integers(0, COLUMNS - 1), value=st.integers(0, 2), predicted=st.booleans())
    def fill(self, cy: int, cx: int, value: int, predicted: bool) -> None:
        with self.raster.edit(predicted=predicted) as edit:
            edit.fill(cy, cx, value)
        where = np.zeros_like(self.predicted)
        where[cy * CHUNK : (cy + 1) * CHUNK, cx * CHUNK : (cx + 1) * CHUNK] = True
        self.say(where, value, predicted=predicted)

    @rule(value=st.integers(0, 2), predicted=st.booleans())
    def write_through_an_array(self, value: int, predicted: bool) -> None:
        with self.raster.edit(predicted=predicted) as edit:
            edit.chunk(0, 0)[100:300] = value
        where = np.zeros_like(self.predicted)
        where[100:300, :CHUNK] = True
        self.say(where & (self.mask != value), value, predicted=predicted)

    @rule(rows=st.tuples(st.integers(0, 600), st.integers(1, 600)))
    def accept(self, rows: tuple[int, int]) -> None:
        where = np.zeros_like(self.predicted)
        where[rows[0] : rows[0] + rows[1]] = True
        marks = self.project.predicted_raster(self.slide)
        marks.write(rows[0], 0, np.zeros((rows[1], WIDTH), np.uint8))
        self.say(where & self.predicted, self.mask, predicted=False)

    @precondition(lambda self: self.done)
    @rule()
    def undo(self) -> None:
        assert self.project.history.undo() is not None
        self.undone.append((self.mask, self.predicted))
        self.mask, self.predicted = self.done.pop()

    @precondition(lambda self: self.undone)
    @rule()
    def redo(self) -> None:
        assert self.project.history.redo() is not None
        self.done.append((self.mask, self.predicted))
        self.mask, self.predicted = self.undone.pop()

    @rule()
    def fail(self) -> None:
        with suppress(KeyError), self.project.transaction("group"):
            take_over(self.raster, 5, 5, np.full((600, 600), 1, np.uint8))
            self.raster.write(5, 5, np.full((300, 600), 1, np.uint8))
            self.raster.confirmed.counts()
            raise KeyError

    @rule()
    def reopen(self) -> None:
        path = self.project.path
        self.project.close()
        self.project = Project.open(path)

    @invariant()
    def equals_the_arrays(self) -> None:
        if not hasattr(self, "project"):
            return
        raster = self.raster
        said, predicted = np.where(self.predicted, 0, self.mask), np.where(self.predicted, self.mask, 0)
        for part, expected in ((raster.confirmed, said), (raster.unconfirmed, predicted)):
            np.testing.assert_array_equal(part.read(0, HEIGHT, 0, WIDTH), expected)
            counts = np.bincount(expected.ravel(), minlength=3)
            assert part.counts() == {i: int(counts[i]) for i in (1, 2) if counts[i]}
            places = [(y, x) for y in range(ROWS) for x in range(COLUMNS)]
            assert part.keys() == {
                (y, x) for y, x in places if expected[y * CHUNK :, x * CHUNK :][:CHUNK, :CHUNK].any()
            }
        np.testing.assert_array_equal(raster.read(0, 0, HEIGHT, 0, WIDTH), self.mask)
        marks = self.project.predicted_raster(self.slide)
        np.testing.assert_array_equal(marks.read(0, 0, HEIGHT, 0, WIDTH), predicted)
        assert self.project.history.can_undo == bool(self.done)
        assert self.project.history.can_redo == bool(self.undone)

    def teardown(self) -> None:
        if hasattr(self, "project"):
            self.project.close()


def test_predicted_pixels_equal_an_array(tmp_path: Path, make_slide: Callable[..., Path], opener: type) -> None:
    made = iter(range(10**6))
    path = make_slide(tmp_path / "s.svs", WIDTH, HEIGHT)

    def fresh() -> Project:
        project = Project.create(tmp_path / f"p{next(made)}", annotator="ann", opener=opener)
        project.add_slide(path)
        with project._journal.transaction("forget") as transaction:  # the slide is not part of the game
            transaction.connection.execute("UPDATE history SET state = 'note'")
        return project

    machine = type("FreshCorrecting", (Correcting,), {"project_of": staticmethod(fresh)})
    limits = settings(
        max_examples=15, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    run_state_machine_as_test(machine, settings=limits)


@pytest.fixture
def raster(project: Project, slide: SlideRecord) -> LabelRaster:
    return project.raster(slide.id)


def test_painting_the_same_class_confirms_and_undo_takes_it_back(project: Project, raster: LabelRaster) -> None:
    take_over(raster, 0, 0, np.ones((4, 4), np.uint8))
    assert raster.unconfirmed.counts() == {1: 16}
    raster.write(0, 0, np.ones((2, 4), np.uint8))
    assert (raster.confirmed.counts(), raster.unconfirmed.counts()) == ({1: 8}, {1: 8})
    assert raster.counts() == {1: 16}
    project.history.undo()
    assert (raster.confirmed.counts(), raster.unconfirmed.counts()) == ({}, {1: 16})
    project.history.undo()
    assert raster.counts() == {}
    assert not project.predicted_raster(raster.slide).keys()


def test_another_class_and_back_is_the_persons(raster: LabelRaster) -> None:
    take_over(raster, 0, 0, np.ones((4, 4), np.uint8))
    raster.write(0, 0, np.full((4, 4), 2, np.uint8))
    raster.write(0, 0, np.ones((4, 4), np.uint8))
    assert raster.unconfirmed.counts() == {}


def test_what_a_person_painted_is_not_made_a_models_by_agreeing(raster: LabelRaster) -> None:
    raster.write(0, 0, np.ones((2, 2), np.uint8))
    take_over(raster, 0, 0, np.ones((4, 4), np.uint8))
    assert (raster.confirmed.counts(), raster.unconfirmed.counts()) == ({1: 4}, {1: 12})


def test_predictions_are_nobodys_mask(project: Project, slide: SlideRecord, raster: LabelRaster) -> None:
    take_over(raster, 0, 0, np.ones((4, 4), np.uint8))
    assert project.raster_annotators(slide.id) == ("ann",)
    assert project.annotators == ("ann",)
    assert is_predicted_key(predicted_key("ann"))
    assert not is_predicted_key("predicted")
    assert project.predicted_raster(slide.id).annotator == predicted_key("ann")
    with pytest.raises(ProjectError, match="kept for"):
        project.set_annotator(predicted_key("ann"))


def test_taking_over_tells_of_the_mask_first(project: Project, raster: LabelRaster) -> None:
    heard: list[Change] = []
    project.changed.connect(heard.append)
    take_over(raster, 0, 600, np.ones((4, 4), np.uint8))
    project.history.undo()
    assert [change.annotator for change in heard] == ["ann", predicted_key("ann")] * 2
    assert {change.chunks for change in heard} == {frozenset({(0, 1)})}


def test_another_process_sees_both_change(folder: Path, project: Project, raster: LabelRaster, opener: type) -> None:
    with Project.open(folder, read_only=True, opener=opener) as other:
        theirs = other.raster(raster.slide)
        assert not parts_of(theirs)[1].any()
        take_over(raster, 0, 0, np.ones((4, 4), np.uint8))
        raster.write(0, 0, np.ones((2, 4), np.uint8))
        said, predicted = parts_of(theirs)
        assert (said.sum(), predicted.sum()) == (8, 8)
        assert theirs.unconfirmed.counts() == {1: 8}


def parts_of(raster: LabelRaster) -> tuple[np.ndarray, np.ndarray]:
    """A corner of what is a person's, and of what is a model's."""
    return raster.confirmed.read(0, 8, 0, 8), raster.unconfirmed.read(0, 8, 0, 8)


def test_reading_reaches_beyond_the_slide(raster: LabelRaster) -> None:
    take_over(raster, 0, 0, np.ones((4, 4), np.uint8))
    assert raster.unconfirmed.read(-2, 6, -3, 2).tolist()[2:6] == [[0, 0, 0, 1, 1]] * 4
    assert raster.unconfirmed.read(5, 2, 0, 3).shape == (0, 3)


def test_a_prediction_of_a_whole_slide_costs_little_and_is_told_without_reading_it(raster: LabelRaster) -> None:
    with raster.edit(predicted=True) as edit:
        for cy in range(100):
            for cx in range(100):
                edit.fill(cy, cx, 3)
    assert raster.confirmed.keys() == set()
    assert raster.unconfirmed.counts() == {3: 100 * 100 * CHUNK * CHUNK}
