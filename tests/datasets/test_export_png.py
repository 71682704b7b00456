"""PNG folders and patch sets, read back by other programs."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import zarr
from PIL import Image

from histotrain import PatchSet
from napari_histoanno.annotation import Box, Granularity
from napari_histoanno.datasets import ExportSpec, build_patchset, export_dataset, render_labels
from tests.datasets.conftest import MPP, MakeSlide, annotate_region, say

if TYPE_CHECKING:
    from pathlib import Path

    from napari_histoanno.project import Project

SPEC = ExportSpec(kind="png", mpp=MPP, patch_size=64)


def test_pictures_and_masks_are_the_truth(project: Project, slide: str, tmp_path: Path) -> None:
    annotate_region(project, slide)
    export_dataset(project, tmp_path / "out", SPEC)
    rows = list(csv.DictReader((tmp_path / "out" / "patches.csv").read_text(encoding="utf-8").splitlines()))
    assert len(rows) == len(build_patchset(project, SPEC))
    with project.open_slide(slide) as opened:
        for row in rows:
            location = (int(row["x"]), int(row["y"]))
            with Image.open(tmp_path / "out" / "images" / row["file"]) as picture:
                np.testing.assert_array_equal(np.asarray(picture), opened.read_region(location, 0, (64, 64)))
            with Image.open(tmp_path / "out" / "masks" / row["file"]) as mask:
                assert mask.mode == "P"
                truth = render_labels(project, slide, location, (64, 64))
                np.testing.assert_array_equal(np.asarray(mask), np.where(truth == 0, 255, truth))


def test_masks_show_the_colours_of_the_scheme(project: Project, slide: str, tmp_path: Path) -> None:
    say(project, slide, Granularity.PIXEL, Box(0, 0, 32, 64), 2)
    export_dataset(project, tmp_path / "out", SPEC)
    with Image.open(tmp_path / "out" / "masks" / "first_x0_y0.png") as mask:
        colors = np.asarray(mask.convert("RGB"))
    assert tuple(colors[0, 0]) == project.scheme["stroma"].color
    assert tuple(colors[0, 40]) == (0, 0, 0)
    classes = json.loads((tmp_path / "out" / "classes.json").read_text(encoding="utf-8"))
    assert [(entry["name"], entry["value"]) for entry in classes["classes"]][:2] == [("tumour", 1), ("stroma", 2)]
    assert classes["unlabelled"]["value"] == 255


@pytest.mark.parametrize(
    ("changes", "values"), [({}, {2, 255}), ({"unlabelled_value": 0}, {0, 2}), ({"unlabelled": "Background"}, {2, 3})]
)
def test_what_unlabelled_pixels_become(
    project: Project, slide: str, tmp_path: Path, changes: dict[str, object], values: set[int]
) -> None:
    say(project, slide, Granularity.PIXEL, Box(0, 0, 32, 64), 2)
    export_dataset(project, tmp_path / "out", SPEC.model_copy(update=changes))
    with Image.open(tmp_path / "out" / "masks" / "first_x0_y0.png") as mask:
        assert set(np.unique(np.asarray(mask))) == values


def test_every_split_has_its_folder(project: Project, make_slide: MakeSlide, tmp_path: Path) -> None:
    for seed, name in enumerate(("a", "b", "c")):
        annotate_region(project, project.add_slide(make_slide(name, seed=seed)).id)
    manifest = export_dataset(project, tmp_path / "out", ExportSpec(kind="png", mpp=1.0, patch_size=64, split="slide"))
    for split in ("train", "validation", "test"):
        images = sorted(path.name for path in (tmp_path / "out" / split / "images").iterdir())
        assert images == sorted(path.name for path in (tmp_path / "out" / split / "masks").iterdir())
        assert len({name.split("_")[0] for name in images}) == 1
        assert manifest.splits[split]["patches"] == len(images)
        assert manifest.splits[split]["pixels"]["tumour"] > 0


def test_slides_of_similar_names_do_not_overwrite_each_other(
    project: Project, make_slide: MakeSlide, tmp_path: Path
) -> None:
    for seed, name in enumerate(("a/b", "a b", "ä")):
        record = project.add_slide(make_slide(f"s{seed}", seed=seed), name=name)
        say(project, record.id, Granularity.PIXEL, Box(0, 0, 64, 64), 1)
    export_dataset(project, tmp_path / "out", SPEC)
    names = sorted(path.name for path in (tmp_path / "out" / "images").iterdir())
    assert names == ["a_b-2_x0_y0.png", "a_b_x0_y0.png", "ä_x0_y0.png"]


def test_patch_sets_are_zarr_groups_that_training_reads(project: Project, slide: str, tmp_path: Path) -> None:
    annotate_region(project, slide)
    spec = ExportSpec(kind="patchset", mpp=MPP, patch_size=64)
    export_dataset(project, tmp_path / "out", spec)
    expected = build_patchset(project, spec)
    assert PatchSet.load(tmp_path / "out" / "patches.zarr").equals(expected)
    group = zarr.open_group(tmp_path / "out" / "patches.zarr", mode="r")
    np.testing.assert_array_equal(group["images"][:], expected.images)
    np.testing.assert_array_equal(group["labels"][:], expected.labels)
    assert group.attrs["classes"] == ["tumour", "stroma", "Background"]
