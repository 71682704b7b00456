"""Every kind of export of a real slide, pixel by pixel."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image
from pycocotools.coco import COCO

from histotrain import PatchSet
from napari_histoanno.annotation import Box, Ellipse, Granularity, LabelScheme, Point, Scribble, rasterize
from napari_histoanno.datasets import ExportKind, ExportSpec, export_dataset, render_labels
from napari_histoanno.project import Project
from tests.datasets.conftest import say

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

G = Granularity
NUCLEUS = Ellipse(700.5, 640.25, 14, 9, 0.5)
PAINTED = (900, 500)  # y, x

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
]


@pytest.fixture
def file(real_data: Path) -> Path:
    return real_data / "slides" / "CMU-1-Small-Region.svs"


@pytest.fixture
def project(tmp_path: Path, file: Path) -> Iterator[Project]:
    scheme = LabelScheme.from_names(["nucleus", "stroma", "Background"], background="Background")
    with Project.create(tmp_path / "project", scheme=scheme, annotator="ann") as created:
        slide = created.add_slide(file).id
        say(created, slide, G.EXHAUSTIVE, Box(600, 560, 240, 200), 0)
        say(created, slide, G.ELLIPSE, NUCLEUS, 1)
        say(created, slide, G.POINT, Point(760, 700), 1)
        say(created, slide, G.SPARSE, Scribble(((1200, 400), (1320, 470)), 12), 2)
        ys, xs = np.mgrid[:90, :130]
        disc = ((xs - 60) ** 2 + (ys - 40) ** 2 < 38**2).astype(np.uint8) * 2
        created.raster(slide).write(*PAINTED, disc)
        yield created


def test_patches_are_pixels_of_the_file(project: Project, file: Path, tmp_path: Path) -> None:
    (record,) = project.slides
    assert record.mpp is not None
    spec = ExportSpec(kind="png", mpp=record.mpp, patch_size=128, min_annotated=0, unlabelled_value=0)
    export_dataset(project, tmp_path / "png", spec)
    rows = list(csv.DictReader((tmp_path / "png" / "patches.csv").read_text(encoding="utf-8").splitlines()))
    assert len(rows) >= 8
    with openslide.OpenSlide(file) as reference:
        for row in rows:
            location = (int(row["x"]), int(row["y"]))
            with Image.open(tmp_path / "png" / "images" / row["file"]) as image:
                theirs = reference.read_region(location, 0, (128, 128)).convert("RGB")
                np.testing.assert_array_equal(np.asarray(image), np.asarray(theirs))
            with Image.open(tmp_path / "png" / "masks" / row["file"]) as mask:
                truth = render_labels(project, record.id, location, (128, 128))
                np.testing.assert_array_equal(np.asarray(mask), truth)
    export_dataset(project, tmp_path / "set", spec.model_copy(update={"kind": ExportKind.PATCHSET}))
    patches = PatchSet.load(tmp_path / "set" / "patches.zarr")
    with Image.open(tmp_path / "png" / "images" / rows[3]["file"]) as image:
        np.testing.assert_array_equal(patches.images[3], np.asarray(image))


def test_the_nucleus_is_where_it_was_drawn_in_every_form(project: Project, tmp_path: Path) -> None:
    (record,) = project.slides
    assert record.mpp is not None
    truth = rasterize([(NUCLEUS, 1)], (record.width, record.height)).astype(bool)
    export_dataset(project, tmp_path / "tif", ExportSpec(kind="label-ome-tiff", mpp=record.mpp))
    written = tifffile.imread(tmp_path / "tif" / "CMU-1-Small-Region.ome.tif")
    assert written.shape == (record.height, record.width)
    assert (written[truth] == 1).all()
    assert (written[560:760, 600:840] != 255).all()  # the exhaustive region holds no unlabelled pixel
    np.testing.assert_array_equal(written == 2, render_labels(project, record.id, (0, 0), written.shape[::-1]) == 2)
    export_dataset(project, tmp_path / "png", ExportSpec(kind="label-png", mpp=record.mpp))
    with Image.open(tmp_path / "png" / "CMU-1-Small-Region.png") as mask:
        np.testing.assert_array_equal(np.asarray(mask), written)
    spec = ExportSpec(kind="coco", mpp=record.mpp, patch_size=512, min_annotated=0, segmentation="rle")
    export_dataset(project, tmp_path / "coco", spec)
    coco = COCO(str(tmp_path / "coco" / "annotations" / "instances_all.json"))
    seen = np.zeros_like(truth)
    for found in coco.anns.values():
        if found["granularity"] == "ellipse":
            image = coco.imgs[found["image_id"]]
            y, x = round(image["y"]), round(image["x"])
            seen[y : y + 512, x : x + 512] |= coco.annToMask(found).astype(bool)[
                : record.height - y, : record.width - x
            ]
    np.testing.assert_array_equal(seen, truth)


def test_patches_at_a_coarser_resolution_follow_the_image(project: Project, tmp_path: Path) -> None:
    (record,) = project.slides
    export_dataset(project, tmp_path / "out", ExportSpec(kind="png", mpp=2.0, patch_size=128, min_annotated=0))
    with project.open_slide(record.id) as slide:
        for row in csv.DictReader((tmp_path / "out" / "patches.csv").read_text(encoding="utf-8").splitlines()):
            location = (float(row["x"]), float(row["y"]))
            with Image.open(tmp_path / "out" / "images" / row["file"]) as image:
                np.testing.assert_array_equal(np.asarray(image), slide.read_mpp(location, 2.0, (128, 128)))
