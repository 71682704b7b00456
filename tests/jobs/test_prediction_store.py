"""A prediction store gives back what was written, wherever blocks begin, and its coarse levels follow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_histoanno.annotation import LabelClass
from napari_histoanno.jobs import PredictionError, PredictionStore
from napari_histoanno.jobs.prediction_store import PredictionInfo, level_shapes

if TYPE_CHECKING:
    from pathlib import Path

CLASSES = (LabelClass(2, "a", (1, 2, 3)), LabelClass(7, "b", (4, 5, 6)))


def make_store(path: Path, size: tuple[int, int], *, keep: bool = True) -> PredictionStore:
    info = PredictionInfo(size=size, downsample=2.5, mpp=1.25, classes=CLASSES, slide="s", run="r")
    return PredictionStore.create(path, info, keep_probabilities=keep)


def random_block(rng: np.random.Generator, h: int, w: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    first = rng.integers(0, 256, (h, w), dtype=np.uint8)
    planes = np.stack([first, 255 - first])
    return np.array([2, 7], np.uint8)[planes.argmax(0)], planes.max(0), planes


def test_what_was_written_is_read_in_another_place(tmp_path: Path) -> None:
    store = make_store(tmp_path / "p.zarr", (1300, 900))
    classes, confidence, planes = random_block(np.random.default_rng(0), 300, 211)
    bounds = store.write(501, 77, classes, confidence, planes)
    assert bounds == (501 * 2.5, 77 * 2.5, (501 + 211) * 2.5, (77 + 300) * 2.5)
    again = PredictionStore.open(tmp_path / "p.zarr")
    assert again.info == store.info
    np.testing.assert_array_equal(again.levels[0][77:377, 501:712], classes)
    np.testing.assert_array_equal(again.probability[0][:, 77:377, 501:712], planes)
    assert not np.asarray(again.levels[0][:77]).any()
    read, corner = again.read_classes(bounds)
    assert corner == (501, 77)
    np.testing.assert_array_equal(read, classes)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 99), cut=st.integers(1, 1099), keep=st.booleans())
def test_coarse_levels_do_not_depend_on_where_blocks_meet(
    tmp_path_factory: pytest.TempPathFactory, seed: int, cut: int, keep: bool
) -> None:
    folder = tmp_path_factory.mktemp("stores")
    whole, parts = (make_store(folder / name, (1100, 40), keep=keep) for name in ("whole", "parts"))
    classes, confidence, planes = random_block(np.random.default_rng(seed), 40, 1100)
    whole.write(0, 0, classes, confidence, planes)
    parts.write(0, 0, classes[:, :cut], confidence[:, :cut], planes[..., :cut])
    parts.write(cut, 0, classes[:, cut:], confidence[:, cut:], planes[..., cut:])
    assert len(whole.levels) == 2
    np.testing.assert_array_equal(whole.levels[1][:], parts.levels[1][:])
    np.testing.assert_array_equal(whole.confidence[1][:], parts.confidence[1][:])


def test_a_coarse_pixel_is_the_mean_of_what_was_predicted(tmp_path: Path) -> None:
    store = make_store(tmp_path / "p", (1026, 2))
    planes = np.array([[[200, 100], [100, 100]], [[55, 155], [155, 155]]], np.uint8)
    classes = np.array([[2, 0], [7, 7]], np.uint8)
    store.write(0, 0, classes, planes.max(0), planes)
    assert store.probability[1][:, 0, 0].tolist() == [round((200 + 100 + 100) / 3), round((55 + 155 + 155) / 3)]
    assert store.levels[1][0, 0] == 2
    assert store.levels[1][0, 1] == 0


def test_levels_end_at_a_thumbnail() -> None:
    shapes = level_shapes((100_000, 3))
    assert shapes[0] == (3, 100_000)
    assert max(shapes[-1]) <= 1024 < max(shapes[-2])


def test_what_is_no_prediction_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PredictionError, match="predict the slide again"):
        PredictionStore.open(tmp_path / "absent")
