"""Patch sets hold what was asked for, where it was asked for, and say where it is from."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pydantic import ValidationError

from napari_histoanno.annotation import Box, Ellipse, Granularity, WholeSlide
from napari_histoanno.datasets import (
    DatasetError,
    ExportCancelled,
    LabelSampler,
    PatchSpec,
    RenderOptions,
    SamplingSpec,
    SlideLabels,
    SplitSpec,
    build_patchset,
    render_labels,
)
from napari_histoanno.datasets.grid import Grid, count_labels
from napari_histoanno.datasets.patches import PatchPlan, annotations_digest
from tests.datasets.conftest import MPP, MakeSlide, annotate_region, say

if TYPE_CHECKING:
    from napari_histoanno.project import Project

G = Granularity
SPEC = PatchSpec(mpp=MPP, patch_size=64)


def test_patches_are_cut_where_something_is_annotated(project: Project, slide: str) -> None:
    say(project, slide, G.PIXEL, Box(70, 10, 20, 20), 1)
    say(project, slide, G.PIXEL, Box(64, 130, 64, 64), 2)
    patches = build_patchset(project, SPEC)
    with project.open_slide(slide) as opened:
        places = [(64, 0), (64, 128), (64, 192)]
        for number, place in enumerate(places):
            np.testing.assert_array_equal(patches.images[number], opened.read_region(place, 0, (64, 64)))
            np.testing.assert_array_equal(patches.labels[number], render_labels(project, slide, place, (64, 64)))
    assert len(patches) == 3
    assert (patches.slides == "first").all()
    assert (patches.mpp == MPP).all()


def test_predicted_pixels_give_no_patches_unless_asked_for(project: Project, slide: str) -> None:
    project.raster(slide).write(0, 0, np.full((64, 64), 1, np.uint8))
    with project.raster(slide).edit(predicted=True) as edit:
        edit.write(0, 32, np.full((64, 160), 2, np.uint8))
    patches = build_patchset(project, SPEC)
    assert len(patches) == 1
    assert (patches.labels[0, :, :32] == 1).all()
    assert not patches.labels[0, :, 32:].any()
    assert len(build_patchset(project, SPEC.model_copy(update={"include_predicted": True}))) == 3
    digests = {
        annotations_digest(SlideLabels(project, slide, RenderOptions(include_predicted=asked)))
        for asked in (False, True)
    }
    assert len(digests) == 2


def test_labels_of_whole_slides_and_of_parts_become_classes_of_patches(project: Project, make_slide: MakeSlide) -> None:
    image = np.full((256, 384, 3), 245, np.uint8)
    image[:, :192] = np.random.default_rng(0).integers((90, 40, 120), (150, 90, 180), (256, 192, 3))
    slide = project.add_slide(make_slide("labelled", image)).id
    say(project, slide, G.PIXEL, Box(256, 0, 20, 20), 1)
    assert build_patchset(project, SPEC).patch_classes is None
    say(project, slide, G.IMAGE, WholeSlide(), 2)
    say(project, slide, G.IMAGE, Box(0, 0, 128, 64), 1)
    (one,) = build_patchset(project, SPEC).patch_classes
    assert one == 2
    every = build_patchset(project, SPEC.model_copy(update={"granularities": frozenset(G)}))
    assert every.patch_classes.tolist() == [1, 1, 2, 2] + [2] * 9  # three columns of tissue, and what is drawn on
    assert every.labels.any(axis=(1, 2)).sum() == 1
    say(project, slide, G.IMAGE, WholeSlide(), 1, annotator="bob")
    assert build_patchset(project, SPEC).patch_classes is None


def test_half_the_stride_gives_the_patches_between(project: Project, slide: str) -> None:
    say(project, slide, G.PIXEL, Box(64, 64, 64, 64), 1)
    full = build_patchset(project, SPEC)
    half = build_patchset(project, SPEC.model_copy(update={"stride": "half"}))
    assert (len(full), len(half)) == (1, 9)
    assert (half.labels > 0).sum() == 4 * 64 * 64
    quarter = PatchSpec(mpp=MPP, patch_size=64, stride=16, min_annotated=0.99)
    assert len(build_patchset(project, quarter)) == 1


@pytest.mark.parametrize(("share", "number"), [(0, 2), (0.01, 1), (0.5, 1), (0.51, 0)])
def test_patches_need_their_share_of_annotation(project: Project, slide: str, share: float, number: int) -> None:
    say(project, slide, G.PIXEL, Box(0, 0, 64, 32), 1)
    say(project, slide, G.PIXEL, Box(128, 128, 4, 4), 1)
    spec = PatchSpec(mpp=MPP, patch_size=64, min_annotated=share)
    if number:
        assert len(build_patchset(project, spec)) == number
    else:
        with pytest.raises(DatasetError, match=r"nothing is annotated that"):
            build_patchset(project, spec)


def test_classes_are_kept_merged_and_left_out(project: Project, slide: str) -> None:
    annotate_region(project, slide)
    everything = build_patchset(project, SPEC)
    assert everything.class_ids == (1, 2, 3)
    merged = build_patchset(project, SPEC.model_copy(update={"merge": {"stroma": "tumour"}}))
    assert merged.classes == ("tumour", "Background")
    np.testing.assert_array_equal(merged.labels, np.where(everything.labels == 2, 1, everything.labels))
    some = build_patchset(project, PatchSpec(mpp=MPP, patch_size=64, classes=("stroma", "Background"), min_annotated=0))
    assert some.class_ids == (2, 3)
    assert set(np.unique(some.labels)) == {0, 2, 3}


def test_unlabelled_becomes_a_class_only_when_asked(project: Project, slide: str) -> None:
    say(project, slide, G.PIXEL, Box(960, 704, 40, 40), 1)
    spec = PatchSpec(mpp=MPP, patch_size=96, unlabelled="Background")
    (labels,) = build_patchset(project, spec).labels
    inside = labels[: 768 - 672, : 1024 - 960]
    assert set(np.unique(inside)) == {1, 3}
    assert not labels[:, 1024 - 960 :].any()  # beyond the slide's edge nothing is known


def test_unknown_names_are_told_apart_from_known_ones(project: Project, slide: str) -> None:
    with pytest.raises(DatasetError, match=r"no class 'gland'.*it has tumour, stroma, Background"):
        build_patchset(project, SPEC.model_copy(update={"classes": ("gland",)}))
    with pytest.raises(DatasetError, match=r"no slide 'second'.*it has first"):
        build_patchset(project, SPEC.model_copy(update={"slides": ("second",)}))
    with pytest.raises(ValidationError, match="extra"):
        PatchSpec(patchsize=3)


def test_every_patch_knows_its_annotators_and_kind(project: Project, slide: str) -> None:
    say(project, slide, G.PIXEL, Box(0, 0, 64, 64), 1, annotator="bob")
    project.raster(slide, "ann").write(10, 10, np.full((8, 8), 1, np.uint8))
    say(project, slide, G.PIXEL, Box(640, 640, 30, 30), 2, annotator="eve")
    patches = build_patchset(project, SPEC)
    assert list(patches.annotators) == ["ann, bob", "eve"]
    assert list(patches.kinds) == ["dense", "sparse"]


def test_lineage_changes_with_the_annotations_and_only_then(project: Project, slide: str) -> None:
    annotate_region(project, slide)
    before = build_patchset(project, SPEC).lineage
    assert build_patchset(project, SPEC).lineage == before
    assert before["slides"][slide]["fingerprint"] == project.find_slide(slide).fingerprint
    project.raster(slide).write(700, 10, np.ones((1, 1), np.uint8))
    after = build_patchset(project, SPEC).lineage
    assert after["slides"][slide]["annotations"] != before["slides"][slide]["annotations"]
    assert after["spec"] == before["spec"]


def test_a_slide_without_a_resolution_counts_as_half_a_micrometre(project: Project, slide: str) -> None:
    say(project, slide, G.PIXEL, Box(0, 0, 128, 128), 1)
    project.update_slide(slide, mpp=0.25)
    (labels,) = build_patchset(project, PatchSpec(mpp=0.5, patch_size=64)).labels
    assert (labels == 1).all()


def test_progress_is_counted_and_the_work_can_be_stopped(project: Project, slide: str) -> None:
    annotate_region(project, slide)
    seen: list[tuple[int, int]] = []
    patches = build_patchset(project, SPEC, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(n + 1, len(patches)) for n in range(len(patches))]
    with pytest.raises(ExportCancelled):
        build_patchset(project, SPEC, cancelled=lambda: True)


@pytest.mark.parametrize("stride", [64, 32, 50])
def test_counting_in_blocks_is_counting_patch_by_patch(project: Project, slide: str, stride: int) -> None:
    annotate_region(project, slide)
    say(project, slide, G.ELLIPSE, Ellipse(900, 700, 100, 60), 2)
    view = SlideLabels(project, slide)
    grid = Grid(64, stride, 1.5, view.extent)
    places, counts = count_labels(view, grid)
    rows, columns = grid.shape
    found = {}
    for row in range(rows):
        for column in range(columns):
            labels = view.render(grid.location(row, column), 1.5, (64, 64))
            if labels.any():
                found[row, column] = np.bincount(labels.ravel(), minlength=4)
    assert [tuple(place) for place in places] == list(found)
    np.testing.assert_array_equal(counts, np.stack(list(found.values())))


def test_blocks_within_a_slide_keep_a_gap(project: Project, make_slide: MakeSlide) -> None:
    slide = project.add_slide(make_slide("large", size=(2048, 2048))).id
    say(project, slide, G.PIXEL, Box(0, 0, 2048, 2048), 1)
    spec = PatchSpec(mpp=MPP, patch_size=64, stride="half", split=SplitSpec(by="block", block=4))
    plan = PatchPlan(project, spec)
    assert set(plan.splits) == {"train", "validation", "test"}
    where = {split: np.array([place.location for place in plan.in_split(split)]) for split in plan.splits}
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        distance = np.abs(where[one][:, None] - where[other][None]).max(-1)
        assert distance.min() >= 2 * 64
    assert PatchPlan(project, spec).places[0].split == plan.places[0].split


def test_slides_are_split_whole(project: Project, make_slide: MakeSlide) -> None:
    for seed in range(4):
        annotate_region(project, project.add_slide(make_slide(f"s{seed}", seed=seed)).id)
    spec = SPEC.model_copy(update={"split": SplitSpec(train=0.5, validation=0.25, test=0.25)})
    parts = {split: build_patchset(project, spec, split=split) for split in ("train", "validation", "test")}
    slides = [set(part.slides) for part in parts.values()]
    assert [len(names) for names in slides] == [2, 1, 1]
    assert len(set.union(*slides)) == 4


def test_patches_and_validation_know_where_they_lie(project: Project, slide: str) -> None:
    for x in range(0, 1024, 128):
        say(project, slide, G.PIXEL, Box(x, 64, 64, 64), 1)
        say(project, slide, G.PIXEL, Box(x, 448, 64, 64), 2)
    spec = {"mpp": 2 * MPP, "patch_size": 32}
    with closing(LabelSampler(project, SamplingSpec(**spec))) as sampler, project.open_slide(slide) as opened:
        assert sampler.validation is not None
        for patches in (build_patchset(project, PatchSpec(**spec)), sampler.validation):
            for image, corner in zip(patches.images, patches.corners, strict=True):
                np.testing.assert_array_equal(image, opened.read_mpp(tuple(corner), 2 * MPP, (32, 32)))
