"""A model is never judged by places that it, or the one it goes on from, has learnt from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from histotrain.card import read_card
from histotrain.events import Notice
from napari_histoanno.annotation import Annotation, Box, Granularity
from napari_histoanno.datasets import HeldOut, LabelSampler, SamplingSpec
from napari_histoanno.jobs import JobState
from tests.jobs.tissue import HEIGHT, RECIPE, STROMA, TUMOUR, WIDTH

if TYPE_CHECKING:
    from typing import Any

    from napari_histoanno.jobs import Job
    from napari_histoanno.project import Project
    from napari_histoanno.session import Session


def ended(job: Job | None) -> Job:
    assert job is not None
    job.wait(60)
    assert job.state is JobState.COMPLETED, job.message
    return job


def lineage(session: Session, run: str) -> dict[str, Any]:
    assert session.project is not None
    return dict(read_card(session.project.path / session.project.runs.get(run).path).lineage)


def annotate_everything(project: Project) -> None:
    """So much more is annotated that a fresh choice of what to hold out would be another."""
    slide = project.slides[0].id
    for x, class_id in ((0, TUMOUR), (WIDTH // 2, STROMA)):
        project.annotations.add(
            [Annotation(slide, Granularity.PIXEL, Box(x, 0, WIDTH // 2, HEIGHT), class_id, annotator="Ada")]
        )


@pytest.fixture
def samplers(monkeypatch: pytest.MonkeyPatch) -> list[LabelSampler]:
    """All samplers that jobs make."""
    used: list[LabelSampler] = []
    made = LabelSampler.__init__

    def noted(self: LabelSampler, *args: Any, **kwargs: Any) -> None:
        made(self, *args, **kwargs)
        used.append(self)

    monkeypatch.setattr(LabelSampler, "__init__", noted)
    return used


def corners(project: Project, images: np.ndarray) -> list[tuple[int, int]]:
    """Where patches lie, which are cut on a grid."""
    side = images.shape[1]
    with project.open_slide(project.slides[0].id) as slide:
        picture = slide.read_region((0, 0), 0, (WIDTH + side, HEIGHT + side))
    grid = {
        picture[y : y + side, x : x + side].tobytes(): (x, y)
        for y in range(0, HEIGHT, side)
        for x in range(0, WIDTH, side)
    }
    return [grid[image.tobytes()] for image in images]


def all_held(project: Project, sampler: LabelSampler, held: HeldOut) -> bool:
    assert sampler.validation is not None
    side = sampler.validation.images.shape[1]
    places = np.array(corners(project, sampler.validation.images), np.float64)
    return bool(held.inside(project.slides[0].id, places, side).all())


def test_a_model_is_judged_by_what_it_and_the_one_before_never_saw(
    session: Session, samplers: list[LabelSampler]
) -> None:
    project = session.project
    assert project is not None
    ended(session.start_training(RECIPE))
    held = HeldOut.model_validate(lineage(session, session.runs()[0].id)["held"])
    assert held
    annotate_everything(project)
    fresh = LabelSampler(project, SamplingSpec(mpp=0.5, patch_size=32))
    assert not all_held(project, fresh, held)
    samplers.clear()
    ended(session.start_training(continue_from=session.runs()[0].id))
    ended(session.start_training(continue_from=session.runs()[1].id))
    assert [HeldOut.model_validate(lineage(session, run.id)["held"]) for run in session.runs()] == [held] * 3
    ended(session.evaluate(session.runs()[2].id))
    assert len(samplers) == 3
    assert all(all_held(project, sampler, held) for sampler in samplers)


def test_slides_that_a_model_has_learnt_from_do_not_test_it(session: Session) -> None:
    project = session.project
    assert project is not None
    ended(session.start_training(RECIPE))
    run, slide = session.runs()[0], project.slides[0].id
    project.update_slide(slide, split="test")
    job = session.evaluate(run.id, on="test")
    assert job is not None
    job.wait(60)
    assert job.state is JobState.FAILED
    assert "has learnt from slide" in job.message
    project.update_slide(slide, split="")
    heard: list[object] = []
    job = session.evaluate(run.id, slides=(slide,))
    assert job is not None
    job.event.connect(heard.append)
    ended(job)
    assert job.status.notices or [event for event in heard if isinstance(event, Notice)]
