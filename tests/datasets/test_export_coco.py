"""COCO files say the same to pycocotools as the annotations say here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import shapely
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from napari_histoanno.annotation import Area, Box, Ellipse, Granularity, LabelScheme, Point, Scribble, rasterize
from napari_histoanno.datasets import ExportSpec, export_dataset, render_labels
from tests.datasets.conftest import MPP, MakeSlide, annotate_region, say

if TYPE_CHECKING:
    from pathlib import Path

    from napari_histoanno.project import Project

G = Granularity
SIDE = 256

# pycocotools 2.0 hands its buffers to numpy 2 in the old way when it decodes.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def exported(project: Project, folder: Path, **changes: Any) -> COCO:
    export_dataset(project, folder, ExportSpec(kind="coco", mpp=MPP, patch_size=SIDE, min_annotated=0, **changes))
    return COCO(str(folder / "annotations" / "instances_all.json"))


def masks_by_granularity(coco: COCO) -> dict[str, np.ndarray]:
    return {found["granularity"]: coco.annToMask(found).astype(bool) for found in coco.anns.values()}


def test_the_document_is_complete(project: Project, slide: str, tmp_path: Path) -> None:
    annotate_region(project, slide)
    coco = exported(project, tmp_path / "out")
    assert {c["id"]: c["name"] for c in coco.cats.values()} == {1: "tumour", 2: "stroma", 3: "Background"}
    for image in coco.imgs.values():
        assert (tmp_path / "out" / image["file_name"]).is_file()
        truth = render_labels(project, slide, (image["x"], image["y"]), (SIDE, SIDE))
        np.testing.assert_array_equal(coco_mask.decode(image["unlabelled"]) == 1, truth == 0)
        assert image["annotated"] == pytest.approx((truth > 0).mean(), abs=1e-6)


def test_every_shape_keeps_its_place_and_class(project: Project, slide: str, tmp_path: Path) -> None:
    shapes = {
        G.BOX: Box(10, 12, 30, 20),
        G.ELLIPSE: Ellipse(120.5, 60.2, 40, 20, 0.6),
        G.POINT: Point(30.5, 200.25),
        G.PIXEL: Area(shapely.Polygon([(150, 150), (200, 160), (190, 230), (140, 200)])),
    }
    for granularity, shape in shapes.items():
        say(project, slide, granularity, shape, 2)
    coco = exported(project, tmp_path / "out")
    masks = masks_by_granularity(coco)
    painted = {**shapes, G.POINT: Ellipse(30.5, 200.25, 4, 4)}
    for granularity, shape in painted.items():
        truth = rasterize([(shape, 1)], (SIDE, SIDE)).astype(bool)
        overlap = (masks[granularity] & truth).sum() / (masks[granularity] | truth).sum()
        assert overlap > 0.88 if granularity is G.POINT else overlap > 0.95
        (found,) = [a for a in coco.anns.values() if a["granularity"] == granularity]
        assert found["area"] == pytest.approx(shape.shape.area or painted[granularity].shape.area, rel=1e-3)
        assert found["category_id"] == 2
    box = next(a for a in coco.anns.values() if a["granularity"] == "box")
    assert box["bbox"] == [10, 12, 30, 20]


def test_an_ellipse_stays_an_ellipse(project: Project, make_slide: MakeSlide, tmp_path: Path) -> None:
    slide = project.add_slide(make_slide("wide")).id
    drawn = Ellipse(600, 300, 40, 20, 0.6)
    say(project, slide, G.ELLIPSE, drawn, 1)
    coco = exported(project, tmp_path / "out")
    (found,) = coco.anns.values()
    image = coco.imgs[found["image_id"]]
    kept = found["ellipse"]
    assert (kept["cx"] + image["x"], kept["cy"] + image["y"]) == (drawn.cx, drawn.cy)
    assert (kept["a"], kept["b"], kept["angle"]) == (drawn.a, drawn.b, drawn.angle)


def test_run_lengths_are_exact_to_the_pixel(project: Project, slide: str, tmp_path: Path) -> None:
    ring = shapely.Point(100, 100).buffer(60).difference(shapely.Point(100, 100).buffer(30))
    say(project, slide, G.PIXEL, Area(ring), 1)
    say(project, slide, G.ELLIPSE, Ellipse(200, 200, 30, 18, 1.0), 2)
    exact = masks_by_granularity(exported(project, tmp_path / "rle", segmentation="rle"))
    for granularity, shape in ((G.PIXEL, Area(ring)), (G.ELLIPSE, Ellipse(200, 200, 30, 18, 1.0))):
        np.testing.assert_array_equal(exact[granularity], rasterize([(shape, 1)], (SIDE, SIDE)) == 1)
    auto = exported(project, tmp_path / "auto")
    kinds = {found["granularity"]: type(found["segmentation"]) for found in auto.anns.values()}
    assert kinds == {"pixel": dict, "ellipse": list}  # only the hole needs run lengths


def test_painted_masks_give_one_object_each(project: Project, slide: str, tmp_path: Path) -> None:
    block = np.zeros((120, 120), np.uint8)
    block[10:30, 10:40] = 1
    block[60:100, 10:90] = 2
    block[70:90, 30:60] = 0
    project.raster(slide).write(5, 7, block)
    coco = exported(project, tmp_path / "out")
    truth = render_labels(project, slide, (0, 0), (SIDE, SIDE))
    assert sorted(a["category_id"] for a in coco.anns.values()) == [1, 2]
    for found in coco.anns.values():
        np.testing.assert_array_equal(coco.annToMask(found) == 1, truth == found["category_id"])
        assert found["area"] == (truth == found["category_id"]).sum()


def test_predicted_pixels_are_left_out_or_marked(project: Project, slide: str, tmp_path: Path) -> None:
    project.raster(slide).write(0, 0, np.full((8, 8), 1, np.uint8))
    with project.raster(slide).edit(predicted=True) as edit:
        edit.write(0, 8, np.full((8, 8), 1, np.uint8))
    (found,) = exported(project, tmp_path / "out").anns.values()
    assert (found["bbox"], found["source"]) == ([0, 0, 8, 8], "painted")
    every = exported(project, tmp_path / "all", include_predicted=True).anns.values()
    assert [(a["bbox"], a["source"]) for a in every] == [([0, 0, 8, 8], "painted"), ([8, 0, 8, 8], "predicted")]


def test_a_scribble_is_a_crowd_region(project: Project, slide: str, tmp_path: Path) -> None:
    say(project, slide, G.SPARSE, Scribble(((20, 20), (90, 60)), 8), 2)
    (found,) = exported(project, tmp_path / "out").anns.values()
    assert found["iscrowd"] == 1
    assert found["scribble"]["width"] == 8


def test_objects_are_cut_at_the_edge_of_a_patch(project: Project, slide: str, tmp_path: Path) -> None:
    say(project, slide, G.BOX, Box(240, 100, 40, 20), 1)
    coco = exported(project, tmp_path / "out")
    assert [a["bbox"] for a in coco.anns.values()] == [[240, 100, 16, 20], [0, 100, 24, 20]]
    assert [coco.imgs[a["image_id"]]["x"] for a in coco.anns.values()] == [0, 256]


def test_merged_and_dropped_classes(project: Project, slide: str, tmp_path: Path) -> None:
    annotate_region(project, slide)
    merged = exported(project, tmp_path / "merged", merge={"stroma": "tumour"})
    assert {a["category_id"] for a in merged.anns.values()} == {1}
    dropped = exported(project, tmp_path / "dropped", classes=("stroma",))
    assert {a["category_id"] for a in dropped.anns.values()} == {2}
    assert set(dropped.cats) == {2}


def test_parents_are_supercategories(project: Project, slide: str, tmp_path: Path) -> None:
    scheme = LabelScheme.from_names(["nucleus", "lymphocyte"]).with_changed(2, parent=1)
    project.set_scheme(scheme)
    say(project, slide, G.PIXEL, Box(0, 0, 9, 9), 2)
    exported(project, tmp_path / "out")
    document = json.loads((tmp_path / "out" / "annotations" / "instances_all.json").read_text(encoding="utf-8"))
    assert [c["supercategory"] for c in document["categories"]] == ["", "nucleus"]
