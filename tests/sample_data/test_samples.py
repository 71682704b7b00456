"""The slides that ship: found, small, readable, true; and the project that is begun on them."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_histoanno import samples
from napari_histoanno.annotation import Granularity, Source, rasterize
from napari_histoanno.project import Project, ProjectError
from napari_histoanno.slides import open_slide
from sample_data.generator import NUCLEUS_CLASSES, REGION_CLASSES, make_slide

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMES = ("harbour", "meadow")
MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with samples.sample_project(tmp_path_factory.mktemp("sample") / "project") as project:
        yield project


def test_two_slides_ship_and_are_small() -> None:
    paths = samples.sample_slides()
    assert [path.name for path in paths] == [f"{name}.ome.tif" for name in NAMES]
    assert all(path.stat().st_size <= 6 * MEGABYTE for path in paths)
    files = [path for path in samples.sample_folder().iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 15 * MEGABYTE


@pytest.mark.parametrize("name", NAMES)
def test_slides_open_as_pyramids(name: str) -> None:
    path = next(path for path in samples.sample_slides() if path.name.startswith(name))
    with open_slide(path) as slide:
        assert slide.mpp == pytest.approx(0.5)
        assert len(slide.levels) >= 3
        width, height = slide.dimensions
        assert min(width, height) >= 3000
        assert slide.read_region((width // 2, height // 2), 0, (64, 48)).shape == (48, 64, 3)


@pytest.mark.parametrize("name", NAMES)
def test_truth_belongs_to_its_slide(name: str) -> None:
    truth = samples.sample_truth(name)
    with open_slide(samples.sample_folder() / f"{name}.ome.tif") as slide:
        width, height = slide.dimensions
        image = slide.read_region((0, 0), 0, (width, height))
    assert truth.regions.shape == truth.instances.shape == (height, width)
    np.testing.assert_array_equal(truth.ids, np.arange(1, truth.instances.max() + 1))
    np.testing.assert_array_equal(truth.areas, np.bincount(truth.instances.ravel())[1:])
    # Nuclei are dark and glass is bright exactly where the truth says so.
    nuclei, glass = image[truth.instances > 0].mean(), image[truth.regions == 6].mean()
    assert nuclei < image[(truth.instances == 0) & (truth.regions < 5)].mean() - 30
    assert glass > 225
    columns, rows = truth.points.astype(int).T
    np.testing.assert_array_equal(truth.instances[rows, columns], truth.ids)
    assert np.all(truth.boxes[:, :2] >= 0)


def test_class_names_are_those_of_the_generator() -> None:
    assert samples.REGION_CLASSES == REGION_CLASSES
    assert samples.NUCLEUS_CLASSES == NUCLEUS_CLASSES
    assert {c.id: c.name for c in samples.sample_scheme()} == REGION_CLASSES


def test_patch_labels_name_the_majority() -> None:
    truth = samples.sample_truth("meadow")
    labels = truth.patch_labels(256)
    assert labels.shape == (truth.regions.shape[0] // 256, truth.regions.shape[1] // 256)
    assert labels[3, 4] == np.bincount(truth.regions[768:1024, 1024:1280].ravel()).argmax()


def test_an_unknown_name_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(samples.SampleError, match="harbour, meadow"):
        samples.sample_truth("nowhere")


def test_missing_files_say_where_they_should_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(samples, "__file__", str(tmp_path / "napari_histoanno" / "samples.py"))
    with pytest.raises(samples.SampleError, match="sample_data"):
        samples.sample_slides()


def test_an_installed_package_is_preferred(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    inside = tmp_path / "napari_histoanno" / "_sample_data"
    inside.mkdir(parents=True)
    (inside / "one.ome.tif").touch()
    monkeypatch.setattr(samples, "__file__", str(tmp_path / "napari_histoanno" / "samples.py"))
    assert samples.sample_slides() == [inside / "one.ome.tif"]


def test_the_project_is_begun(project: Project) -> None:
    assert [slide.name for slide in project.slides] == list(NAMES)
    assert len({slide.patient for slide in project.slides}) == 2
    assert [c.hotkey for c in project.scheme] == ["1", "2", "3", "4", "5", "6"]
    background = project.scheme.background
    assert background is not None
    assert background.name == "Background"
    for slide in project.slides:
        counts = project.raster(slide.id).counts()
        assert set(counts) - {0} == set(REGION_CLASSES)
        found = {record.granularity for record in project.annotations.query(slide.id)}
        assert {Granularity.SPARSE, Granularity.ELLIPSE, Granularity.BOX, Granularity.POINT} <= found
    assert project.annotations.count(granularities=[Granularity.EXHAUSTIVE]) == 1
    assert all(record.source is Source.DRAWN for record in project.annotations.query())


def test_what_is_painted_and_scribbled_is_true(project: Project) -> None:
    for slide in project.slides:
        truth = samples.sample_truth(slide.name)
        height, width = truth.regions.shape
        painted = project.raster(slide.id).read(0, 0, height, 0, width)
        region = project.annotations.query(slide.id, granularities=[Granularity.EXHAUSTIVE])
        wrong = (painted > 0) & (painted != truth.regions)
        assert wrong.sum() < 0.02 * (painted > 0).sum()
        if not region:
            assert wrong.sum() == 0
        scribbles = project.annotations.query(slide.id, granularities=[Granularity.SPARSE])
        mask = rasterize([(s.geometry, s.class_id) for s in scribbles], (width, height))
        np.testing.assert_array_equal(mask[mask > 0], truth.regions[mask > 0])


def test_the_exhaustive_region_is_full_and_varied(project: Project) -> None:
    (record,) = project.annotations.query(granularities=[Granularity.EXHAUSTIVE])
    x0, y0, x1, y1 = (int(v) for v in record.bounds)
    inside = project.raster(record.slide).read(0, y0, y1, x0, x1)
    assert (inside > 0).all()
    assert len(np.unique(inside)) >= 3


def test_nuclei_are_marked_on_nuclei(project: Project) -> None:
    slide = project.find_slide("harbour")
    truth = samples.sample_truth("harbour")
    points = project.annotations.query(slide.id, granularities=[Granularity.POINT])
    assert len(points) >= 30
    for record in points:
        x0, y0, _, _ = record.bounds
        assert truth.instances[int(y0), int(x0)] > 0


def test_a_second_project_in_the_same_place_is_refused(project: Project) -> None:
    with pytest.raises(ProjectError, match="holds a project"):
        samples.sample_project(project.path)


def test_the_generator_is_found_without_its_checkout_on_the_path(tmp_path: Path) -> None:
    program = (
        "import sys; sys.path[:] = [p for p in sys.path if p]; import napari_histoanno.samples as s; "
        "slide = s.make_slide(3, (320, 256)); assert 'sample_data' not in sys.modules; print(slide.image.shape)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "(256, 320, 3)", done.stderr


def test_the_same_slide_comes_from_either_way_to_the_generator() -> None:
    np.testing.assert_array_equal(samples.make_slide(3, (320, 256)).image, make_slide(3, (320, 256)).image)
