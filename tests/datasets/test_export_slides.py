"""Whole-slide masks, read back with tifffile and PIL."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image
from pydantic import ValidationError

from napari_histoanno.annotation import Box, Ellipse, Granularity, LabelClass, LabelScheme
from napari_histoanno.datasets import DatasetError, ExportSpec, SlideLabels, export_dataset, render_labels
from napari_histoanno.datasets.export.context import Task
from napari_histoanno.datasets.export.masks import MaskCoding
from napari_histoanno.datasets.export.slides import SlideMask
from tests.datasets.conftest import MPP, MakeSlide, annotate_region, say

if TYPE_CHECKING:
    from pathlib import Path

    from napari_histoanno.project import Project

OME = {"ome": "http://www.openmicroscopy.org/Schemas/OME/2016-06"}


@pytest.mark.parametrize("mpp", [0.5, 1.0, 1.7])
def test_an_ome_tiff_is_the_label_map_at_its_resolution(
    project: Project, slide: str, tmp_path: Path, mpp: float
) -> None:
    annotate_region(project, slide)
    export_dataset(project, tmp_path / "out", ExportSpec(kind="label-ome-tiff", mpp=mpp, unlabelled_value=0))
    path = tmp_path / "out" / "first.ome.tif"
    size = (int(np.ceil(1024 * MPP / mpp)), int(np.ceil(768 * MPP / mpp)))
    truth = render_labels(project, slide, (0, 0), size, mpp=mpp)
    np.testing.assert_array_equal(tifffile.imread(path), truth)
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_ome
        pixels = ElementTree.fromstring(tiff.ome_metadata).find(".//ome:Pixels", OME)
        assert pixels is not None
        assert float(pixels.attrib["PhysicalSizeX"]) == pytest.approx(mpp)
        assert pixels.attrib["PhysicalSizeXUnit"] == "µm"
        assert "tumour" in tiff.ome_metadata


def test_every_level_is_sampled_at_its_own_pixel_centres(
    project: Project, make_slide: MakeSlide, tmp_path: Path
) -> None:
    slide = project.add_slide(make_slide("large", size=(3000, 2500))).id
    say(project, slide, Granularity.ELLIPSE, Ellipse(1500, 1200, 900, 700, 0.3), 1)
    project.raster(slide).write(100, 200, np.full((1500, 900), 2, np.uint8))
    export_dataset(project, tmp_path / "out", ExportSpec(kind="label-ome-tiff", mpp=MPP))
    with tifffile.TiffFile(tmp_path / "out" / "large.ome.tif") as tiff:
        (series,) = tiff.series
        assert [level.shape for level in series.levels] == [(2500, 3000), (1250, 1500), (625, 750)]
        for number, level in enumerate(series.levels):
            truth = render_labels(project, slide, (0, 0), level.shape[::-1], downsample=2**number)
            np.testing.assert_array_equal(level.asarray(), np.where(truth == 0, 255, truth))
        assert tiff.pages[0].is_tiled
        store = zarr.open(tiff.aszarr(), mode="r")
        assert store["0"].shape == (2500, 3000)


def test_a_png_is_the_label_map(project: Project, slide: str, tmp_path: Path) -> None:
    annotate_region(project, slide)
    export_dataset(project, tmp_path / "out", ExportSpec(kind="label-png", mpp=0.8))
    with Image.open(tmp_path / "out" / "first.png") as mask:
        truth = render_labels(project, slide, (0, 0), mask.size, mpp=0.8)
        assert mask.size == (640, 480)
        np.testing.assert_array_equal(np.asarray(mask), np.where(truth == 0, 255, truth))
        assert mask.info["dpi"][0] == pytest.approx(25400 / 0.8, rel=1e-4)


def test_memory_does_not_grow_with_the_slide(project: Project, slide: str, tmp_path: Path) -> None:
    say(project, slide, Granularity.PIXEL, Box(0, 0, 700, 700), 1)
    labels = SlideLabels(project, slide)
    spec = ExportSpec(kind="label-ome-tiff", mpp=MPP / 64)
    task = Task(spec, tmp_path, MaskCoding(project.scheme, 255))
    mask = SlideMask(labels, task, 1 / 64)
    assert mask.size == (65536, 49152)
    tiles = mask.tiles()
    tracemalloc.start()
    for _ in range(40):
        next(tiles)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 << 20  # the whole mask would be 3 GB


def test_slides_without_annotations_are_left_out(project: Project, make_slide: MakeSlide, tmp_path: Path) -> None:
    annotate_region(project, project.add_slide(make_slide("a")).id)
    project.add_slide(make_slide("b", seed=1))
    manifest = export_dataset(project, tmp_path / "out", ExportSpec(kind="label-png", mpp=2.0, split="slide"))
    assert sorted(manifest.files) == ["classes.json", "train/a.png"]


def test_whole_slides_are_not_split_into_blocks() -> None:
    with pytest.raises(ValidationError, match="cannot be split into blocks"):
        ExportSpec(kind="label-png", split="block")


def test_a_class_may_not_have_the_value_of_unlabelled_pixels(project: Project, slide: str, tmp_path: Path) -> None:
    project.set_scheme(LabelScheme((LabelClass(255, "last", (1, 2, 3)),)))
    say(project, slide, Granularity.PIXEL, Box(0, 0, 99, 99), 255)
    with pytest.raises(DatasetError, match="'last' has id 255"):
        export_dataset(project, tmp_path / "out", ExportSpec(kind="label-png", mpp=2.0))
    export_dataset(project, tmp_path / "out", ExportSpec(kind="label-png", mpp=2.0, unlabelled_value=0))
