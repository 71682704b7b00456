"""What every slide reader must do, as tests that each reader's test class inherits.

A subclass provides the fixture ``case`` (class scope): the path of a slide, what its native levels hold, and how far
lossy compression may be off. ``tolerance`` 0 means to the exact pixel.
"""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_histoanno.slides import Slide, SlideError, open_slide
from tests.slides.pictures import halved, region

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Inherited by every reader's class, which is what the suppressed check warns of.
FEW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
FRACTION = st.floats(-0.3, 1.2)
SIDE = st.integers(1, 90)


@dataclass(frozen=True)
class Case:
    """A slide file and the truth about it."""

    path: Path
    levels: list[np.ndarray]
    mpp: float | None = None
    tolerance: int = 0
    associated: dict[str, tuple[int, int]] = field(default_factory=dict)


class SlideConformance:
    """Inherit, and provide ``case``."""

    @pytest.fixture(scope="class")
    @classmethod
    def slide(cls, case: Case) -> Iterator[Slide]:
        with open_slide(case.path) as slide:
            yield slide

    def test_levels_are_those_of_the_file(self, slide: Slide, case: Case) -> None:
        assert [(level.height, level.width) for level in slide.levels] == [a.shape[:2] for a in case.levels]
        assert slide.dimensions == case.levels[0].shape[1::-1]
        assert [level.index for level in slide.levels] == list(range(len(case.levels)))
        assert slide.levels[0].downsample == 1
        for level in slide.levels:
            assert level.downsample == pytest.approx(slide.dimensions[0] / level.width, rel=0.02)

    def test_resolution(self, slide: Slide, case: Case) -> None:
        assert slide.mpp == (case.mpp if case.mpp is None else pytest.approx(case.mpp, rel=1e-4))

    def test_whole_levels(self, slide: Slide, case: Case) -> None:
        for index, truth in enumerate(case.levels):
            image = slide.read_region((0, 0), index, truth.shape[1::-1])
            assert image.dtype == np.uint8
            assert_close(image, truth, case.tolerance)

    @FEW
    @given(x=FRACTION, y=FRACTION, w=SIDE, h=SIDE, pick=st.integers(0, 9))
    def test_any_region_equals_the_array_and_is_white_outside(
        self, slide: Slide, case: Case, x: float, y: float, w: int, h: int, pick: int
    ) -> None:
        index = pick % len(case.levels)
        truth = case.levels[index]
        column, row = int(x * truth.shape[1]), int(y * truth.shape[0])
        assert_close(slide.read_level(index, (column, row), (w, h)), region(truth, column, row, w, h), case.tolerance)
        if index == 0:
            assert_close(slide.read_region((column, row), 0, (w, h)), region(truth, column, row, w, h), case.tolerance)

    def test_regions_may_be_empty_but_not_negative_or_absurd(self, slide: Slide) -> None:
        assert slide.read_region((0, 0), 0, (0, 5)).shape == (5, 0, 3)
        for size in [(-1, 5), (1 << 20, 1 << 20)]:
            with pytest.raises(ValueError, match="region"):
                slide.read_region((0, 0), 0, size)
        for level in (-1, len(slide.levels)):
            with pytest.raises(ValueError, match="level"):
                slide.read_region((0, 0), level, (5, 5))

    def test_the_caller_may_write_into_what_it_got(self, slide: Slide) -> None:
        before = slide.read_region((0, 0), 0, (40, 40))
        before[:] = 7
        assert not (slide.read_region((0, 0), 0, (40, 40)) == 7).all()

    def test_the_pyramid_halves_where_the_file_does_not(self, slide: Slide, case: Case) -> None:
        pyramid = slide.pyramid
        assert max(pyramid[-1].shape) <= max(1024, *case.levels[-1].shape)
        for finer, coarser in pairwise(pyramid):
            assert coarser.downsample / finer.downsample < 3.1
            if not coarser.native:
                np.testing.assert_array_equal(coarser[:], halved(finer[:]))
        native = [level for level in pyramid if level.native]
        assert [level.shape for level in native] == [truth.shape for truth in case.levels]

    @FEW
    @given(data=st.data())
    def test_slicing_is_numpy_slicing(self, slide: Slide, data: st.DataObject) -> None:
        level = slide.pyramid[-1]
        rows, columns = (data.draw(st.one_of(st.slices(n), st.integers(-n, n - 1))) for n in level.shape[:2])
        channels = data.draw(st.sampled_from([slice(None), 0, -1, slice(0, 2), Ellipsis]))
        whole = np.asarray(level)
        np.testing.assert_array_equal(level[rows, columns, channels], whole[rows, columns, channels])

    def test_array_like(self, slide: Slide) -> None:
        level = slide.pyramid[-1]
        assert (level.ndim, level.dtype, len(level)) == (3, np.uint8, level.shape[0])
        np.testing.assert_array_equal(level[..., 1], np.asarray(level)[..., 1])
        np.testing.assert_array_equal(level[3], np.asarray(level)[3])
        assert np.asarray(level, np.float32).dtype == np.float32
        with pytest.raises(IndexError):
            level[level.shape[0]]
        with pytest.raises(IndexError):
            level[[1, 2]]

    def test_dask_sees_the_same(self, slide: Slide) -> None:
        last = len(slide.pyramid) - 1
        array = slide.dask(last)
        assert (array.shape, array.dtype) == (slide.pyramid[-1].shape, np.uint8)
        np.testing.assert_array_equal(array.compute(scheduler="synchronous"), slide.pyramid[-1][:])

    def test_resampling_to_the_files_own_resolution_changes_nothing(self, slide: Slide) -> None:
        expected = slide.read_region((11, 13), 0, (70, 50))
        np.testing.assert_array_equal(slide.read_scaled((11, 13), 1, (70, 50)), expected)
        if slide.mpp:
            np.testing.assert_array_equal(slide.read_mpp((11, 13), slide.mpp, (70, 50)), expected)
        else:
            with pytest.raises(SlideError, match="resolution by hand"):
                slide.read_mpp((0, 0), 0.5, (10, 10))

    def test_threads_get_the_same_pixels(self, slide: Slide) -> None:
        width, height = slide.dimensions
        corners = [(x, y) for x in range(-20, width, width // 6 + 1) for y in range(-20, height, height // 6 + 1)]
        expected = [slide.read_region(corner, 0, (120, 90)) for corner in corners]
        with open_slide(slide.path) as fresh, ThreadPoolExecutor(8) as pool:
            for found, truth in zip(
                pool.map(lambda c: fresh.read_region(c, 0, (120, 90)), corners), expected, strict=True
            ):
                np.testing.assert_array_equal(found, truth)

    def test_a_pickled_slide_opens_again(self, slide: Slide) -> None:
        with pickle.loads(pickle.dumps(slide)) as copy:
            assert copy.path == slide.path
            np.testing.assert_array_equal(copy.read_region((9, 9), 0, (30, 30)), slide.read_region((9, 9), 0, (30, 30)))

    def test_thumbnail(self, slide: Slide) -> None:
        width, height = slide.dimensions
        thumbnail = slide.thumbnail((100, 80))
        assert thumbnail.shape[0] <= 80
        assert thumbnail.shape[1] <= 100
        assert thumbnail.shape[1] / thumbnail.shape[0] == pytest.approx(width / height, rel=0.03)
        assert np.abs(thumbnail.mean((0, 1)) - slide.pyramid[-1][:].mean((0, 1))).max() < 3

    def test_fingerprint(self, slide: Slide) -> None:
        assert len(slide.fingerprint()) == 64
        with open_slide(slide.path) as again:
            assert again.fingerprint() == slide.fingerprint()

    def test_associated_images(self, slide: Slide, case: Case) -> None:
        assert {name: image.shape[:2] for name, image in slide.associated.items()} == case.associated
        assert all(image.dtype == np.uint8 and image.shape[2] == 3 for image in slide.associated.values())
        assert "no such picture" not in slide.associated
        with pytest.raises(KeyError):
            slide.associated["no such picture"]

    def test_a_closed_slide_says_so(self, case: Case) -> None:
        slide = open_slide(case.path)
        slide.close()
        slide.close()
        with pytest.raises(SlideError, match="closed"):
            slide.read_region((0, 0), 0, (10, 10))

    def test_repr_names_the_file(self, slide: Slide) -> None:
        assert slide.path.name in repr(slide)


def assert_close(found: np.ndarray, truth: np.ndarray, tolerance: int) -> None:
    """Equal, or for lossy files never further off than ``tolerance``."""
    assert found.shape == truth.shape
    if tolerance:
        assert np.abs(found.astype(int) - truth).max(initial=0) <= tolerance
    else:
        np.testing.assert_array_equal(found, truth)
