"""Masks and labels: which tiles teach what, how many are used, and what counts as the paper's finding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from histotrain.data import PatchSet
from napari_histoanno.studies import Cell, Result, StudyOptions, seg_from_cls, study_named
from napari_histoanno.studies.scenes import REGION_CLASSES
from napari_histoanno.studies.seg_from_cls import MODES, SHARES, Material, Scale, SegFromCls, chosen, sorted_by_use

if TYPE_CHECKING:
    from pathlib import Path


def tiles(*labels: np.ndarray) -> PatchSet:
    masks = np.stack(labels).astype(np.uint8)
    names = {"classes": tuple(REGION_CLASSES.values()), "class_ids": tuple(REGION_CLASSES)}
    return PatchSet(images=np.zeros((*masks.shape, 3), np.uint8), labels=masks, **names)


def stripes(*parts: tuple[int, int]) -> np.ndarray:
    """Mask 10 px high with as many columns of each class."""
    return np.repeat(np.repeat([c for c, _ in parts], [n for _, n in parts])[None], 10, 0)


def test_tiles_are_sorted_by_the_papers_rule() -> None:
    found = tiles(stripes((3, 9), (1, 1)), stripes((3, 8), (1, 2)), stripes((3, 8), (1, 1), (2, 1)), stripes((6, 10)))
    classes, segments = sorted_by_use(found)
    assert classes.tolist() == [3, 0, 0, 6]
    assert segments.tolist() == [False, True, False, False]


def material(masks: int, labels: int) -> Material:
    part = tiles(*[stripes((3, 5), (1, 5))] * max(masks, labels))
    known = {"classes": part.classes, "class_ids": part.class_ids}
    none = np.zeros(masks, np.uint8)
    first = PatchSet(images=part.images[:masks], labels=part.labels[:masks], patch_classes=none, **known)  # type: ignore[index]
    second = PatchSet(
        images=part.images[:labels],
        labels=np.zeros((labels, 10, 10), np.uint8),
        patch_classes=np.full(labels, 3, np.uint8),
        **known,
    )
    return Material(first, second, part, part)


@pytest.mark.parametrize(
    ("mode", "share", "masks", "labels"),
    [("S", 10, 4, 0), ("S+C", 10, 4, 180), ("S+C*", 10, 4, 200), ("S+C", 0, 0, 200), ("S+C", 1, 1, 198)],
)
def test_settings_use_their_shares(mode: str, share: float, masks: int, labels: int) -> None:
    used = chosen(material(40, 200), mode, share)
    assert used is not None
    assert used.labels is not None
    assert used.patch_classes is not None
    assert (used.labels.any((1, 2)).sum(), (used.patch_classes > 0).sum()) == (masks, labels)
    if masks and labels:
        assert used.weights[:masks].sum() == pytest.approx(used.weights[masks:].sum())


def test_smaller_shares_are_part_of_larger_ones() -> None:
    assert chosen(material(40, 200), "S", 0) is None
    whole = material(40, 200)
    few, more = chosen(whole, "S", 5), chosen(whole, "S", 20)
    assert few is not None
    assert more is not None
    np.testing.assert_array_equal(more.images[: len(few)], few.images)


@pytest.mark.parametrize(("mode", "share"), [("S+C", 10.0), ("S", 0.0)])
def test_a_cell_trains_and_measures(
    mode: str, share: float, slide_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seg_from_cls, "QUICK", Scale((1, 1, 1), 512, 2, 32, 10))
    study = SegFromCls()
    data = study.prepare(StudyOptions(device="cpu", cache=slide_cache))
    metrics = study.run_cell(Cell.of(mode=mode, s=share), data)
    assert 0 <= metrics["macro_f1"] <= 1
    assert 0 <= metrics["micro_f1"] <= 1


def results(values: dict[str, float], spread: dict[str, float]) -> list[Result]:
    return [
        Result(f"{mode}{share}{seed}", Cell.of(mode=mode, s=share).seeded(seed),
               dict.fromkeys(("macro_f1", "micro_f1"), value + spread[mode] * (seed - 1)), 1, 1, "cpu", "", "")
        for mode, value in values.items() for share in (2.5, 10.0) for seed in range(3)
    ]  # fmt: skip


def test_the_finding_asks_for_a_gain_and_for_less_spread() -> None:
    finding = SegFromCls().finding
    steady, wild = {"S": 0.05, "S+C": 0.01}, {"S": 0.01, "S+C": 0.05}
    assert finding(results({"S": 0.4, "S+C": 0.6}, steady)).holds is True
    assert finding(results({"S": 0.4, "S+C": 0.6}, wild)).holds is False
    assert finding(results({"S": 0.4, "S+C": 0.42}, steady)).holds is False
    assert finding([]).holds is None


def test_the_full_grid_is_the_papers_without_what_would_be_run_twice() -> None:
    study = study_named("seg-from-cls")
    cells = study.cells(StudyOptions(mode="full"))
    assert len(cells) == len(SHARES) * len(MODES) - 1
    assert len(study.paper) == 2 * len(MODES) * len(SHARES)
    shown = study.plot(results({"S": 0.4, "S+C": 0.6}, {"S": 0.1, "S+C": 0.1})).get_axes()
    assert [axes.get_ylabel() for axes in shown] == ["macro F1", "micro F1"]
