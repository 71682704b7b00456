"""Predictions that were taken over: still the model's, then painted over, accepted, rejected, and undone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_histoanno.annotation import Review, Source
from napari_histoanno.datasets import render_labels
from napari_histoanno.session import Session, SessionError
from tests.jobs.tissue import HEIGHT, STROMA, TUMOUR, WIDTH

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_histoanno.project import LabelRaster, Project


@pytest.fixture
def project(after_prediction: Session) -> Project:
    assert after_prediction.project is not None
    return after_prediction.project


@pytest.fixture
def mask(project: Project) -> LabelRaster:
    return project.raster(project.slides[0].id)


def shown(project: Project, *, include_predicted: bool = False) -> np.ndarray:
    return render_labels(
        project,
        project.slides[0].id,
        (0, 0),
        (WIDTH, HEIGHT),
        granularities={"pixel"},
        annotators={project.annotator},
        include_predicted=include_predicted,
    )


def take_over(session: Session, **options) -> int:
    made = session.make_editable(session.predictions()[-1].id, **options)
    assert made is not None
    return made.pixels or made.outlines


def test_pixels_are_the_models_until_painted(after_prediction: Session, project: Project, mask: LabelRaster) -> None:
    before = shown(project)
    number = take_over(after_prediction)
    assert sum(mask.unconfirmed.counts().values()) == number
    assert mask.confirmed.counts() == {}
    np.testing.assert_array_equal(shown(project), before)
    assert np.count_nonzero(shown(project, include_predicted=True)) == WIDTH * HEIGHT
    mask.write(450, 0, np.full((50, 50), TUMOUR, np.uint8))
    painted = shown(project)
    assert (painted[450:500, :50] == TUMOUR).all()
    painted[450:500, :50] = 0
    np.testing.assert_array_equal(painted, before)


def test_taking_over_is_one_action(after_prediction: Session, project: Project, mask: LabelRaster) -> None:
    entries = len(project.history.entries())
    take_over(after_prediction)
    assert len(project.history.entries()) == entries + 1
    after_prediction.undo()
    assert mask.counts() == {}
    assert not project.predicted_raster(mask.slide).keys()
    after_prediction.redo()
    assert mask.counts() == mask.unconfirmed.counts() != {}


def test_counts_know_nothing_of_predictions_beside(after_prediction: Session, project: Project) -> None:
    take_over(after_prediction)
    assert after_prediction.counts()["painted tiles"] == 4
    assert project.raster_annotators(project.slides[0].id) == (project.annotator,)


@pytest.mark.parametrize("bounds", [None, (100.5, 30.0, 620.0, 300.0)])
@pytest.mark.parametrize("classes", [None, (TUMOUR,)])
def test_accepting_and_rejecting_equal_arrays(
    after_prediction: Session, mask: LabelRaster, bounds: tuple[float, ...] | None, classes: tuple[int, ...] | None
) -> None:
    blocks = np.random.default_rng(0).integers(0, 3, (HEIGHT // 20, WIDTH // 20), np.uint8)
    with mask.edit(predicted=True) as edit:
        edit.write(0, 0, np.kron(blocks, np.ones((20, 20), np.uint8)))
    mask.write(0, 0, np.full((200, 200), STROMA, np.uint8))
    every = mask.read(0, 0, HEIGHT, 0, WIDTH)
    predicted = mask.unconfirmed.read(0, HEIGHT, 0, WIDTH)
    meant = predicted > 0 if classes is None else predicted == TUMOUR
    if bounds is not None:
        inside = np.zeros_like(meant)
        inside[30:300, 100:620] = True
        meant &= inside
    accepted = after_prediction.accept_predictions(bounds, classes)
    assert accepted is not None
    assert accepted.pixels == np.count_nonzero(meant)
    np.testing.assert_array_equal(mask.read(0, 0, HEIGHT, 0, WIDTH), every)
    np.testing.assert_array_equal(mask.unconfirmed.read(0, HEIGHT, 0, WIDTH), np.where(meant, 0, predicted))
    after_prediction.undo()
    np.testing.assert_array_equal(mask.unconfirmed.read(0, HEIGHT, 0, WIDTH), predicted)
    rejected = after_prediction.reject_predictions(bounds, classes)
    assert rejected == accepted
    np.testing.assert_array_equal(mask.read(0, 0, HEIGHT, 0, WIDTH), np.where(meant, 0, every))
    np.testing.assert_array_equal(mask.unconfirmed.read(0, HEIGHT, 0, WIDTH), np.where(meant, 0, predicted))
    after_prediction.undo()
    np.testing.assert_array_equal(mask.read(0, 0, HEIGHT, 0, WIDTH), every)
    np.testing.assert_array_equal(mask.unconfirmed.read(0, HEIGHT, 0, WIDTH), predicted)


@pytest.mark.parametrize(("name", "review"), [("accept", Review.ACCEPTED), ("reject", Review.REJECTED)])
def test_outlines_are_reviewed_with_the_pixels(
    after_prediction: Session, project: Project, mask: LabelRaster, name: str, review: Review
) -> None:
    number = take_over(after_prediction, as_="polygon", min_area=100)
    take_over(after_prediction)
    act: Callable = getattr(after_prediction, f"{name}_predictions")
    done = act()
    assert done.outlines == number
    assert done.pixels > 0
    records = project.annotations.query(sources=[Source.PREDICTED])
    assert {record.review for record in records} == {review}
    assert mask.unconfirmed.counts() == {}
    assert bool(mask.counts()) is (name == "accept")
    with pytest.raises(SessionError, match="waits for a review"):
        act()
    after_prediction.undo()
    assert {record.review for record in project.annotations.query(sources=[Source.PREDICTED])} == {Review.UNREVIEWED}
    assert mask.unconfirmed.counts()


def test_what_a_person_drew_is_not_reviewed(after_prediction: Session, project: Project, mask: LabelRaster) -> None:
    mask.write(0, 0, np.full((9, 9), STROMA, np.uint8))
    drawn = project.annotations.query()
    with pytest.raises(SessionError, match="nothing to reject"):
        after_prediction.reject_predictions()
    assert mask.counts() == {STROMA: 81}
    assert project.annotations.query() == drawn
