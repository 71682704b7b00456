"""Every way of sampling on a real slide with a few drawn annotations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from histotrain.data import Origin
from histotrain.recipes import Recipe
from histotrain.recipes.settings import SamplingSettings, SupervisionSettings
from napari_histoanno.annotation import Box, Ellipse, Granularity, LabelScheme, Point, Scribble
from napari_histoanno.datasets import LabelSampler, SamplingSpec, SlideLabels, needs_of
from napari_histoanno.project import Project
from tests.datasets.conftest import say

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

G = Granularity
SIDE = 96

pytestmark = pytest.mark.real_data


@pytest.fixture
def project(tmp_path: Path, real_data: Path) -> Iterator[Project]:
    scheme = LabelScheme.from_names(["nucleus", "stroma", "Background"], background="Background")
    with Project.create(tmp_path / "project", scheme=scheme, annotator="ann") as created:
        slide = created.add_slide(real_data / "slides" / "CMU-1-Small-Region.svs").id
        say(created, slide, G.EXHAUSTIVE, Box(600, 560, 300, 300), 0)
        for x in range(630, 880, 60):
            say(created, slide, G.ELLIPSE, Ellipse(x, 640, 14, 9, 0.5), 1)
            say(created, slide, G.BOX, Box(x, 700, 20, 16), 1)
            say(created, slide, G.POINT, Point(x, 780), 1)
        say(created, slide, G.SPARSE, Scribble(((1200, 400), (1320, 470)), 12), 2)
        say(created, slide, G.PIXEL, Box(1300, 1200, 400, 350), 2)
        created.raster(slide).write(900, 1200, np.full((60, 80), 1, np.uint8))
        say(created, slide, G.IMAGE, Box(0, 1400, 1200, 1200), 2)
        say(created, slide, G.IMAGE, Box(1200, 1700, 900, 900), 1)
        yield created


MODES = {
    "annotated": Recipe(patch_size=SIDE),
    "origins": Recipe(patch_size=SIDE, supervision=SupervisionSettings()),
    "stain": Recipe(patch_size=SIDE, stain="macenko"),
    "objects": Recipe(patch_size=SIDE, model="hovernet", sampling=SamplingSettings(whole_object=True)),
    "several magnifications": Recipe(
        patch_size=SIDE, model="dmmn-m3", sampling=SamplingSettings(places="grid", min_annotated=0.01, multiply=True)
    ),
    "windows": Recipe(
        patch_size=SIDE,
        model="classify/resnet18",
        sampling=SamplingSettings(places="grid", stride=0.5, window=64, patch_label="single-or-highest"),
    ),
    "centred on stained tissue": Recipe(
        patch_size=SIDE, model="ciga-martel", sampling=SamplingSettings(places="centred", tissue="hsv", min_tissue=0.25)
    ),
    "dominant": Recipe(
        patch_size=SIDE, model="ciga-martel", sampling=SamplingSettings(places="grid", patch_label="dominant")
    ),
    "sparse and dense": Recipe(patch_size=SIDE, sampling=SamplingSettings(sparse_per_dense=4.0)),
    "shares": Recipe(patch_size=SIDE, sampling=SamplingSettings(disagreement="shares", tissue="otsu", min_tissue=0.5)),
}


@pytest.mark.parametrize("recipe", MODES.values(), ids=MODES)
def test_samples_are_pixels_of_the_slide_and_what_is_annotated_there(project: Project, recipe: Recipe) -> None:
    spec = SamplingSpec.model_validate({**needs_of(recipe), "hold_out": "none"})
    sampler = LabelSampler(project, spec)
    samples = sampler.samples(12, np.random.default_rng(0))
    assert samples.equals(sampler.samples(12, np.random.default_rng(0)))
    assert samples.images.shape == (12, SIDE, SIDE, 3)
    assert samples.labels is not None
    assert set(np.unique(samples.labels)) <= {0, *sampler.class_ids}
    learnt = samples.labels.any(axis=(1, 2))
    if samples.patch_classes is not None:
        learnt |= samples.patch_classes > 0
    assert learnt.all()
    assert samples.images.std(axis=(1, 2, 3)).min() > 1
    assert (sampler.class_counts() > 0).all()
    if samples.origins is not None:
        np.testing.assert_array_equal(samples.origins != Origin.NONE, samples.labels != 0)
        assert len(np.unique(samples.origins)) >= 4
    if samples.instances is not None:
        assert samples.valid is not None
        assert (samples.valid | (samples.instances == 0)).all()
        assert (samples.labels[samples.instances > 0] != 3).all()
    if samples.contexts is not None:
        assert samples.contexts.shape == (12, 2, SIDE, SIDE, 3)


def test_fixed_patches_are_those_of_the_label_map(project: Project) -> None:
    recipe = Recipe(patch_size=SIDE, sampling=SamplingSettings(places="centred"))
    sampler = LabelSampler(project, SamplingSpec.model_validate({**needs_of(recipe), "hold_out": "none"}))
    samples = sampler.samples(30, np.random.default_rng(1))
    assert samples.labels is not None
    (record,) = project.slides
    view = SlideLabels(project, record.id)
    downsample = 0.5 / view.mpp
    whole = view.render((0, 0), downsample, tuple(round(side / downsample) for side in view.extent))  # type: ignore[arg-type]
    rows = {row.tobytes() for row in np.lib.stride_tricks.sliding_window_view(whole, SIDE, axis=1).reshape(-1, SIDE)}
    assert all(row.tobytes() in rows for labels in samples.labels for row in labels)
