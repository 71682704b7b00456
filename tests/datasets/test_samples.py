"""Samples say more of a patch than the class of each pixel, and agree with what is annotated there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from histotrain import PatchSet
from histotrain.data import Origin, SampleSource
from histotrain.recipes import Recipe
from histotrain.recipes.settings import SamplingSettings, SupervisionSettings
from napari_histoanno.annotation import Box, Ellipse, Granularity, Point, Scribble
from napari_histoanno.datasets import (
    LabelSampler,
    PatchSpec,
    RenderOptions,
    SamplingSpec,
    SlideLabels,
    build_patchset,
    needs_of,
)
from napari_histoanno.datasets.instances import render_instances, whole_objects
from tests.datasets.conftest import MPP, MakeSlide, annotate_region, say

if TYPE_CHECKING:
    from pathlib import Path

    from napari_histoanno.project import Project

G = Granularity
SPEC = SamplingSpec(mpp=MPP, patch_size=64, hold_out="none")
OBJECTS = frozenset({"pixels", "objects"})


def with_(**changes: object) -> SamplingSpec:
    """The small spec with other values."""
    return SamplingSpec.model_validate({**SPEC.model_dump(), **changes})


def whole(project: Project, slide: str) -> np.ndarray:
    with project.open_slide(slide) as opened:
        return opened.read_region((0, 0), 0, opened.dimensions)


def render(view: SlideLabels, x: float, y: float, side: int) -> tuple[np.ndarray, np.ndarray]:
    labels = view.render((x, y), 1, (side, side))
    return labels, render_instances(view, (x, y), 1, labels)


@pytest.fixture
def gradient(project: Project, make_slide: MakeSlide) -> str:
    """Id of a slide whose first two channels are column and row, in steps of 4 px."""
    ys, xs = np.mgrid[:1024, :1024]
    image = np.stack([xs // 4, ys // 4, np.full_like(xs, 200)], -1).astype(np.uint8)
    return project.add_slide(make_slide("gradient", image)).id


def test_a_sampler_is_a_sample_source_and_batches_are_its_samples(project: Project, slide: str) -> None:
    annotate_region(project, slide)
    spec = with_(origins=True, teaches=OBJECTS, magnifications=(1.0, 2.0))
    sampler = LabelSampler(project, spec)
    assert isinstance(sampler, SampleSource)
    samples = sampler.samples(7, np.random.default_rng(3))
    images, labels = sampler.batch(7, np.random.default_rng(3))
    np.testing.assert_array_equal(samples.images, images)
    np.testing.assert_array_equal(samples.labels, labels)
    assert samples.equals(LabelSampler(project, spec).samples(7, np.random.default_rng(3)))
    assert not samples.equals(sampler.samples(7, np.random.default_rng(4)))


def test_nothing_is_computed_that_is_not_asked_for(project: Project, slide: str) -> None:
    annotate_region(project, slide)
    samples = LabelSampler(project, SPEC).samples(2, np.random.default_rng(0))
    asked = (samples.contexts, samples.origins, samples.instances, samples.valid, samples.shares, samples.patch_classes)
    assert all(value is None for value in asked)


def test_origins_say_which_granularity_painted_a_pixel(project: Project, slide: str) -> None:
    say(project, slide, G.EXHAUSTIVE, Box(0, 0, 256, 256), 0)
    say(project, slide, G.BOX, Box(10, 10, 40, 40), 1)
    say(project, slide, G.ELLIPSE, Ellipse(100, 30, 12, 12, 0), 1)
    say(project, slide, G.POINT, Point(150, 30), 2)
    say(project, slide, G.SPARSE, Scribble(((20, 100), (80, 100)), 10), 1)
    say(project, slide, G.PIXEL, Box(30, 30, 40, 10), 1)
    project.raster(slide).write(150, 150, np.full((20, 20), 2, np.uint8))
    labels, origins = SlideLabels(project, slide).render_origins((0, 0), 1, (300, 300))
    np.testing.assert_array_equal(labels, SlideLabels(project, slide).render((0, 0), 1, (300, 300)))
    np.testing.assert_array_equal(labels != 0, origins != Origin.NONE)
    here = {
        (12, 12): Origin.BOX,
        (35, 35): Origin.PIXEL,  # an outline over the box, of the same class
        (30, 100): Origin.ELLIPSE,
        (30, 150): Origin.POINT,
        (100, 50): Origin.SPARSE,
        (160, 160): Origin.PIXEL,
        (250, 250): Origin.PIXEL,  # the rest of the exhaustive region
        (280, 280): Origin.NONE,
    }
    assert {place: Origin(origins[place]) for place in here} == here


def test_origins_follow_agreement(project: Project, slide: str) -> None:
    say(project, slide, G.ELLIPSE, Ellipse(50, 50, 20, 20, 0), 1)
    say(project, slide, G.PIXEL, Box(30, 30, 20, 40), 1, annotator="one")
    say(project, slide, G.PIXEL, Box(30, 30, 20, 20), 2, annotator="two")
    labels, origins = SlideLabels(project, slide).render_origins((0, 0), 1, (100, 100))
    assert (labels[40, 40], origins[40, 40]) == (0, Origin.NONE)
    assert (labels[60, 45], origins[60, 45]) == (1, Origin.PIXEL)
    assert (labels[50, 60], origins[50, 60]) == (1, Origin.ELLIPSE)


def test_instances_are_the_records_numbered_in_the_patch(project: Project, slide: str) -> None:
    say(project, slide, G.ELLIPSE, Ellipse(30, 30, 10, 6, 0.3), 1)
    say(project, slide, G.BOX, Box(50, 10, 10, 10), 2)
    say(project, slide, G.POINT, Point(20, 55), 1)
    say(project, slide, G.PIXEL, Box(60, 40, 30, 10), 1)  # leaves the patch
    say(project, slide, G.EXHAUSTIVE, Box(0, 0, 500, 500), 0)
    labels, instances = render(SlideLabels(project, slide), 0, 0, 64)
    assert instances.dtype == np.int32
    assert np.unique(instances).tolist() == [0, 1, 2, 3, 4]
    assert len(whole_objects(instances)) == 3
    assert len({(int(i), int(c)) for i, c in zip(instances.ravel(), labels.ravel(), strict=True)}) == 5
    assert (instances == instances[15, 55]).sum() == 100
    assert (instances == instances[55, 20]).sum() == pytest.approx(np.pi * (2.0 / MPP) ** 2, rel=0.1)


def test_painted_blobs_are_instances_and_correct_drawn_ones(project: Project, slide: str) -> None:
    mask = np.zeros((100, 100), np.uint8)
    mask[5:15, 5:15] = 1
    mask[5:15, 30:40] = 1
    mask[40:50, 40:50] = 2
    mask[70:80, 22:40] = 1  # on and beyond an ellipse
    project.raster(slide).write(0, 0, mask)
    say(project, slide, G.ELLIPSE, Ellipse(20, 75, 10, 10, 0), 1)
    labels, instances = render(SlideLabels(project, slide), 0, 0, 128)
    assert instances.max() == 4
    np.testing.assert_array_equal(instances > 0, labels > 0)
    assert instances[75, 35] == instances[75, 15] != 0


def test_touching_outlines_stay_two_objects(project: Project, slide: str) -> None:
    say(project, slide, G.PIXEL, Box(10, 10, 10, 10), 1)
    say(project, slide, G.PIXEL, Box(20, 10, 10, 10), 1)
    _, instances = render(SlideLabels(project, slide), 0, 0, 64)
    assert np.bincount(instances.ravel())[1:].tolist() == [100, 100]


def test_the_same_object_of_two_annotators_is_one(project: Project, slide: str) -> None:
    say(project, slide, G.PIXEL, Box(10, 10, 20, 20), 1, annotator="one")
    say(project, slide, G.PIXEL, Box(12, 10, 20, 20), 1, annotator="two")
    say(project, slide, G.PIXEL, Box(30, 40, 10, 10), 1, annotator="two")
    labels, instances = render(SlideLabels(project, slide), 0, 0, 64)
    assert instances.max() == 2
    np.testing.assert_array_equal(instances > 0, labels > 0)


def test_valid_is_where_objects_are_known(project: Project, slide: str) -> None:
    say(project, slide, G.EXHAUSTIVE, Box(0, 0, 256, 256), 0)
    say(project, slide, G.ELLIPSE, Ellipse(30, 30, 10, 10, 0), 1)
    say(project, slide, G.ELLIPSE, Ellipse(90, 90, 10, 10, 0), 0)  # something unnamed
    say(project, slide, G.ELLIPSE, Ellipse(400, 90, 10, 10, 0), 1)
    say(project, slide, G.SPARSE, Scribble(((400, 150), (500, 150)), 20), 2)
    say(project, slide, G.SPARSE, Scribble(((400, 200), (500, 200)), 20), 3)
    patches = build_patchset(project, PatchSpec(mpp=MPP, patch_size=512, teaches=OBJECTS, min_annotated=0))
    assert patches.valid is not None
    valid = patches.valid[0]
    assert valid[:256, :256].mean() > 0.99
    assert not valid[90, 90]
    assert valid[90, 400]
    assert not valid[120, 400]
    assert not valid[150, 450]  # a stroke over a class says nothing of the objects under it
    assert valid[200, 450]  # but one over background does


def test_an_exhaustive_region_is_valid_where_the_background_is_not_shown(project: Project, slide: str) -> None:
    say(project, slide, G.EXHAUSTIVE, Box(0, 0, 128, 128), 0)
    say(project, slide, G.ELLIPSE, Ellipse(30, 30, 10, 10, 0), 1)
    say(project, slide, G.ELLIPSE, Ellipse(90, 30, 10, 10, 0), 2)
    view = SlideLabels(project, slide, RenderOptions(class_map={1: 1}))
    assert view.render((0, 0), 1, (64, 64))[60, 60] == 0
    valid = view.render_exhaustive((0, 0), 1, (200, 200))
    assert valid[60, 60]
    assert not valid[30, 90]  # an object of a class that is left out
    assert valid.sum() == pytest.approx(128**2 - 100 * np.pi, rel=0.01)
    samples = LabelSampler(project, with_(teaches=OBJECTS, classes=("tumour",))).samples(3, np.random.default_rng(0))
    assert samples.valid is not None
    assert samples.class_ids == (1,)
    assert samples.valid.any(axis=(1, 2)).all()


def test_contexts_have_the_same_centre(project: Project, gradient: str) -> None:
    say(project, gradient, G.PIXEL, Box(300, 300, 200, 400), 1)
    say(project, gradient, G.PIXEL, Box(500, 300, 200, 400), 2)
    samples = LabelSampler(project, with_(magnifications=(1.0, 2.0, 4.0))).samples(12, np.random.default_rng(0))
    assert samples.contexts is not None
    assert samples.contexts.shape == (12, 2, 64, 64, 3)
    middle = samples.images[:, 16:48, 16:48, :2].mean(axis=(1, 2))
    for level, span in ((0, 16), (1, 8)):
        part = slice(32 - span // 2, 32 + span // 2)
        seen = samples.contexts[:, level, part, part, :2].astype(float)
        np.testing.assert_allclose(seen.mean(axis=(1, 2)), middle, atol=0.3)


def test_contexts_are_black_beyond_the_edge(project: Project, gradient: str) -> None:
    say(project, gradient, G.PIXEL, Box(0, 0, 30, 30), 1)
    say(project, gradient, G.PIXEL, Box(30, 0, 30, 30), 2)
    spec = with_(magnifications=(1.0, 2.0), sampling=SamplingSettings(places="grid"))
    samples = LabelSampler(project, spec).samples(2, np.random.default_rng(0))
    assert samples.contexts is not None
    assert not samples.contexts[:, 0, :16].any()
    assert not samples.contexts[:, 0, :, :16].any()
    assert (samples.contexts[:, 0, 16:, 16:, 2] == 200).all()


def test_contexts_of_a_patch_set_are_those_of_the_sampler(project: Project, gradient: str) -> None:
    say(project, gradient, G.PIXEL, Box(128, 128, 64, 32), 1)
    say(project, gradient, G.PIXEL, Box(128, 160, 64, 32), 2)
    frame = {"mpp": MPP, "patch_size": 64, "magnifications": (1.0, 2.0, 4.0), "teaches": OBJECTS, "origins": True}
    patches = build_patchset(project, PatchSpec.model_validate(frame))
    grid = SamplingSpec.model_validate({**frame, "hold_out": "none", "sampling": SamplingSettings(places="grid")})
    samples = LabelSampler(project, grid).samples(1, np.random.default_rng(0))
    for name in ("images", "labels", "contexts", "origins", "instances", "valid"):
        np.testing.assert_array_equal(getattr(samples, name), getattr(patches, name))


def test_shares_are_what_annotators_name(project: Project, slide: str) -> None:
    say(project, slide, G.PIXEL, Box(0, 0, 64, 64), 1, annotator="one")
    say(project, slide, G.PIXEL, Box(0, 0, 32, 64), 1, annotator="two")
    say(project, slide, G.PIXEL, Box(32, 0, 32, 64), 2, annotator="two")
    say(project, slide, G.PIXEL, Box(32, 0, 32, 32), 1, annotator="three")
    say(project, slide, G.PIXEL, Box(100, 0, 32, 32), 2, annotator="three")
    view = SlideLabels(project, slide)
    shares = view.render_shares((0, 0), 1, (128, 80), (2, 1))
    np.testing.assert_allclose(shares[10, 10], (0, 1))
    np.testing.assert_allclose(shares[10, 40], (1 / 3, 2 / 3))
    np.testing.assert_allclose(shares[50, 40], (1 / 2, 1 / 2))
    np.testing.assert_allclose(shares[70, 40], (0, 0))
    labels = view.render((0, 0), 1, (128, 80))
    assert (labels[10, 10], labels[10, 40]) == (1, 0)
    spec = with_(sampling=SamplingSettings(disagreement="shares"))
    samples = LabelSampler(project, spec).samples(4, np.random.default_rng(0))
    assert samples.shares is not None
    assert samples.labels is not None
    agreed = samples.labels > 0
    np.testing.assert_array_equal(samples.shares[agreed].argmax(-1) + 1, samples.labels[agreed])
    assert set(np.unique(samples.shares.sum(-1))) <= {np.float32(0), np.float32(1)}


def test_a_finer_annotation_ends_the_dispute_over_a_coarser_one(project: Project, slide: str) -> None:
    say(project, slide, G.BOX, Box(0, 0, 40, 40), 1, annotator="one")
    say(project, slide, G.BOX, Box(0, 0, 40, 40), 2, annotator="two")
    say(project, slide, G.PIXEL, Box(0, 0, 40, 20), 2, annotator="one")
    shares = SlideLabels(project, slide).render_shares((0, 0), 1, (40, 40), (1, 2))
    np.testing.assert_allclose(shares[10, 10], (0, 1))
    np.testing.assert_allclose(shares[30, 10], (0.5, 0.5))


def test_held_out_labels_reach_no_training_patch(project: Project, make_slide: MakeSlide) -> None:
    slide = project.add_slide(make_slide("large", size=(1280, 1280))).id
    say(project, slide, G.PIXEL, Box(0, 0, 1280, 640), 1)
    say(project, slide, G.PIXEL, Box(0, 640, 1280, 640), 2)
    image = whole(project, slide)
    places = [SamplingSettings(), SamplingSettings(places="grid", stride=0.5), SamplingSettings(places="centred")]
    for sampling in (*places, SamplingSettings(multiply=True), SamplingSettings(sparse_per_dense=4.0)):
        sampler = LabelSampler(project, with_(hold_out="auto", sampling=sampling))
        assert sampler.held.boxes
        pixels = held_pixels(image, sampler.held.boxes[slide])
        samples = sampler.samples(40, np.random.default_rng(0))
        seen = samples.images.reshape(-1, 3).astype(np.int64) @ (65536, 256, 1)
        # Pixels are noise: a run of three that is held out is found nowhere else.
        runs = seen[:-2] << 40 ^ seen[1:-1] << 20 ^ seen[2:]
        if not sampling.multiply:
            assert not np.isin(runs, pixels).any()
        if sampler.validation is not None and sampling.places != "centred":
            shown = sampler.validation.images.reshape(-1, 3).astype(np.int64) @ (65536, 256, 1)
            assert np.isin(shown[:-2] << 40 ^ shown[1:-1] << 20 ^ shown[2:], pixels).mean() > 0.9


def held_pixels(image: np.ndarray, boxes: tuple[tuple[float, float, float, float], ...]) -> np.ndarray:
    """Runs of three pixels in what is held out, as numbers."""
    runs = []
    for x0, y0, x1, y1 in boxes:
        code = image[int(y0) : int(y1), int(x0) : int(x1)].astype(np.int64) @ (65536, 256, 1)
        runs.append((code[:, :-2] << 40 ^ code[:, 1:-1] << 20 ^ code[:, 2:]).ravel())
    return np.concatenate(runs)


def test_class_counts_are_the_labelled_pixels_of_training(project: Project, slide: str) -> None:
    say(project, slide, G.PIXEL, Box(0, 0, 100, 100), 2)
    say(project, slide, G.PIXEL, Box(300, 300, 50, 10), 1)
    sampler = LabelSampler(project, SPEC)
    assert sampler.class_ids == (1, 2)
    np.testing.assert_array_equal(sampler.class_counts(), (500, 10000))
    assert sampler.class_counts().dtype == np.int64


@pytest.mark.parametrize(
    ("recipe", "needs"),
    [
        (Recipe(), {"teaches": {"pixels"}, "magnifications": (1.0,), "origins": False, "stain": None, "mpp": 0.5}),
        (Recipe(supervision=SupervisionSettings()), {"origins": True}),
        (Recipe(model="hovernet"), {"teaches": {"pixels", "objects"}}),
        (Recipe(model="detection-unet"), {"teaches": {"pixels", "objects"}}),
        (Recipe(model="dmmn-m3"), {"magnifications": (1.0, 2.0, 4.0)}),
        (Recipe(model="classify/resnet18"), {"teaches": {"patches"}}),
        (Recipe(model="ciga-martel"), {"teaches": {"pixels", "patches"}}),
        (Recipe(model="ciga-martel", supervision=SupervisionSettings(patch=0)), {"teaches": {"pixels"}}),
        (Recipe(patch_size=128, sampling=SamplingSettings(window=32)), {"mpp": 0.125, "patch_size": 128}),
    ],
)
def test_a_recipe_says_what_it_needs(recipe: Recipe, needs: dict[str, object]) -> None:
    found = needs_of(recipe)
    assert {name: found[name] for name in needs} == needs
    assert SamplingSpec.model_validate(found).model_dump(include=set(needs)) == needs


def test_patch_sets_of_samples_survive_saving(project: Project, slide: str, tmp_path: Path) -> None:
    annotate_region(project, slide)
    spec = with_(origins=True, teaches=OBJECTS, magnifications=(1.0, 2.0))
    samples = LabelSampler(project, spec).samples(3, np.random.default_rng(0))
    samples.save(tmp_path / "patches.zarr")
    assert PatchSet.load(tmp_path / "patches.zarr").equals(samples)
