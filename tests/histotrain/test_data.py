"""Patch sets keep what they are given, in memory and on disk, and are drawn from evenly."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from histotrain import PatchSet, PatchSource, TrainingError
from histotrain.data import label_lookup


def full_set(count: int = 5) -> PatchSet:
    rng = np.random.default_rng(1)
    return PatchSet(
        images=rng.integers(0, 256, (count, 8, 12, 3), dtype=np.uint8),
        labels=rng.integers(0, 3, (count, 8, 12), dtype=np.uint8),
        patch_classes=rng.integers(0, 3, count, dtype=np.uint8),
        instances=rng.integers(0, 9, (count, 8, 12), dtype=np.int32),
        slides=np.array([f"slide {i % 2}" for i in range(count)], dtype=object),
        annotators=np.array(["Ada"] * count, dtype=object),
        kinds=np.array(["pixel"] * count, dtype=object),
        mpp=np.linspace(0.25, 1, count),
        weights=np.arange(1.0, count + 1),
        classes=("a", "b"),
        scheme={"classes": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]},
        lineage={"project": "x"},
    )


def tree_hash(folder: Path) -> str:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    digest = hashlib.sha256()
    for file in files:
        digest.update(str(file.relative_to(folder)).encode() + file.read_bytes())
    return digest.hexdigest()


def test_disk_round_trip_is_exact_and_repeats_to_the_byte(tmp_path: Path) -> None:
    patches = full_set()
    patches.save(tmp_path / "a.zarr")
    patches.save(tmp_path / "b.zarr")
    assert PatchSet.load(tmp_path / "a.zarr").equals(patches)
    assert tree_hash(tmp_path / "a.zarr") == tree_hash(tmp_path / "b.zarr")


def test_saving_replaces(tmp_path: Path) -> None:
    full_set(5).save(tmp_path / "a.zarr")
    full_set(2).save(tmp_path / "a.zarr")
    assert len(PatchSet.load(tmp_path / "a.zarr")) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr"]


def test_what_is_absent_stays_absent(tmp_path: Path) -> None:
    bare = PatchSet(np.zeros((2, 4, 4, 3), np.uint8), classes=("a",), class_ids=(9,))
    bare.save(tmp_path / "a.zarr")
    back = PatchSet.load(tmp_path / "a.zarr")
    assert back.labels is None
    assert back.class_ids == (9,)
    assert np.isnan(back.mpp).all()


def test_loading_something_else(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="cannot read patches"):
        PatchSet.load(tmp_path / "nowhere.zarr")


def test_select_and_join_are_inverse() -> None:
    patches = full_set()
    again = PatchSet.concat([patches[:2], patches.select([2, 3, 4])])
    assert again.equals(patches)
    assert patches.select(patches.slides == "slide 1").slides.tolist() == ["slide 1", "slide 1"]


def test_joining_different_classes_is_refused() -> None:
    other = PatchSet(np.zeros((1, 8, 12, 3), np.uint8), classes=("c",))
    with pytest.raises(TrainingError, match="different classes"):
        PatchSet.concat([full_set(), other])


@pytest.mark.parametrize(
    "wrong",
    [
        {"labels": np.zeros((5, 8, 13), np.uint8)},
        {"labels": np.zeros((5, 8, 12), np.int64)},
        {"patch_classes": np.zeros(4, np.uint8)},
        {"weights": np.ones(3)},
        {"class_ids": (1, 1), "classes": ("a", "b")},
        {"class_ids": (0,), "classes": ("a",)},
    ],
    ids=["label shape", "label type", "patch classes", "weights", "double id", "id 0"],
)
def test_misfits_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(TrainingError):
        PatchSet(np.zeros((5, 8, 12, 3), np.uint8), **wrong)  # type: ignore[arg-type]


def test_rare_class_is_drawn_as_often_as_the_common_one() -> None:
    labels = np.full((100, 4, 4), 1, np.uint8)
    labels[17] = 2
    images = np.zeros((100, 4, 4, 3), np.uint8)
    source = PatchSet(images, labels, classes=("common", "rare")).source()
    assert isinstance(source, PatchSource)
    _, drawn = source.batch(100, np.random.default_rng(0))
    assert (drawn[:, 0, 0] == 2).sum() == 50


def test_unlabelled_patches_and_weight_0_are_never_drawn() -> None:
    labels = np.repeat(np.array([0, 1, 2], np.uint8), 16).reshape(3, 4, 4)
    images = np.zeros((3, 4, 4, 3), np.uint8)
    images[:] = np.arange(3, dtype=np.uint8)[:, None, None, None]
    weighted = PatchSet(images, labels, weights=np.array([1.0, 0.0, 1.0]), classes=("a", "b"))
    drawn, _ = weighted.source(balanced=False).batch(200, np.random.default_rng(0))
    assert set(drawn[:, 0, 0, 0].tolist()) == {2}


def test_sampling_repeats_with_the_generator() -> None:
    source = full_set().source()
    first, again = (source.batch(6, np.random.default_rng(3))[0] for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_nothing_to_learn() -> None:
    with pytest.raises(TrainingError, match="nothing to learn"):
        PatchSet(np.zeros((1, 4, 4, 3), np.uint8), np.zeros((1, 4, 4), np.uint8), classes=("a",)).source()


@given(st.lists(st.integers(1, 255), unique=True, min_size=1, max_size=30))
def test_lookup_is_the_inverse_of_the_ids(ids: list[int]) -> None:
    table = label_lookup(ids)
    assert [int(table[i]) for i in ids] == list(range(1, len(ids) + 1))
    assert np.count_nonzero(table) == len(ids)
