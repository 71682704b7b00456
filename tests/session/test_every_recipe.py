"""Every recipe that ships trains on the sample project, and its model can be measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from histotrain import Recipe, list_recipes
from napari_histoanno.annotation import Annotation, Box, Granularity
from napari_histoanno.jobs import InlineEngine, JobState
from napari_histoanno.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_histoanno.jobs import Job

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

PATIENCE = 800
NOT_HERE = {"pannuke-mask-rcnn": "compiled operators"}


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """The sample project, with a few labels of whole patches beside what it has."""
    engine = InlineEngine()
    session = Session(engine=engine)
    project = session.open_sample(tmp_path_factory.mktemp("sample") / "project")
    first, second = list(project.scheme)[:2]
    for slide in project.slides:
        corners = [(x, y) for x in (0, 1100, 2200) for y in (0, 1500)]
        for number, (x, y) in enumerate(corners):
            label = (first, second)[number % 2]
            project.annotations.add([Annotation(slide.id, Granularity.IMAGE, Box(x, y, 1024, 1024), label.id)])
    yield session
    engine.close()
    session.close()


def small(name: str) -> Recipe:
    """The recipe, two steps of it, small enough for any machine and for the sample's 2 mm, and without a download."""
    recipe = Recipe.named(name)
    return recipe.with_changes(
        steps=2,
        validate_every=2,
        batch_size=2,
        patch_size=min(128, recipe.patch_size),
        mpp=min(0.5, recipe.mpp),
        encoder_weights=None,
    )


def ended(job: Job | None) -> Job:
    assert job is not None
    assert job.done.wait(PATIENCE)
    return job


@pytest.mark.parametrize("name", list_recipes())
def test_it_trains_and_is_measured(session: Session, name: str) -> None:
    job = ended(session.start_training(small(name), name=name))
    if name in NOT_HERE and job.state is JobState.FAILED:
        assert NOT_HERE[name] in job.message
        return
    assert job.state is JobState.COMPLETED, job.message
    assert job.status.step == 2
    run = session.runs()[-1]
    measured = ended(session.evaluate(run.id))
    assert measured.state is JobState.COMPLETED, measured.message
    path = Path(measured.status.path or "")
    assert json.loads(path.read_text(encoding="utf-8"))["metrics"]
    assert "Largest mistakes" in path.with_suffix(".html").read_text(encoding="utf-8")
