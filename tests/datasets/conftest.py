"""Small projects with slides whose every pixel is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_histoanno.annotation import Annotation, Box, Ellipse, Granularity, LabelScheme
from napari_histoanno.project import Project

MPP = 0.5
MakeSlide = Callable[..., Path]
Annotate = Callable[..., Annotation]


@pytest.fixture
def make_slide(tmp_path: Path) -> MakeSlide:
    """Writes a tiled TIFF of 0.5 µm/px; noise from a seed unless an image is given."""

    def make(name: str, image: np.ndarray | None = None, *, seed: int = 0, size: tuple[int, int] = (1024, 768)) -> Path:
        if image is None:
            image = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
        path = tmp_path / f"{name}.tif"
        resolution = (1e4 / MPP, 1e4 / MPP)
        tifffile.imwrite(
            path, image, photometric="rgb", tile=(256, 256), resolution=resolution, resolutionunit="CENTIMETER"
        )
        return path

    return make


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project with classes tumour 1, stroma 2, Background 3 (the background) and no slides."""
    scheme = LabelScheme.from_names(["tumour", "stroma", "Background"], background="Background")
    with Project.create(tmp_path / "project", scheme=scheme, annotator="ann") as created:
        yield created


@pytest.fixture
def slide(project: Project, make_slide: MakeSlide) -> str:
    """Id of a slide of 1024 x 768 px."""
    return project.add_slide(make_slide("first")).id


def say(project: Project, slide: str, granularity: Granularity, geometry, class_id: int = 1, **changes) -> Annotation:
    """Store one annotation."""
    record = Annotation(slide, granularity, geometry, class_id, **{"annotator": "ann", **changes})
    return project.annotations.add([record])[0]


def annotate_region(project: Project, slide: str) -> None:
    """An exhaustive region with a box, an ellipse and a painted patch in it."""
    say(project, slide, Granularity.EXHAUSTIVE, Box(64, 64, 512, 512), 0)
    say(project, slide, Granularity.PIXEL, Box(80, 80, 120, 90), 1)
    say(project, slide, Granularity.ELLIPSE, Ellipse(400, 200, 60, 30, 0.4), 1)
    project.raster(slide).write(320, 128, np.full((80, 200), 2, np.uint8))
