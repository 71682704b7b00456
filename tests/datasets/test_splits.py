"""Splits keep patients together, respect what a person decided, and share rare classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_histoanno.datasets import DatasetError, HeldOut, SplitBy, SplitSpec, split_slides
from napari_histoanno.datasets.holdout import hold_out_blocks, hold_out_groups
from napari_histoanno.datasets.splits import apportion, deal


@dataclass(frozen=True)
class Record:
    id: str
    patient: str = ""
    split: str = ""

    @property
    def name(self) -> str:
        return self.id


PATIENTS = st.lists(st.sampled_from(["", "p", "q", "r", "s"]), min_size=1, max_size=12)


@given(PATIENTS, st.integers(0, 5))
def test_a_patient_is_never_in_two_splits(patients: list[str], seed: int) -> None:
    slides = [Record(f"s{number}", patient) for number, patient in enumerate(patients)]
    splits = split_slides(slides, SplitSpec(), seed=seed)
    assert set(splits) == {slide.id for slide in slides}
    for patient in {slide.patient for slide in slides} - {""}:
        assert len({splits[slide.id] for slide in slides if slide.patient == patient}) == 1


@given(st.integers(3, 30), st.integers(0, 5))
def test_every_split_gets_something_while_there_is_enough(number: int, seed: int) -> None:
    splits = split_slides([Record(f"s{i}") for i in range(number)], SplitSpec(), seed=seed)
    counts = {name: list(splits.values()).count(name) for name in ("train", "validation", "test")}
    assert min(counts.values()) >= 1
    assert counts == apportion(number, SplitSpec().fractions)


def test_equal_seeds_give_equal_splits_in_any_order_of_slides() -> None:
    slides = [Record(f"s{i}") for i in range(12)]
    first = split_slides(slides, SplitSpec(), seed=3)
    assert split_slides(slides[::-1], SplitSpec(), seed=3) == first
    assert any(split_slides(slides, SplitSpec(), seed=seed) != first for seed in range(4, 9))


def test_what_a_person_decided_stays() -> None:
    slides = [Record("a", split="test"), Record("b"), Record("c"), Record("d", split="train")]
    splits = split_slides(slides, SplitSpec())
    assert (splits["a"], splits["d"]) == ("test", "train")
    assert set(splits.values()) == {"train", "validation", "test"}


def test_a_decision_for_one_slide_holds_for_its_patient() -> None:
    splits = split_slides([Record("a", "p", "test"), Record("b", "p"), Record("c")], SplitSpec())
    assert splits["b"] == "test"


def test_a_patient_put_into_two_splits_is_refused() -> None:
    with pytest.raises(DatasetError, match=r"'p' would be in both train and test.*same split"):
        split_slides([Record("a", "p", "train"), Record("b", "p", "test")], SplitSpec())


def test_splitting_by_patient_needs_patients() -> None:
    with pytest.raises(DatasetError, match="'a' has no patient"):
        split_slides([Record("a"), Record("b", "p")], SplitSpec(by=SplitBy.PATIENT))


def test_shares_add_up() -> None:
    with pytest.raises(ValueError, match="add up to 1"):
        SplitSpec(train=0.9, validation=0.2, test=0.1)


@given(st.integers(0, 20))
def test_the_rarest_class_is_in_every_split(seed: int) -> None:
    groups = {f"g{i}": np.array([100, 50, 10 if i < 3 else 0]) for i in range(20)}
    assigned = deal(groups, SplitSpec().fractions, seed=seed)
    assert {assigned[f"g{i}"] for i in range(3)} == {"train", "validation", "test"}


@given(st.integers(0, 200), st.floats(0.05, 0.9))
def test_whole_numbers_add_up(number: int, share: float) -> None:
    whole = apportion(number, {"train": share, "validation": (1 - share) / 2, "test": (1 - share) / 2})
    assert sum(whole.values()) == number
    assert min(whole.values()) >= (1 if number >= 3 else 0)


def cells_of(rows: int, columns: int) -> np.ndarray:
    return np.array([(0, row, column) for row in range(rows) for column in range(columns)])


def held_in_cells(blocks: np.ndarray) -> HeldOut:
    """Blocks as boxes of a slide "s" whose cells are one level-0 pixel."""
    return HeldOut(boxes={"s": tuple((x0, y0, x1, y1) for _, y0, x0, y1, x1 in blocks.tolist())})


@given(st.integers(0, 10))
def test_blocks_leave_most_of_every_class_to_training(seed: int) -> None:
    cells = cells_of(24, 24)
    counts = np.stack([np.full(len(cells), 50), (cells[:, 2] >= 20) * 30], axis=1)
    held = held_in_cells(hold_out_blocks(cells, counts, share=0.2, seed=seed))
    corners = cells[:, :0:-1].astype(float)
    inside, lost = held.inside("s", corners, 1.0), held.lost("s", corners, 1.0)
    assert (lost | ~inside).all()  # what is held out is lost to training
    assert (counts[~lost].sum(0) >= counts.sum(0) / 2).all()
    assert (counts[inside].sum(0) > 0).all()


def test_the_gap_around_a_block_is_one_patch() -> None:
    cells = cells_of(24, 24)
    held = held_in_cells(hold_out_blocks(cells, np.full((len(cells), 1), 5), share=0.1, seed=0))
    corners = cells[:, :0:-1].astype(float)
    inside, free = corners[held.inside("s", corners, 1.0)], corners[~held.lost("s", corners, 1.0)]
    assert np.abs(inside[:, None] - free[None]).max(-1).min() == 2


def test_what_is_held_out_says_so_at_any_patch_size() -> None:
    held = HeldOut(slides=("t",), boxes={"s": ((100, 100, 300, 200),)})
    corners = np.array([[100, 100], [200, 150], [0, 100], [20, 100], [351, 100]], float)
    assert held.inside("s", corners, 100).tolist() == [True, False, False, False, False]
    assert held.inside("s", corners, 50).tolist() == [True, True, False, False, False]
    assert held.lost("s", corners, 50).tolist() == [True, True, False, True, False]
    assert held.lost("t", corners, 50).all()
    assert not held.lost("u", corners, 50).any()
    assert HeldOut.model_validate_json(held.model_dump_json()) == held


def test_too_little_to_spare_holds_nothing_out() -> None:
    assert not len(hold_out_blocks(cells_of(1, 2), np.array([[5, 0], [0, 5]]), share=0.2, seed=0))


def test_the_only_slide_of_a_class_is_trained_on() -> None:
    counts = {"a": np.array([100, 0]), "b": np.array([100, 40]), "c": np.array([100, 0])}
    for seed in range(5):
        chosen = hold_out_groups(counts, share=0.2, seed=seed)
        assert len(chosen) == 1
        assert "b" not in chosen


def test_nothing_is_held_out_of_one_slide_or_of_those_meant_for_training() -> None:
    assert not hold_out_groups({"a": np.array([5, 5])}, share=0.2, seed=0)
    three = {name: np.array([5, 5]) for name in "abc"}
    assert hold_out_groups(three, share=0.2, seed=0, keep={"a", "c"}) == {"b"}


def test_of_two_patients_both_are_learnt_from() -> None:
    assert not hold_out_groups({"a": np.array([5, 5]), "b": np.array([50, 50])}, share=0.2, seed=0)
