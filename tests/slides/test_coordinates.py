"""Regions lie where they were asked for: to the exact pixel, and as OpenSlide has them."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_histoanno.slides import Slide, open_slide
from tests.slides.pictures import halved, picture, smooth_picture, write_pyramid

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import openslide

SQUARE = 64


def checkerboard(height: int, width: int, square: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    board = (x // square + y // square) % 2 * 255
    return np.repeat(board[..., None], 3, axis=-1).astype(np.uint8)


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slide]:
    """Squares of 64 px in three levels, 4× apart."""
    levels = [checkerboard(1024 >> 2 * i, 1536 >> 2 * i, SQUARE >> 2 * i) for i in range(3)]
    with open_slide(write_pyramid(tmp_path_factory.mktemp("board") / "board.tif", levels)) as slide:
        yield slide


@given(column=st.integers(0, 22), row=st.integers(0, 14), level=st.integers(0, 2))
@settings(max_examples=40, deadline=None)
def test_a_square_starts_at_its_first_pixel_on_every_level(board: Slide, column: int, row: int, level: int) -> None:
    side = SQUARE >> 2 * level
    square = board.read_region((column * SQUARE, row * SQUARE), level, (side, side))
    assert (square == (column + row) % 2 * 255).all()
    shifted = board.read_level(level, (column * side + 1, row * side), (side, side))
    assert (shifted[:, :-1] == square[0, 0]).all()
    if column < 22:
        assert (shifted[:, -1] != square[0, 0]).all()


@given(column=st.integers(0, 22), row=st.integers(0, 14), index=st.integers(0, 4))
@settings(max_examples=40, deadline=None)
def test_squares_in_the_pyramid(board: Slide, column: int, row: int, index: int) -> None:
    side = SQUARE >> index
    y, x = row * side, column * side
    assert (board.pyramid[index][y : y + side, x : x + side] == (column + row) % 2 * 255).all()


@given(column=st.integers(0, 21), row=st.integers(0, 13), factor=st.sampled_from([1, 2, 4, 8, 16, 32]))
@settings(max_examples=40, deadline=None)
def test_squares_when_resampled(board: Slide, column: int, row: int, factor: int) -> None:
    side = SQUARE // factor
    found = board.read_scaled((column * SQUARE, row * SQUARE), factor, (2 * side, 2 * side))
    assert (found[:side, :side] == (column + row) % 2 * 255).all()
    assert (found[:side, side:] == (column + row + 1) % 2 * 255).all()


@pytest.mark.parametrize("downsample", [0.5, 0.7, 1.002, 1.1, 1.3, 2.0, 2.5, 3.7, 5.0, 11.3])
def test_resampling_keeps_places(tmp_path: Path, downsample: float) -> None:
    """A linear ramp says at every pixel where it was taken from; each of the two steps may round."""
    y, x = np.mgrid[:256, :256]
    ramp = np.stack([x, y, x], axis=-1).astype(np.uint8)
    size = int(140 / downsample)
    with open_slide(write_pyramid(tmp_path / "ramp.tif", [ramp])) as slide:
        found = slide.read_scaled((41.3, 77.8), downsample, (size, size))
    centres = (np.arange(size) + 0.5) * downsample - 0.5
    np.testing.assert_allclose(found[..., 0], np.broadcast_to(41.3 + centres, (size, size)), atol=1.0)
    np.testing.assert_allclose(found[..., 1].T, np.broadcast_to(77.8 + centres, (size, size)), atol=1.0)


def test_resampling_by_whole_factors_averages_areas(tmp_path: Path) -> None:
    image = picture(600, 700)
    with open_slide(write_pyramid(tmp_path / "slide.tif", [image])) as slide:
        found = slide.read_scaled((30, 50), 3, (40, 20))
        half = slide.read_scaled((30, 50), 2, (40, 20))
    blocks = image[50:110, 30:150].reshape(20, 3, 40, 3, 3).mean(axis=(1, 3))
    assert np.abs(found - blocks).max() <= 0.51
    np.testing.assert_array_equal(half, halved(image[50:90, 30:110]))


def test_resampling_beyond_the_edge_is_white(tmp_path: Path) -> None:
    with open_slide(write_pyramid(tmp_path / "slide.tif", [np.zeros((300, 300, 3), np.uint8)])) as slide:
        found = slide.read_scaled((-40, 200), 2.5, (100, 100))
    assert (found[:39, 17:] == 0)[:, :119].any()
    assert (found[41:] == 255).all()
    assert (found[:, :15] == 255).all()
    assert (found[:39, 17:100] == 0).all()


def blended(reference: openslide.OpenSlide, location: tuple[int, int], level: int, size: tuple[int, int]) -> np.ndarray:
    image = np.asarray(reference.read_region(location, level, size)).astype(float)
    alpha = image[..., 3:] / 255
    return np.rint(image[..., :3] * alpha + 255 * (1 - alpha))


@pytest.mark.real_data
def test_200_regions_of_a_real_slide_equal_openslide(real_data: Path) -> None:
    openslide = pytest.importorskip("openslide")
    path = real_data / "slides" / "CMU-1-Small-Region.svs"
    rng = np.random.default_rng(3)
    with open_slide(path) as slide, openslide.OpenSlide(str(path)) as reference:
        assert [(level.width, level.height) for level in slide.levels] == list(reference.level_dimensions)
        assert [level.downsample for level in slide.levels] == list(reference.level_downsamples)
        for _ in range(200):
            level = int(rng.integers(len(slide.levels)))
            x, y = (int(rng.integers(-300, side + 200)) for side in slide.dimensions)
            size = tuple(int(v) for v in rng.integers(1, 600, 2))
            np.testing.assert_array_equal(
                slide.read_region((x, y), level, size), blended(reference, (x, y), level, size)
            )


@pytest.mark.real_data
def test_levels_of_a_real_pyramid_equal_openslide(real_data: Path) -> None:
    openslide = pytest.importorskip("openslide")
    path = real_data / "slides" / "dplabtools_board-multi-layer-compression-clean.tif"
    rng = np.random.default_rng(4)
    with open_slide(path) as slide, openslide.OpenSlide(str(path)) as reference:
        assert [level.downsample for level in slide.levels] == list(reference.level_downsamples)
        for _ in range(100):
            level = int(rng.integers(3))
            step = 4**level
            x, y = (int(rng.integers(-20, side // step + 10)) * step for side in slide.dimensions)
            size = tuple(int(v) for v in rng.integers(1, 300, 2))
            np.testing.assert_array_equal(
                slide.read_region((x, y), level, size), blended(reference, (x, y), level, size)
            )


def test_between_pixels_within_rounding_of_openslide(tmp_path: Path) -> None:
    """Pixman rounds its weights; on a picture whose neighbours differ by up to 255 that is 3 levels at most."""
    openslide = pytest.importorskip("openslide")
    image = picture(1024, 1024)
    path = write_pyramid(tmp_path / "slide.tif", [image, smooth_picture(255, 250)])
    rng = np.random.default_rng(5)
    with open_slide(path) as slide, openslide.OpenSlide(str(path)) as reference:
        for _ in range(60):
            x, y = (int(v) for v in rng.integers(-100, 1100, 2))
            size = tuple(int(v) for v in rng.integers(1, 200, 2))
            difference = slide.read_region((x, y), 1, size) - blended(reference, (x, y), 1, size)
            assert np.abs(difference).max() <= 3


def corner(slide: Slide) -> np.ndarray:
    return slide.read_region((100, 100), 0, (50, 50))


def test_a_slide_travels_to_another_process(tmp_path: Path) -> None:
    image = picture(400, 400)
    with (
        open_slide(write_pyramid(tmp_path / "slide.tif", [image])) as slide,
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
    ):
        np.testing.assert_array_equal(pool.submit(corner, slide).result(timeout=60), image[100:150, 100:150])
