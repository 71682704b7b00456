"""Slides come in one look, and each is measured once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from histotrain.stain import stain_look
from histotrain.stain_use import stain_target
from histotrain.stain_vectors import RUIFROK
from napari_histoanno.annotation import Box, Granularity
from napari_histoanno.datasets import LabelSampler, PatchSpec, SamplingSpec, build_patchset
from napari_histoanno.datasets.stains import normaliser_of, stain_sample
from tests.datasets.conftest import MPP, MakeSlide, say

if TYPE_CHECKING:
    import pytest

    from napari_histoanno.project import Project

G = Granularity
MACENKO = stain_target("macenko")


def stained(seed: int, strength: float) -> np.ndarray:
    """Tissue in two stains on the left, in squares that are as large as nuclei, glass on the right."""
    amounts = np.random.default_rng(seed).gamma(2.0, strength, (48, 64, 2)).repeat(16, 0).repeat(16, 1)
    image = (255 * np.exp(-amounts @ RUIFROK)).astype(np.uint8)
    image[:, 768:] = 244
    return image


def annotated(project: Project, make_slide: MakeSlide, image: np.ndarray, name: str = "stained") -> str:
    slide = project.add_slide(make_slide(name, image)).id
    say(project, slide, G.PIXEL, Box(0, 0, 300, 300), 1)
    say(project, slide, G.PIXEL, Box(300, 0, 300, 300), 2)
    return slide


def test_a_sample_of_tissue_is_measured(project: Project, make_slide: MakeSlide) -> None:
    slide = annotated(project, make_slide, stained(0, 0.3))
    with project.open_slide(slide) as opened:
        pixels, tissue = stain_sample(opened)
    assert pixels.shape[:2] == tissue.shape
    assert pixels.shape[0] % pixels.shape[1] == 0
    assert pixels[tissue].mean() < 200


def test_patches_come_in_the_target_look(project: Project, make_slide: MakeSlide) -> None:
    slide = annotated(project, make_slide, stained(0, 0.15))
    spec = SamplingSpec(mpp=MPP, patch_size=64, hold_out="none")
    raw = LabelSampler(project, spec).samples(16, np.random.default_rng(0))
    changed = spec.model_copy(update={"stain": MACENKO, "magnifications": (1.0, 2.0)})
    sampler = LabelSampler(project, changed)
    normalised = sampler.samples(16, np.random.default_rng(0))
    wanted = np.array(MACENKO["strengths"])
    looks = [stain_look(patches.images, "macenko") for patches in (raw, normalised)]
    assert all(look is not None for look in looks)
    before, after = (np.abs(np.array(look.strengths) / wanted - 1).max() for look in looks if look is not None)
    assert after < 0.2 < before
    with project.open_slide(slide) as opened:
        change = normaliser_of(opened, MACENKO)
    plain = LabelSampler(project, spec.model_copy(update={"magnifications": (1.0, 2.0)}))
    expected = plain.samples(16, np.random.default_rng(0))
    np.testing.assert_array_equal(normalised.images, change(expected.images))
    assert normalised.contexts is not None
    patches = build_patchset(project, PatchSpec(mpp=MPP, patch_size=64, stain=MACENKO))
    unchanged = build_patchset(project, PatchSpec(mpp=MPP, patch_size=64))
    np.testing.assert_array_equal(patches.images, change(unchanged.images))


def test_a_slide_is_measured_once(project: Project, make_slide: MakeSlide, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_histoanno.datasets import reading

    annotated(project, make_slide, stained(0, 0.2))
    measured = []
    monkeypatch.setattr(reading, "normaliser_of", lambda *args: measured.append(args) or normaliser_of(*args))
    sampler = LabelSampler(project, SamplingSpec(mpp=MPP, patch_size=64, stain=MACENKO))
    for seed in range(4):
        sampler.samples(6, np.random.default_rng(seed))
    assert len(measured) == 1


def test_a_slide_that_cannot_be_measured_keeps_its_colours_and_is_named(
    project: Project, make_slide: MakeSlide
) -> None:
    image = np.full((768, 1024, 3), 244, np.uint8)
    annotated(project, make_slide, image, "glass")
    sampler = LabelSampler(project, SamplingSpec(mpp=MPP, patch_size=64, stain=MACENKO))
    samples = sampler.samples(3, np.random.default_rng(0))
    assert (samples.images == 244).all()
    assert any("glass" in notice for notice in sampler.notices)
