"""Label maps say what was annotated: the finer word wins, disagreement stays open, unlabelled is never background."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_histoanno.annotation import (
    Box,
    Ellipse,
    Granularity,
    Point,
    Review,
    Scribble,
    Source,
    WholeSlide,
    rasterize,
)
from napari_histoanno.datasets import DatasetError, RenderOptions, SlideLabels, render_labels
from tests.datasets.conftest import MPP, MakeSlide, annotate_region, say

if TYPE_CHECKING:
    from napari_histoanno.project import Project

G = Granularity
TUMOUR, STROMA, BACKGROUND = 1, 2, 3


def at(project: Project, slide: str, x: float, y: float, **options) -> int:
    """Class of the pixel that contains a level-0 point."""
    return int(render_labels(project, slide, (int(x), int(y)), (1, 1), **options)[0, 0])


def test_nothing_annotated_is_unlabelled(project: Project, slide: str) -> None:
    assert not render_labels(project, slide, (0, 0), (64, 64)).any()


@pytest.mark.parametrize("downsample", [1, 2, 4])
def test_masks_lie_on_the_grid_of_images(project: Project, make_slide: MakeSlide, downsample: int) -> None:
    ys, xs = np.mgrid[:512, :640]
    squares = (xs // 4 + ys // 4) % 2
    image = np.repeat((squares * 255).astype(np.uint8)[..., None], 3, axis=2)
    record = project.add_slide(make_slide("board", image))
    project.raster(record.id).write(0, 0, (squares + 1).astype(np.uint8))
    location, size = (40, 24), (64, 48)
    labels = render_labels(project, record.id, location, size, downsample=downsample)
    with project.open_slide(record.id) as opened:
        seen = opened.read_mpp(location, MPP * downsample, size)
    np.testing.assert_array_equal(labels, seen[..., 0] // 255 + 1)


def test_an_mpp_is_a_downsample(project: Project, slide: str) -> None:
    annotate_region(project, slide)
    by_mpp = render_labels(project, slide, (10, 20), (100, 90), mpp=1.5)
    np.testing.assert_array_equal(by_mpp, render_labels(project, slide, (10, 20), (100, 90), downsample=3))
    with pytest.raises(DatasetError, match="not both"):
        render_labels(project, slide, (0, 0), (4, 4), mpp=1, downsample=2)


def test_vectors_follow_the_pixel_centre_rule_at_any_downsample(project: Project, slide: str) -> None:
    shape = Ellipse(300.3, 200.7, 90, 40, 0.7)
    say(project, slide, G.ELLIPSE, shape, STROMA)
    expected = rasterize([(shape, STROMA)], (120, 110), origin=(100.5, 80.25), downsample=2.6)
    np.testing.assert_array_equal(render_labels(project, slide, (100.5, 80.25), (120, 110), downsample=2.6), expected)


def test_the_finer_statement_wins_whatever_was_drawn_last(project: Project, slide: str) -> None:
    say(project, slide, G.PIXEL, Box(40, 40, 10, 10), TUMOUR)
    say(project, slide, G.SPARSE, Scribble(((30, 45), (70, 45)), 6), STROMA)
    say(project, slide, G.BOX, Box(20, 20, 60, 60), TUMOUR)
    say(project, slide, G.EXHAUSTIVE, Box(0, 0, 100, 100), 0)
    assert at(project, slide, 45, 45) == TUMOUR  # area over scribble
    assert at(project, slide, 35, 45) == STROMA  # scribble over box
    assert at(project, slide, 22, 22) == TUMOUR  # box over exhaustive region
    assert at(project, slide, 5, 5) == BACKGROUND
    assert at(project, slide, 105, 5) == 0


def test_a_painted_mask_corrects_its_annotators_areas(project: Project, slide: str) -> None:
    say(project, slide, G.PIXEL, Box(0, 0, 50, 50), TUMOUR)
    project.raster(slide).write(0, 0, np.full((10, 10), STROMA, np.uint8))
    assert at(project, slide, 5, 5) == STROMA
    assert at(project, slide, 30, 30) == TUMOUR


def test_annotators_who_disagree_leave_the_pixel_unlabelled(project: Project, slide: str) -> None:
    project.raster(slide, "ann").write(0, 0, np.full((20, 20), TUMOUR, np.uint8))
    project.raster(slide, "bob").write(0, 10, np.full((20, 20), STROMA, np.uint8))
    project.raster(slide, "eve").write(0, 0, np.full((5, 5), TUMOUR, np.uint8))
    labels = render_labels(project, slide, (0, 0), (30, 20))
    assert (labels[:, :10] == TUMOUR).all()
    assert not labels[:, 10:20].any()
    assert (labels[:, 20:] == STROMA).all()


def test_a_third_opinion_does_not_settle_a_disagreement(project: Project, slide: str) -> None:
    for who, class_id in (("ann", TUMOUR), ("bob", STROMA), ("eve", TUMOUR)):
        say(project, slide, G.PIXEL, Box(0, 0, 8, 8), class_id, annotator=who)
    assert not render_labels(project, slide, (0, 0), (8, 8)).any()


def test_merged_classes_do_not_disagree(project: Project, slide: str) -> None:
    project.raster(slide, "ann").write(0, 0, np.full((4, 4), TUMOUR, np.uint8))
    project.raster(slide, "bob").write(0, 0, np.full((4, 4), STROMA, np.uint8))
    merged = render_labels(project, slide, (0, 0), (4, 4), class_map={TUMOUR: TUMOUR, STROMA: TUMOUR})
    assert (merged == TUMOUR).all()


def test_a_class_left_out_is_unlabelled_and_not_background(project: Project, slide: str) -> None:
    annotate_region(project, slide)
    labels = render_labels(project, slide, (0, 0), (1024, 768), class_map={STROMA: STROMA, BACKGROUND: BACKGROUND})
    everything = render_labels(project, slide, (0, 0), (1024, 768))
    np.testing.assert_array_equal(labels, np.where(everything == TUMOUR, 0, everything))


@pytest.mark.parametrize(
    ("granularity", "geometry"),
    [
        (G.POINT, Point(50, 50)),
        (G.BOX, Box(45, 45, 10, 10)),
        (G.ELLIPSE, Ellipse(50, 50, 5, 4)),
        (G.PIXEL, Box(45, 45, 9, 9)),
    ],
)
def test_objects_not_shown_are_not_taught_as_background(project: Project, slide: str, granularity: G, geometry) -> None:
    say(project, slide, G.EXHAUSTIVE, Box(0, 0, 100, 100), 0)
    say(project, slide, granularity, geometry, TUMOUR)
    assert at(project, slide, 50, 50) == TUMOUR
    assert at(project, slide, 50, 50, granularities={G.EXHAUSTIVE}) == 0
    assert at(project, slide, 10, 10, granularities={G.EXHAUSTIVE}) == BACKGROUND


def test_painted_objects_not_shown_are_not_taught_as_background(project: Project, slide: str) -> None:
    say(project, slide, G.EXHAUSTIVE, Box(0, 0, 100, 100), 0)
    project.raster(slide).write(40, 40, np.full((20, 20), TUMOUR, np.uint8))
    assert at(project, slide, 50, 50, granularities={G.EXHAUSTIVE}) == 0


def test_a_click_paints_a_disc_of_its_radius(project: Project, slide: str) -> None:
    say(project, slide, G.POINT, Point(100, 100), STROMA)
    disc = render_labels(project, slide, (50, 50), (100, 100), point_radius=10.0)
    assert np.count_nonzero(disc) == pytest.approx(np.pi * (10 / MPP) ** 2, rel=0.01)
    assert not render_labels(project, slide, (50, 50), (100, 100), granularities={G.BOX}).any()


def test_rejected_records_never_count(project: Project, slide: str) -> None:
    say(project, slide, G.PIXEL, Box(0, 0, 9, 9), review=Review.REJECTED)
    assert not render_labels(project, slide, (0, 0), (9, 9), include_predicted=True).any()


def test_predictions_count_once_somebody_has_looked(project: Project, slide: str) -> None:
    record = say(project, slide, G.PIXEL, Box(0, 0, 9, 9), source=Source.PREDICTED, confidence=0.9)
    assert at(project, slide, 4, 4) == 0
    assert at(project, slide, 4, 4, include_predicted=True) == TUMOUR
    project.annotations.update([record.changed(review=Review.ACCEPTED)])
    assert at(project, slide, 4, 4) == TUMOUR


def take_over(project: Project, slide: str, block: np.ndarray) -> None:
    with project.raster(slide).edit(predicted=True) as edit:
        edit.write(0, 0, block)


def test_predicted_pixels_count_once_somebody_has_painted_there(project: Project, slide: str) -> None:
    take_over(project, slide, np.full((9, 9), TUMOUR, np.uint8))
    assert not render_labels(project, slide, (0, 0), (9, 9)).any()
    assert not SlideLabels(project, slide).annotated_boxes().size
    assert not SlideLabels(project, slide).presence().any()
    assert (render_labels(project, slide, (0, 0), (9, 9), include_predicted=True) == TUMOUR).all()
    project.raster(slide).write(0, 0, np.full((4, 9), TUMOUR, np.uint8))
    project.raster(slide).write(4, 0, np.full((1, 9), STROMA, np.uint8))
    labels = render_labels(project, slide, (0, 0), (9, 9))
    assert labels[:, 0].tolist() == [TUMOUR] * 4 + [STROMA] + [0] * 4
    everything = render_labels(project, slide, (0, 0), (9, 9), include_predicted=True)
    assert everything[:, 0].tolist() == [TUMOUR] * 4 + [STROMA] + [TUMOUR] * 4
    assert SlideLabels(project, slide).presence()[:2].tolist() == [36, 9]
    with_guesses = SlideLabels(project, slide, RenderOptions(include_predicted=True))
    assert with_guesses.presence()[:2].tolist() == [72, 9]
    assert with_guesses.annotators_in((0, 5, 9, 9)) == ("ann",)


def test_a_person_overrules_predicted_pixels_of_another(project: Project, slide: str) -> None:
    take_over(project, slide, np.full((9, 9), TUMOUR, np.uint8))
    project.raster(slide, "bob").write(0, 0, np.full((4, 9), STROMA, np.uint8))
    say(project, slide, G.PIXEL, Box(0, 6, 9, 3), STROMA)
    labels = render_labels(project, slide, (0, 0), (9, 9), include_predicted=True)
    assert labels[:, 0].tolist() == [STROMA] * 4 + [TUMOUR] * 2 + [STROMA] * 3


def test_predicted_pixels_and_outlines_are_left_out_alike(project: Project, slide: str) -> None:
    say(project, slide, G.EXHAUSTIVE, Box(0, 0, 40, 40), 0)
    say(project, slide, G.PIXEL, Box(20, 20, 9, 9), source=Source.PREDICTED)
    take_over(project, slide, np.full((9, 9), TUMOUR, np.uint8))
    # In a done region too: what nobody has looked at is neither the class nor the background.
    assert at(project, slide, 4, 4) == at(project, slide, 24, 24) == 0
    assert at(project, slide, 15, 15) == BACKGROUND
    assert at(project, slide, 4, 4, include_predicted=True) == TUMOUR
    assert at(project, slide, 24, 24, include_predicted=True) == TUMOUR


def test_converting_a_prediction_does_not_launder_it(project: Project, slide: str) -> None:
    record = say(project, slide, G.PIXEL, Box(0, 0, 9, 9), source=Source.PREDICTED, confidence=0.9)
    (derived,) = project.annotations.add([record.derived(granularity=G.ELLIPSE, geometry=Ellipse(4, 4, 4, 4))])
    assert at(project, slide, 4, 4) == 0
    project.annotations.update([derived.changed(review=Review.ACCEPTED)])
    assert at(project, slide, 4, 4) == TUMOUR


def test_a_person_overrules_an_accepted_prediction(project: Project, slide: str) -> None:
    accepted = {"source": Source.PREDICTED, "review": Review.ACCEPTED, "annotator": "model"}
    say(project, slide, G.PIXEL, Box(0, 0, 9, 9), TUMOUR, **accepted)
    say(project, slide, G.PIXEL, Box(0, 0, 9, 9), STROMA)
    assert at(project, slide, 4, 4) == STROMA


def test_within_a_family_the_finest_speaks(project: Project, slide: str) -> None:
    mask = say(project, slide, G.PIXEL, Box(40, 40, 10, 10), TUMOUR)
    box = mask.derived(granularity=G.BOX, geometry=Box(30, 30, 30, 30))
    (box,) = project.annotations.add([box])
    assert at(project, slide, 32, 32) == 0
    assert at(project, slide, 32, 32, granularities={G.BOX}) == TUMOUR
    project.annotations.update([mask.changed(review=Review.REJECTED)])
    assert at(project, slide, 32, 32) == 0  # the box came from the rejected mask
    project.annotations.update([box.changed(review=Review.ACCEPTED)])
    assert at(project, slide, 32, 32) == TUMOUR


def test_a_mask_computed_from_a_click_replaces_the_click(project: Project, slide: str) -> None:
    click = say(project, slide, G.POINT, Point(100, 100), TUMOUR)
    (mask,) = project.annotations.add([click.derived(granularity=G.PIXEL, geometry=Box(99, 99, 2, 2))])
    assert np.count_nonzero(render_labels(project, slide, (80, 80), (40, 40))) == 4
    project.annotations.update([mask.changed(review=Review.REJECTED)])
    assert np.count_nonzero(render_labels(project, slide, (80, 80), (40, 40))) > 4


def test_a_label_of_the_whole_slide_paints_nothing(project: Project, slide: str) -> None:
    say(project, slide, G.IMAGE, WholeSlide(), TUMOUR)
    say(project, slide, G.EXHAUSTIVE, Box(0, 0, 9, 9), 0)
    assert at(project, slide, 4, 4) == BACKGROUND
    assert at(project, slide, 20, 20) == 0


def test_only_chosen_annotators_are_heard(project: Project, slide: str) -> None:
    say(project, slide, G.PIXEL, Box(0, 0, 9, 9), TUMOUR, annotator="bob")
    project.raster(slide, "ann").write(0, 0, np.full((9, 9), STROMA, np.uint8))
    assert at(project, slide, 4, 4, annotators=["bob"]) == TUMOUR
    assert at(project, slide, 4, 4, annotators=["ann"]) == STROMA
    view = SlideLabels(project, slide)
    assert view.annotators_in((0, 0, 5, 5)) == ("ann", "bob")


def test_beyond_the_slide_nothing_is_labelled(project: Project, slide: str) -> None:
    say(project, slide, G.PIXEL, Box(-50, -50, 2000, 2000), TUMOUR)
    labels = render_labels(project, slide, (-10, -10), (1044, 788))
    assert (labels[10:-10, 10:-10] == TUMOUR).all()
    assert np.count_nonzero(labels) == 1024 * 768


def test_classes_deleted_from_the_scheme_are_unlabelled(project: Project, slide: str) -> None:
    say(project, slide, G.PIXEL, Box(0, 0, 9, 9), STROMA)
    project.set_scheme(project.scheme.without(STROMA))
    assert at(project, slide, 4, 4) == 0


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(x=st.integers(-20, 600), y=st.integers(-20, 500), downsample=st.sampled_from([1.0, 2.0, 3.0]))
def test_parts_are_the_whole(region: SlideLabels, x: int, y: int, downsample: float) -> None:
    whole = region.render((x, y), downsample, (60, 40))
    right = region.render((x + 37 * downsample, y), downsample, (23, 40))
    np.testing.assert_array_equal(whole[:, 37:], right)


@pytest.fixture
def region(project: Project, slide: str) -> SlideLabels:
    annotate_region(project, slide)
    return SlideLabels(project, slide, RenderOptions())


def test_an_empty_region_is_refused(project: Project, slide: str) -> None:
    with pytest.raises(DatasetError, match="positive"):
        render_labels(project, slide, (0, 0), (0, 4))


def test_an_object_without_a_class_is_not_background(project: Project, slide: str) -> None:
    say(project, slide, G.EXHAUSTIVE, Box(0, 0, 100, 100), 0)
    say(project, slide, G.BOX, Box(10, 10, 20, 20), 0)
    assert at(project, slide, 15, 15) == 0
    assert at(project, slide, 50, 50) == BACKGROUND
