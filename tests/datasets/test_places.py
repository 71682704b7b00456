"""Where patches lie, which of them are taken, what class they have, and how often each is drawn."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from histotrain.recipes.settings import SamplingSettings
from napari_histoanno.annotation import Box, Ellipse, Granularity, LabelClass, LabelScheme, Scribble
from napari_histoanno.datasets import DatasetError, LabelSampler, PatchSpec, SamplingSpec, SlideLabels, build_patchset
from napari_histoanno.datasets.bending import Bend
from napari_histoanno.datasets.drawing import Group, Kind, Pool
from napari_histoanno.datasets.grid import Grid
from napari_histoanno.datasets.places import centred_corners, fixed_places, split_region
from napari_histoanno.datasets.rules import class_order, copies, highest_class, tile_kinds
from napari_histoanno.datasets.samples import alignment
from tests.datasets.conftest import MPP, MakeSlide, say

if TYPE_CHECKING:
    from napari_histoanno.project import Project

G = Granularity
PATCHES = frozenset({"patches"})
BOTH = frozenset({"pixels", "patches"})


def spec(*, teaches: frozenset[str] = frozenset({"pixels"}), **sampling: object) -> SamplingSpec:
    """Patches of 64 px, nothing held out."""
    values = {"mpp": MPP, "patch_size": 64, "hold_out": "none", "teaches": teaches, "sampling": sampling}
    return SamplingSpec.model_validate(values)


def grid_of(view: SlideLabels, side: int = 64) -> Grid:
    return Grid(side, side, 1.0, view.extent)


def draw(project: Project, asked: SamplingSpec, size: int = 40, seed: int = 0):
    """Samples of a sampler that is made for this."""
    return LabelSampler(project, asked).samples(size, np.random.default_rng(seed))


# Where patches lie


def test_a_grid_takes_each_window_that_shows_something(project: Project, slide: str) -> None:
    say(project, slide, G.PIXEL, Box(64, 64, 64, 64), 1)
    view = SlideLabels(project, slide)
    corners, counts = fixed_places(view, grid_of(view), SamplingSettings(places="grid"), seed=0)
    np.testing.assert_array_equal(corners, [(64, 64)])
    np.testing.assert_array_equal(counts, [(0, 4096, 0, 0)[: counts.shape[1]]])
    halves, shares = fixed_places(view, grid_of(view), SamplingSettings(places="grid", stride=0.5), seed=0)
    np.testing.assert_array_equal(halves, [(y, x) for y in (32, 64, 96) for x in (32, 64, 96)])
    np.testing.assert_array_equal(shares[:, 1] / 4096, [0.25, 0.5, 0.25, 0.5, 1, 0.5, 0.25, 0.5, 0.25])


def test_a_patch_is_centred_on_each_region(project: Project, slide: str) -> None:
    say(project, slide, G.PIXEL, Box(100, 200, 20, 10), 1)
    say(project, slide, G.PIXEL, Box(116, 206, 20, 30), 2)  # another class is another region
    say(project, slide, G.SPARSE, Scribble(((500, 500), (530, 500)), 8), 1)
    project.raster(slide).write(300, 300, np.full((10, 10), 1, np.uint8))
    say(project, slide, G.EXHAUSTIVE, Box(80, 180, 100, 100), 0)
    view = SlideLabels(project, slide)
    corners, counts = fixed_places(view, grid_of(view), SamplingSettings(places="centred"), seed=0)
    centres = {(y + 32, x + 32) for y, x in corners.tolist()}
    assert {(305, 305), (221, 126), (500, 515)} <= centres
    assert len(centres) == 4
    for (top, left), found in zip(corners.tolist(), counts, strict=True):
        labels = view.render((left, top), 1, (64, 64))
        np.testing.assert_array_equal(found, np.bincount(labels.ravel(), minlength=len(found)))


def test_regions_at_the_edge_get_a_patch_inside(project: Project, slide: str) -> None:
    say(project, slide, G.PIXEL, Box(0, 0, 10, 10), 1)
    say(project, slide, G.PIXEL, Box(1014, 758, 10, 10), 2)
    view = SlideLabels(project, slide)
    assert centred_corners(view, grid_of(view), seed=0).tolist() == [[0, 0], [704, 960]]


@given(width=st.integers(4, 60), height=st.integers(4, 60), x=st.integers(0, 900), y=st.integers(0, 700))
def test_a_region_that_fits_is_wholly_in_its_patch(width: int, height: int, x: int, y: int) -> None:
    view = _Painted(np.zeros((768, 1024), np.uint8))
    view.canvas[y : y + height, x : x + width] = 1
    shown = (view.canvas[y : y + height, x : x + width] > 0).sum()
    ((top, left),) = centred_corners(view, Grid(64, 64, 1.0, (1024, 768)), seed=0).tolist()
    assert (view.canvas[top : top + 64, left : left + 64] > 0).sum() == shown


@given(width=st.integers(65, 300), height=st.integers(1, 300), seed=st.integers(0, 5))
def test_a_large_region_is_split_by_k_means(width: int, height: int, seed: int) -> None:
    pixels = np.argwhere(np.ones((height, width), bool)) + 0.5
    centres = split_region(pixels, len(pixels), 64, np.random.default_rng(seed))
    assert len(centres) <= math.ceil(1 + len(pixels) / 64**2)
    assert len(centres) >= 2
    assert (centres >= 0).all()
    assert (centres <= (height, width)).all()
    # A fixed point of K-means: every centre is the mean of the pixels that are nearest to it.
    nearest = ((pixels[:, None] - centres) ** 2).sum(-1).argmin(1)
    means = np.stack([pixels[nearest == number].mean(0) for number in range(len(centres))])
    assert np.abs(means - centres).max() < 0.1 * 64
    again = split_region(pixels, len(pixels), 64, np.random.default_rng(seed))
    np.testing.assert_array_equal(centres, again)


def test_the_patches_of_a_large_region_cover_it(project: Project, slide: str) -> None:
    say(project, slide, G.PIXEL, Box(100, 100, 320, 256), 1)
    view = SlideLabels(project, slide)
    corners = centred_corners(view, grid_of(view), seed=0)
    assert len(corners) == math.ceil(1 + 320 * 256 / 64**2)
    covered = np.zeros((768, 1024), bool)
    for top, left in corners.tolist():
        covered[top : top + 64, left : left + 64] = True
    assert covered[100:356, 100:420].mean() > 0.85


class _Painted:
    """As much of a view as looking for regions needs."""

    def __init__(self, canvas: np.ndarray) -> None:
        self.canvas = canvas
        self.scheme = LabelScheme.from_names(["a"])

    def annotated_boxes(self) -> np.ndarray:
        return np.array([(0, 0, self.canvas.shape[1], self.canvas.shape[0])], float)

    def render(self, location: tuple[float, float], downsample: float, size: tuple[int, int]) -> np.ndarray:
        assert (location, downsample, size) == ((0, 0), 1, self.canvas.shape[::-1])
        return self.canvas


# Which are taken


def test_only_patches_with_enough_labelled_pixels_are_taken(project: Project, slide: str) -> None:
    say(project, slide, G.PIXEL, Box(0, 0, 8, 8), 1)  # 64 of 4096: more than 1 %
    say(project, slide, G.PIXEL, Box(64, 0, 8, 5), 1)  # 40: less
    say(project, slide, G.PIXEL, Box(128, 0, 64, 64), 2)
    asked = spec(places="grid", min_annotated=0.01)
    counts = LabelSampler(project, asked).class_counts()
    np.testing.assert_array_equal(counts, (64, 4096))
    patches = build_patchset(project, PatchSpec(mpp=MPP, patch_size=64, min_annotated=0, sampling=asked.sampling))
    assert len(patches) == 2


@pytest.mark.parametrize("places", ["grid", "annotated"])
def test_patches_without_one_whole_object_are_left_out(project: Project, slide: str, places: str) -> None:
    say(project, slide, G.ELLIPSE, Ellipse(32, 32, 10, 10, 0), 1)
    say(project, slide, G.ELLIPSE, Ellipse(128, 32, 10, 10, 0), 1)  # cut by every window side by side
    project.raster(slide).write(20, 320 + 20, np.full((10, 10), 2, np.uint8))
    project.raster(slide).write(300, 300, np.full((200, 200), 2, np.uint8))  # no window shows all of it
    samples = draw(project, spec(places=places, whole_object=True, teaches=frozenset({"pixels", "objects"})))
    assert samples.instances is not None
    assert samples.labels is not None
    for instances, labels in zip(samples.instances, samples.labels, strict=True):
        areas = {1: np.bincount(instances[labels == 1])[1:], 2: np.bincount(instances[labels == 2])[1:]}
        assert (areas[1] > 305).any() or (areas[2] == 100).any()
    if places == "grid":
        assert len({image.tobytes() for image in samples.images}) == 2


@pytest.mark.parametrize("method", ["otsu", "hsv"])
def test_glass_is_left_out(project: Project, make_slide: MakeSlide, method: str) -> None:
    image = np.full((768, 1024, 3), 243, np.uint8)
    rng = np.random.default_rng(0)
    image[:, :512] = np.clip(rng.normal((190, 90, 160), 12, (768, 512, 3)), 0, 255)
    slide = project.add_slide(make_slide("half", image)).id
    say(project, slide, G.PIXEL, Box(0, 0, 1024, 384), 1)
    say(project, slide, G.PIXEL, Box(0, 384, 1024, 384), 2)
    for places in ("grid", "annotated"):
        samples = draw(project, spec(places=places, tissue=method, min_tissue=0.75))
        stained = (samples.images[..., 1] < 200).mean(axis=(1, 2))
        assert stained.min() > 0.7


def test_what_nothing_meets_is_said(project: Project, slide: str) -> None:
    say(project, slide, G.PIXEL, Box(0, 0, 300, 300), 1)
    say(project, slide, G.PIXEL, Box(300, 0, 300, 300), 2)
    with pytest.raises(DatasetError, match="No patch meets what the recipe asks of them: one whole object"):
        LabelSampler(project, spec(places="grid", whole_object=True))
    with pytest.raises(DatasetError, match="No patch is labelled as a whole"):
        LabelSampler(project, spec(teaches=PATCHES))


# What class they have


def test_the_order_of_classes_is_that_of_grades_with_background_lowest() -> None:
    classes = (
        LabelClass(4, "high", (1, 2, 3), grade=3),
        LabelClass(2, "rest", (1, 2, 3), grade=9, background=True),
        LabelClass(7, "low", (1, 2, 3), grade=1),
    )
    assert class_order(LabelScheme(classes)) == (2, 7, 4)


def test_the_only_class_or_the_highest_counts() -> None:
    counts = np.array([(9, 0, 0, 0), (5, 4, 0, 0), (0, 0, 1, 8), (3, 2, 2, 2)])
    assert highest_class(counts, (3, 1, 2)).tolist() == [0, 1, 2, 2]


def test_tiles_teach_classification_or_segmentation_or_nothing() -> None:
    counts = np.array(
        [
            (0, 90, 10, 0),  # 90 % of one class
            (0, 89, 11, 0),  # exactly two
            (10, 0, 90, 0),
            (11, 0, 89, 0),  # one class that does not dominate
            (50, 25, 0, 25),
            (40, 20, 20, 20),
            (5, 91, 2, 2),  # dominated, whatever else there is
        ]
    )
    classes, segments = tile_kinds(counts, 0.9)
    assert classes.tolist() == [1, 0, 2, 0, 0, 0, 1]
    assert segments.tolist() == [False, True, False, False, True, False, False]


def test_a_windows_class_reaches_the_samples(project: Project, slide: str) -> None:
    say(project, slide, G.PIXEL, Box(0, 0, 64, 60), 1)
    say(project, slide, G.PIXEL, Box(0, 60, 64, 4), 2)
    say(project, slide, G.PIXEL, Box(128, 0, 64, 64), 1)
    samples = draw(project, spec(places="grid", patch_label="single-or-highest", teaches=PATCHES), 10)
    assert samples.labels is not None
    assert samples.patch_classes is not None
    assert sorted(samples.patch_classes.tolist()) == [1] * 5 + [2] * 5
    for labels, class_id in zip(samples.labels, samples.patch_classes, strict=True):
        assert labels.max() == class_id


def test_classification_patches_keep_no_labels(project: Project, slide: str) -> None:
    say(project, slide, G.PIXEL, Box(0, 0, 64, 64), 1)
    say(project, slide, G.PIXEL, Box(64, 0, 32, 64), 1)
    say(project, slide, G.PIXEL, Box(96, 0, 32, 64), 2)
    say(project, slide, G.PIXEL, Box(192, 0, 30, 64), 2)  # dropped
    asked = spec(places="grid", patch_label="dominant", teaches=BOTH)
    samples = draw(project, asked, 8)
    assert samples.labels is not None
    assert samples.patch_classes is not None
    whole = samples.patch_classes > 0
    assert whole.sum() == 4
    assert not samples.labels[whole].any()
    assert all(set(np.unique(labels)) == {1, 2} for labels in samples.labels[~whole])
    patches = build_patchset(
        project,
        PatchSpec(mpp=MPP, patch_size=64, min_annotated=0, teaches=BOTH, sampling=asked.sampling),
    )
    assert patches.patch_classes is not None
    assert patches.patch_classes.tolist() == [1, 0]


def test_annotators_may_name_the_class_of_a_patch(project: Project, make_slide: MakeSlide) -> None:
    rng = np.random.default_rng(0)
    image = np.clip(rng.normal((190, 90, 160), 12, (768, 1024, 3)), 0, 255).astype(np.uint8)
    slide = project.add_slide(make_slide("tissue", image)).id
    say(project, slide, G.IMAGE, Box(0, 0, 256, 768), 1)
    say(project, slide, G.IMAGE, Box(256, 0, 64, 768), 2)
    sampler = LabelSampler(project, spec(teaches=PATCHES))
    samples = sampler.samples(10, np.random.default_rng(0))
    assert sampler.class_ids == (1, 2)
    np.testing.assert_array_equal(sampler.class_counts() / 64**2, (48, 12))
    assert samples.patch_classes is not None
    assert np.bincount(samples.patch_classes).tolist() == [0, 5, 5]
    held = LabelSampler(project, spec(teaches=PATCHES).model_copy(update={"hold_out": "auto"}))
    assert held.validation is not None
    assert held.validation.patch_classes is not None
    assert held.validation.patch_classes.all()
    trained = {image.tobytes() for image in held.samples(200, np.random.default_rng(0)).images}
    assert not trained & {image.tobytes() for image in held.validation.images}


def test_pixels_and_patch_classes_are_shown_in_equal_parts(project: Project, make_slide: MakeSlide) -> None:
    rng = np.random.default_rng(0)
    image = np.clip(rng.normal((190, 90, 160), 12, (768, 1024, 3)), 0, 255).astype(np.uint8)
    slide = project.add_slide(make_slide("tissue", image)).id
    say(project, slide, G.IMAGE, Box(0, 0, 256, 768), 1)
    say(project, slide, G.PIXEL, Box(600, 100, 200, 200), 2)
    samples = draw(project, spec(teaches=BOTH), 10)
    assert samples.labels is not None
    assert samples.patch_classes is not None
    assert samples.labels.any(axis=(1, 2)).sum() == 5
    assert (samples.patch_classes == 1).sum() == 5


# How often each is drawn


def test_copies_even_out_labelled_pixels() -> None:
    counts = np.array([(0, 1000, 0, 0), (0, 1000, 0, 0), (0, 100, 400, 0), (0, 0, 0, 1)])
    assert copies(counts, highest_class(counts, (1, 2, 3))) == {1: 0, 2: 4, 3: 63}


def test_multiplied_patches_are_drawn_more_often_and_bent(project: Project, slide: str) -> None:
    say(project, slide, G.PIXEL, Box(0, 0, 64 * 6, 64), 1)
    say(project, slide, G.PIXEL, Box(0, 256, 64 * 2, 64), 2)
    samples = draw(project, spec(places="grid", multiply=True), 400)
    assert samples.labels is not None
    of_two = (samples.labels == 2).any(axis=(1, 2))
    assert of_two.mean() == pytest.approx(0.5, abs=0.08)  # 6 patches of 1, 2 patches with 2 copies each
    with project.open_slide(slide) as opened:
        whole = opened.read_region((0, 0), 0, (512, 512))
    originals = {whole[256:320, left : left + 64].tobytes() for left in (0, 64)}
    unbent = np.array([image.tobytes() in originals for image in samples.images[of_two]])
    assert unbent.mean() == pytest.approx(1 / 3, abs=0.1)
    plain = {whole[:64, left : left + 64].tobytes() for left in range(0, 384, 64)}
    assert all(image.tobytes() in plain for image in samples.images[~of_two])


def test_sparse_and_dense_patches_keep_their_ratio(project: Project, slide: str) -> None:
    say(project, slide, G.PIXEL, Box(0, 0, 128, 128), 1)
    say(project, slide, G.PIXEL, Box(0, 128, 128, 128), 2)
    for x in range(320, 960, 64):
        say(project, slide, G.SPARSE, Scribble(((x + 20, 400), (x + 40, 400)), 4), 1 + x // 64 % 2)
    samples = draw(project, spec(places="grid", sparse_per_dense=4.0), 200)
    assert samples.labels is not None
    dense = (samples.labels > 0).mean(axis=(1, 2)) >= 0.5
    assert dense.sum() == 40
    small = LabelSampler(project, spec(places="grid", sparse_per_dense=4.0))
    found = [small.samples(3, np.random.default_rng(seed)).labels for seed in range(150)]
    assert np.mean([(labels > 0).mean(axis=(1, 2)) >= 0.5 for labels in found]) == pytest.approx(0.2, abs=0.04)


def test_one_sort_of_annotation_cannot_be_mixed_and_that_is_said(project: Project, slide: str) -> None:
    say(project, slide, G.PIXEL, Box(0, 0, 128, 128), 1)
    say(project, slide, G.PIXEL, Box(0, 128, 128, 128), 2)
    sampler = LabelSampler(project, spec(places="grid", sparse_per_dense=4.0))
    assert any("nothing to mix" in notice for notice in sampler.notices)


@given(shares=st.lists(st.floats(0.1, 5), min_size=1, max_size=4), size=st.integers(1, 40), seed=st.integers(0, 99))
def test_kinds_keep_their_shares(shares: list[float], size: int, seed: int) -> None:
    kinds = [Kind.of(share, [Group.of(number + 1, [1.0])]) for number, share in enumerate(shares)]
    drawn = [group.class_id for group in Pool(kinds).turns(size, np.random.default_rng(seed))]
    wanted = np.array(shares) / sum(shares) * size
    assert np.abs(np.bincount(drawn, minlength=len(shares) + 1)[1:] - wanted).max() <= 1


def test_members_are_drawn_by_weight() -> None:
    group = Group.of(1, [0, 3, 0, 1])
    rng = np.random.default_rng(0)
    drawn = np.bincount([group.draw(rng) for _ in range(4000)], minlength=4)
    assert drawn[[0, 2]].sum() == 0
    assert drawn[1] / drawn[3] == pytest.approx(3, rel=0.15)


# How copies are bent


def test_a_bend_without_deviation_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (64, 64, 3), np.uint8)
    labels = rng.integers(0, 5, (64, 64)).astype(np.int32)
    still = Bend.draw(64, 17, 0.0, rng)
    np.testing.assert_array_equal(still.image(image), image)
    np.testing.assert_array_equal(still.image(image, 4.0), image)
    np.testing.assert_array_equal(still.labels(labels), labels)


def test_everything_of_a_patch_is_bent_alike() -> None:
    side = 128
    xs = np.tile(np.arange(side, dtype=np.uint8), (side, 1))
    image = np.stack([xs, xs.T, xs], -1)
    bend = Bend.draw(side, 17, 4.0, np.random.default_rng(1))
    inner = slice(24, -24)
    moved = bend.image(image)[inner, inner].astype(float)
    nearest = bend.labels(image[..., 0].copy())[inner, inner].astype(float)
    assert np.abs(moved[..., 0] - nearest).max() <= 1
    shift = moved[..., 0] - image[inner, inner, 0]
    assert 2.0 < shift.std() < 6.0
    # Around it, pixels are twice as large: the middle moves by half as many of them.
    around = bend.image(image, 2.0).astype(float)
    middle = slice(32, 96)
    moved_around = (around - image)[middle, middle, 0]
    expected = bend.field[::2, ::2, 0] / 2
    assert np.corrcoef(moved_around.ravel(), expected.ravel())[0, 1] > 0.9


def test_labels_that_come_from_beyond_a_patch_are_unlabelled() -> None:
    field = np.full((32, 32, 2), 5, np.float32)
    labels = np.ones((32, 32), np.uint8)
    assert (Bend(field).labels(labels) == 0).sum() == 32 * 32 - 27 * 27


@pytest.mark.parametrize(
    ("factors", "step"), [((1.0,), 1), ((1.0, 2.0, 4.0), 4), ((1.0, 2.0, 3.0), 6), ((1.0, 2.5), 1)]
)
def test_centres_are_multiples_of_the_magnifications(factors: tuple[float, ...], step: int) -> None:
    assert alignment(factors) == step
