"""OME-Zarr in both versions and axis orders; what is no image is refused."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
import zarr

from napari_histoanno.slides import SlideError, open_slide
from tests.slides.pictures import picture, write_zarr

if TYPE_CHECKING:
    from pathlib import Path

IMAGE = picture(300, 420)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["tczyx", "yxc"])
def test_versions_and_axes(tmp_path: Path, version: str, axes: str) -> None:
    with open_slide(write_zarr(tmp_path / "slide.zarr", [IMAGE], version=version, axes=axes)) as slide:
        np.testing.assert_array_equal(slide.read_region((0, 0), 0, (420, 300)), IMAGE)
        assert slide.mpp == 0.25


def test_sixteen_bits(tmp_path: Path) -> None:
    with open_slide(write_zarr(tmp_path / "slide.zarr", [IMAGE.astype(np.uint16) << 4])) as slide:
        np.testing.assert_array_equal(slide.read_region((0, 0), 0, (420, 300)), IMAGE)


def test_a_group_without_image_and_missing_levels(tmp_path: Path) -> None:
    zarr.open_group(tmp_path / "empty.zarr", mode="w")
    with pytest.raises(SlideError, match="not an OME-Zarr image"):
        open_slide(tmp_path / "empty.zarr")
    path = write_zarr(tmp_path / "slide.zarr", [IMAGE, IMAGE[::2, ::2]])
    shutil.rmtree(path / "1")
    with pytest.raises(SlideError, match="damaged"):
        open_slide(path)


def test_fluorescence_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match="5 channel"):
        open_slide(write_zarr(tmp_path / "slide.zarr", [np.zeros((64, 64, 5), np.uint16)]))


def test_a_damaged_chunk(tmp_path: Path) -> None:
    path = write_zarr(tmp_path / "slide.zarr", [IMAGE])
    chunk = next(file for file in path.rglob("*") if file.is_file() and file.name == "0")
    chunk.write_bytes(b"junk" * 10)
    with open_slide(path) as slide, pytest.raises(SlideError, match="level 0 cannot be decoded"):
        slide.read_region((0, 0), 0, (420, 300))
