"""Training patches are balanced over classes, repeatable, and never touch what validates them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest

from histotrain import PatchSource
from napari_histoanno.annotation import Box, Ellipse, Granularity, Point
from napari_histoanno.datasets import DatasetError, HeldOut, LabelSampler, SamplingSpec, SlideLabels, build_sampler
from tests.datasets.conftest import MPP, MakeSlide, annotate_region, say

if TYPE_CHECKING:
    from pathlib import Path

    from napari_histoanno.project import Project

G = Granularity
SPEC = SamplingSpec(mpp=MPP, patch_size=64)


def find_patch(image: np.ndarray, whole: np.ndarray) -> tuple[int, int]:
    """Top and left of a patch of noise in the image it was cut from."""
    side = len(image)
    code = whole.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    for y, x in np.argwhere(code == int(image[0, 0] @ np.array([1 << 16, 1 << 8, 1]))):
        if np.array_equal(whole[y : y + side, x : x + side], image):
            return int(y), int(x)
    raise AssertionError("the patch is not part of the slide")


def test_a_sampler_is_a_patch_source(project: Project, slide: str) -> None:
    annotate_region(project, slide)
    sampler, _ = build_sampler(project, SPEC)
    assert isinstance(sampler, PatchSource)
    images, labels = sampler.batch(5, np.random.default_rng(0))
    assert (images.shape, labels.shape) == ((5, 64, 64, 3), (5, 64, 64))
    assert images.dtype == labels.dtype == np.uint8
    assert sampler.classes == ("tumour", "stroma", "Background")
    assert sampler.class_ids == (1, 2, 3)


def test_images_and_labels_are_those_of_the_slide(project: Project, slide: str) -> None:
    annotate_region(project, slide)
    sampler = LabelSampler(project, SPEC)
    with project.open_slide(slide) as opened:
        whole = opened.read_region((0, 0), 0, opened.dimensions)
    images, labels = sampler.batch(24, np.random.default_rng(1))
    view = SlideLabels(project, slide)
    for image, label in zip(images, labels, strict=True):
        y, x = find_patch(image, whole)
        np.testing.assert_array_equal(label, view.render((x, y), 1, (64, 64)))


def test_a_rare_class_is_drawn_as_often_as_the_others(project: Project, slide: str) -> None:
    say(project, slide, G.PIXEL, Box(0, 0, 1000, 400), 1)
    say(project, slide, G.POINT, Point(500, 600), 2)
    sampler = LabelSampler(project, SPEC.model_copy(update={"hold_out": "none"}))
    _, labels = sampler.batch(40, np.random.default_rng(0))
    assert (labels == 2).any(axis=(1, 2)).sum() == 20


def test_equal_generators_give_equal_batches(project: Project, slide: str) -> None:
    annotate_region(project, slide)
    first, second = LabelSampler(project, SPEC), LabelSampler(project, SPEC)
    for one, other in zip(
        first.batch(9, np.random.default_rng(7)), second.batch(9, np.random.default_rng(7)), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert first.validation is not None
    assert second.validation is not None
    assert first.validation.equals(second.validation)


def test_threads_may_draw_together(project: Project, slide: str) -> None:
    annotate_region(project, slide)
    alone = LabelSampler(project, SPEC)
    expected = [alone.batch(4, np.random.default_rng(seed))[0] for seed in range(12)]
    tight = LabelSampler(project, SPEC.model_copy(update={"cache_bytes": 40_000}))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda seed: tight.batch(4, np.random.default_rng(seed))[0], range(12)))
    np.testing.assert_array_equal(found, expected)


def test_validation_on_one_slide_keeps_a_gap_of_a_patch(project: Project, make_slide: MakeSlide) -> None:
    slide = project.add_slide(make_slide("large", size=(1280, 1280))).id
    say(project, slide, G.PIXEL, Box(0, 0, 1280, 640), 1)
    say(project, slide, G.PIXEL, Box(0, 640, 1280, 640), 2)
    sampler = LabelSampler(project, SPEC)
    assert sampler.validation is not None
    with project.open_slide(slide) as opened:
        whole = opened.read_region((0, 0), 0, opened.dimensions)
    held = np.array([find_patch(image, whole) for image in sampler.validation.images])
    assert set(np.unique(sampler.validation.labels)) == {1, 2}
    images, _ = sampler.batch(80, np.random.default_rng(0))
    drawn = np.array([find_patch(image, whole) for image in images])
    distance = np.abs(drawn[:, None] - held[None]).max(-1)
    assert distance.min() >= 2 * 64  # a patch between them


def test_a_training_that_goes_on_leaves_out_the_same_places(project: Project, make_slide: MakeSlide) -> None:
    slide = project.add_slide(make_slide("large", size=(1280, 1280))).id
    say(project, slide, G.PIXEL, Box(0, 0, 640, 640), 1)
    say(project, slide, G.PIXEL, Box(0, 640, 640, 640), 2)
    first = LabelSampler(project, SPEC)
    assert first.validation is not None
    say(project, slide, G.PIXEL, Box(640, 0, 640, 1280), 3)
    held = HeldOut.model_validate(first.lineage()["held"])
    second = LabelSampler(project, SPEC.model_copy(update={"held": held, "seed": 9, "max_validation": 999}))
    assert second.held == first.held
    assert second.validation is not None
    again = {image.tobytes() for image in second.validation.images}
    assert all(image.tobytes() in again for image in first.validation.images)
    finer = LabelSampler(project, SamplingSpec(mpp=MPP, patch_size=32, held=held, max_validation=9999))
    assert finer.validation is not None
    assert len(finer.validation) == 4 * len(second.validation)


def test_going_on_from_a_model_that_held_nothing_out_is_said(project: Project, slide: str) -> None:
    annotate_region(project, slide)
    sampler = LabelSampler(project, SPEC.model_copy(update={"held": HeldOut()}))
    assert sampler.validation is not None
    assert "held nothing out" in sampler.notices[0]


def test_places_learnt_from_never_validate_the_model_that_goes_on(project: Project, make_slide: MakeSlide) -> None:
    slides = {n: project.add_slide(make_slide(n, seed=seed), patient=n).id for seed, n in enumerate("abcd")}
    for name in "abc":
        annotate_region(project, slides[name])
    names = {slide: name for name, slide in slides.items()}
    first = LabelSampler(project, SPEC)
    (held,) = (names[slide] for slide in first.held.slides)
    learnt = sorted({*"abc"} - {held})
    assert sorted(names[slide] for slide in first.lineage()["learnt"]) == learnt
    project.update_slide(slides[learnt[0]], split="validation")
    annotate_region(project, slides["d"])
    second = LabelSampler(project, SPEC.after(first.lineage(), project.slides))
    assert second.validation is not None
    assert set(second.validation.slides) == {held}
    assert second.notices[0].endswith(f": {learnt[0]}.")
    assert sorted(names[slide] for slide in second.lineage()["learnt"]) == [*learnt, "d"]
    project.update_slide(slides["d"], split="validation")
    third = LabelSampler(project, SPEC.after(first.lineage(), project.slides))
    assert third.validation is not None
    assert set(third.validation.slides) == {held, "d"}
    fourth = LabelSampler(project, SPEC.after(second.lineage(), project.slides))
    assert fourth.validation is not None
    assert set(fourth.validation.slides) == {held}


def test_a_slide_marked_as_validation_is_only_that(project: Project, make_slide: MakeSlide) -> None:
    slides = [project.add_slide(make_slide(name, seed=seed)).id for seed, name in enumerate("abc")]
    for slide in slides:
        annotate_region(project, slide)
    project.update_slide(slides[1], split="validation")
    project.update_slide(slides[2], split="test")
    sampler = LabelSampler(project, SPEC)
    assert sampler.validation is not None
    assert set(sampler.validation.slides) == {"b"}
    with project.open_slide(slides[0]) as opened:
        whole = opened.read_region((0, 0), 0, opened.dimensions)
    for image in sampler.batch(30, np.random.default_rng(0))[0]:
        find_patch(image, whole)


def test_with_several_slides_whole_patients_are_held_out(project: Project, make_slide: MakeSlide) -> None:
    for seed, (name, patient) in enumerate((("a", "p"), ("b", "p"), ("c", "q"), ("d", "r"))):
        annotate_region(project, project.add_slide(make_slide(name, seed=seed), patient=patient).id)
    sampler = LabelSampler(project, SPEC)
    assert sampler.validation is not None
    assert set(sampler.validation.slides) in ({"c"}, {"d"}, {"a", "b"})


def test_validation_is_limited_and_holds_every_class(project: Project, make_slide: MakeSlide) -> None:
    for name in "ab":
        annotate_region(project, project.add_slide(make_slide(name, seed=ord(name))).id)
    sampler = LabelSampler(project, SPEC.model_copy(update={"max_validation": 3}))
    assert sampler.validation is not None
    assert len(sampler.validation) == 3
    assert {1, 2, 3} <= set(np.unique(sampler.validation.labels))
    assert sampler.validation.class_ids == sampler.class_ids


def test_too_little_to_validate_on_is_said(project: Project, slide: str) -> None:
    say(project, slide, G.PIXEL, Box(10, 10, 20, 20), 1)
    say(project, slide, G.PIXEL, Box(40, 10, 20, 20), 2)
    sampler = LabelSampler(project, SPEC)
    assert sampler.validation is None
    assert "nothing to validate on" in sampler.notices[0]


@pytest.mark.parametrize(("drawn", "reason"), [([], "nothing is"), ([1], "only 'tumour' is")])
def test_two_classes_are_needed(project: Project, slide: str, drawn: list[int], reason: str) -> None:
    for class_id in drawn:
        say(project, slide, G.PIXEL, Box(10, 10, 20, 20), class_id)
    with pytest.raises(DatasetError, match=rf"{reason} annotated.*at least two classes"):
        LabelSampler(project, SPEC)


def test_reloading_takes_up_what_another_process_would_see(project: Project, slide: str) -> None:
    say(project, slide, G.PIXEL, Box(0, 0, 100, 100), 1)
    say(project, slide, G.PIXEL, Box(0, 200, 100, 100), 2)
    sampler = LabelSampler(project.path, SPEC.model_copy(update={"hold_out": "none"}))
    try:
        assert sampler.class_ids == (1, 2)
        project.raster(slide).write(400, 400, np.full((80, 80), 3, np.uint8))
        say(project, slide, G.ELLIPSE, Ellipse(800, 400, 50, 50), 3)
        assert 3 not in sampler.batch(12, np.random.default_rng(0))[1]
        sampler.reload()
        assert (sampler.batch(12, np.random.default_rng(0))[1] == 3).any(axis=(1, 2)).sum() >= 4
    finally:
        sampler.close()


def test_predicted_pixels_are_not_learnt_until_confirmed(project: Project, slide: str) -> None:
    project.raster(slide).write(0, 0, np.full((64, 64), 1, np.uint8))
    with project.raster(slide).edit(predicted=True) as edit:
        edit.write(300, 300, np.full((64, 64), 2, np.uint8))
    spec = SPEC.model_copy(update={"hold_out": "none"})
    with pytest.raises(DatasetError, match="only 'tumour'"):
        LabelSampler(project, spec)
    assert LabelSampler(project, spec.model_copy(update={"include_predicted": True})).class_ids == (1, 2)
    project.raster(slide).write(300, 300, np.full((64, 32), 2, np.uint8))
    sampler = LabelSampler(project, spec)
    labels = sampler.batch(40, np.random.default_rng(0))[1]
    assert sampler.class_ids == (1, 2)
    assert (labels == 2).any()
    assert (labels == 2).sum(axis=(1, 2)).max() <= 64 * 32


def test_a_mask_erased_since_does_not_stop_the_drawing(project: Project, slide: str) -> None:
    project.raster(slide).write(0, 0, np.full((64, 64), 1, np.uint8))
    project.raster(slide).write(300, 300, np.full((64, 64), 2, np.uint8))
    sampler = LabelSampler(project, SPEC.model_copy(update={"hold_out": "none"}))
    project.raster(slide).write(0, 0, np.zeros((64, 64), np.uint8))
    sampler.batch(8, np.random.default_rng(0))
    with pytest.raises(DatasetError, match="only 'stroma'"):
        sampler.reload()


def test_patches_at_another_resolution(project: Project, slide: str) -> None:
    annotate_region(project, slide)
    sampler = LabelSampler(project, SamplingSpec(mpp=2.0, patch_size=48, hold_out="none"))
    images, labels = sampler.batch(6, np.random.default_rng(0))
    assert images.shape == (6, 48, 48, 3)
    assert labels.any(axis=(1, 2)).all()


def test_a_path_without_a_project_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="project"):
        LabelSampler(tmp_path / "nothing", SPEC)
