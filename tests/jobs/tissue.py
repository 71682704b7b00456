"""A small picture that a network learns in a few steps, and a project with a few strokes on it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import imagecodecs
import numpy as np

from histotrain.recipes import AugmentSettings, Recipe
from napari_histoanno.annotation import Annotation, Box, Granularity, LabelScheme
from napari_histoanno.project import Project

if TYPE_CHECKING:
    from pathlib import Path

# Before torch is loaded: on a busy machine threads that wait for each other make these small steps ten times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")

WIDTH, HEIGHT = 700, 520
TUMOUR, STROMA = 1, 2

RECIPE = Recipe(
    name="tiny",
    mpp=0.5,
    patch_size=32,
    batch_size=4,
    steps=14,
    validate_every=7,
    warmup=0,
    learning_rate=3e-3,
    precision="float32",
    augment=AugmentSettings.off(),
)
ENDLESS = RECIPE.with_changes(steps=100_000, validate_every=100_000)


def write_picture(path: Path) -> Path:
    """Purple on the left, pink on the right, glass below; some noise."""
    rng = np.random.default_rng(0)
    picture = np.empty((HEIGHT, WIDTH, 3), np.int16)
    picture[:, : WIDTH // 2] = (110, 60, 150)
    picture[:, WIDTH // 2 :] = (230, 150, 190)
    picture[400:] = (245, 245, 245)
    picture += rng.integers(-10, 10, picture.shape, dtype=np.int16)
    path.write_bytes(imagecodecs.png_encode(picture.clip(0, 255).astype(np.uint8)))
    return path


def make_project(folder: Path) -> Project:
    """A project with the picture at 0.5 µm per pixel and boxes of both classes."""
    folder.mkdir(parents=True, exist_ok=True)
    project = Project.create(folder / "study", scheme=LabelScheme.from_names(["Tumour", "Stroma"]), annotator="Ada")
    slide = project.add_slide(write_picture(folder / "slide.png"))
    project.update_slide(slide.id, mpp=0.5)
    places = [(40, 40), (160, 220), (40, 300), (250, 60)]
    project.annotations.add(
        Annotation(slide.id, Granularity.PIXEL, Box(x + dx, y, 48, 48), class_id)
        for x, y in places
        for class_id, dx in ((TUMOUR, 0), (STROMA, WIDTH // 2))
    )
    return project
