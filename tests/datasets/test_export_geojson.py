"""GeoJSON of each slide, read back as QuPath's and by shapely."""

from __future__ import annotations

import errno
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import shapely

from napari_histoanno.annotation import (
    Area,
    Box,
    Ellipse,
    Granularity,
    Point,
    Review,
    Scribble,
    Source,
    rasterize,
)
from napari_histoanno.datasets import DatasetError, ExportSpec, export_dataset
from napari_histoanno.datasets.export import shapes
from napari_histoanno.formats import read_annotations
from tests.datasets.conftest import MakeSlide, annotate_region, say

if TYPE_CHECKING:
    from pathlib import Path

    from napari_histoanno.project import Project

G = Granularity
SPEC = ExportSpec(kind="geojson")


def exported(project: Project, out: Path, **changes: Any) -> Path:
    export_dataset(project, out, ExportSpec(kind="geojson", **changes))
    return out / "first.geojson"


def test_every_shape_comes_back_as_it_was(project: Project, slide: str, tmp_path: Path) -> None:
    drawn = [
        say(project, slide, G.POINT, Point(12.5, 30.25), 2),
        say(project, slide, G.BOX, Box(10, 12, 30, 20), 1),
        say(project, slide, G.ELLIPSE, Ellipse(300.5, 200.25, 40, 20, 0.7), 1),
        say(project, slide, G.SPARSE, Scribble(((5, 5), (90, 60)), 8), 2),
        say(project, slide, G.PIXEL, Area(shapely.Point(400, 400).buffer(50) - shapely.Point(400, 400).buffer(20)), 2),
        say(project, slide, G.EXHAUSTIVE, Box(0, 0, 600, 600), 0),
    ]
    read = read_annotations(exported(project, tmp_path / "out"))
    assert not read.problems
    found = {record.id: record for record in read.annotations}
    for record in drawn:
        back = found[record.id]
        assert (back.granularity, back.annotator) == (record.granularity, record.annotator)
        if isinstance(record.geometry, Area):
            assert shapely.equals(back.geometry.shape, record.geometry.shape)
        else:
            assert back.geometry == record.geometry
        if record.class_id:
            assert read.scheme[back.class_id].name == project.scheme[record.class_id].name


def test_painted_masks_become_areas_exact_to_the_pixel(
    project: Project, slide: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shapes, "_BLOCK", 512)
    ys, xs = np.mgrid[:768, :1024]
    rings = (np.hypot(xs - 512, ys - 380) // 45 % 3).astype(np.uint8)
    project.raster(slide).write(0, 0, rings)
    path = exported(project, tmp_path / "out")
    features = json.loads(path.read_text(encoding="utf-8"))["features"]
    names = {label.name: label.id for label in project.scheme}
    areas = [
        (Area(shapely.from_geojson(json.dumps(f["geometry"]))), names[f["properties"]["classification"]["name"]])
        for f in features
    ]
    np.testing.assert_array_equal(rasterize(areas, (1024, 768)), rings)
    assert sum(area.polygon.area for area, _ in areas) == np.count_nonzero(rings)
    circle = [area for area, class_id in areas if class_id == 1 and area.polygon.contains(shapely.Point(512 - 60, 380))]
    assert len(circle) == 1  # joined across the seam, its hole kept
    assert len(circle[0].polygon.interiors) == 1


def test_annotators_who_disagree_are_both_heard(project: Project, slide: str, tmp_path: Path) -> None:
    for who, class_id in (("ann", 1), ("bob", 2)):
        project.raster(slide, who).write(0, 0, np.full((8, 8), class_id, np.uint8))
    read = read_annotations(exported(project, tmp_path / "out"))
    assert {(record.annotator, record.class_id) for record in read.annotations} == {("ann", 1), ("bob", 2)}


def test_coarser_records_stay_beside_finer_ones(project: Project, slide: str, tmp_path: Path) -> None:
    ellipse = say(project, slide, G.ELLIPSE, Ellipse(50, 50, 20, 10, 0), 1)
    project.annotations.add([ellipse.derived(granularity=G.BOX, geometry=Box(30, 40, 40, 20))])
    read = read_annotations(exported(project, tmp_path / "out"))
    assert sorted(record.granularity for record in read.annotations) == ["box", "ellipse"]


def test_rejected_records_and_unseen_predictions_stay_here(project: Project, slide: str, tmp_path: Path) -> None:
    annotate_region(project, slide)
    rejected = say(project, slide, G.BOX, Box(1, 1, 5, 5), review=Review.REJECTED)
    predicted = say(project, slide, G.BOX, Box(1, 1, 5, 5), source=Source.PREDICTED, confidence=0.5)
    ids = {record.id for record in read_annotations(exported(project, tmp_path / "out")).annotations}
    assert not ids & {rejected.id, predicted.id}
    path = exported(project, tmp_path / "all", include_predicted=True)
    assert predicted.id in {record.id for record in read_annotations(path).annotations}


def test_predicted_pixels_are_left_out_or_marked(project: Project, slide: str, tmp_path: Path) -> None:
    project.raster(slide).write(0, 0, np.full((8, 8), 1, np.uint8))
    with project.raster(slide).edit(predicted=True) as edit:
        edit.write(0, 8, np.full((8, 8), 1, np.uint8))
    (record,) = read_annotations(exported(project, tmp_path / "out")).annotations
    assert record.geometry.bounds == (0, 0, 8, 8)
    read = read_annotations(exported(project, tmp_path / "all", include_predicted=True)).annotations
    assert {(r.geometry.bounds, r.source) for r in read} == {
        ((0, 0, 8, 8), Source.DRAWN),
        ((8, 0, 16, 8), Source.PREDICTED),
    }


def test_classes_are_merged_and_left_out_by_name(project: Project, slide: str, tmp_path: Path) -> None:
    say(project, slide, G.BOX, Box(1, 1, 5, 5), 1)
    say(project, slide, G.BOX, Box(9, 9, 5, 5), 2)
    read = read_annotations(exported(project, tmp_path / "out", merge={"tumour": "stroma"}))
    assert {read.scheme[record.class_id].name for record in read.annotations} == {"stroma"}
    read = read_annotations(exported(project, tmp_path / "some", classes=("tumour",)))
    assert [record.geometry for record in read.annotations] == [Box(1, 1, 5, 5)]


def test_each_slide_has_its_file_in_the_folder_of_its_split(
    project: Project, make_slide: MakeSlide, tmp_path: Path
) -> None:
    for seed, name in enumerate("abc"):
        annotate_region(project, project.add_slide(make_slide(name, seed=seed)).id)
    manifest = export_dataset(project, tmp_path / "out", ExportSpec(kind="geojson", split="slide"))
    folders = sorted(path.split("/")[0] for path in manifest.files)
    assert folders == ["test", "train", "validation"]
    assert {described["name"]: described["split"] for described in manifest.slides} == {
        path.split("/")[1].removesuffix(".geojson"): path.split("/")[0] for path in manifest.files
    }


def test_a_full_disk_is_said_here_too(
    project: Project, slide: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    annotate_region(project, slide)

    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(DatasetError, match="the disk is full"):
        export_dataset(project, tmp_path / "out", SPEC)
