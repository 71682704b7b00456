"""Training as a job: patches drawn from the project, a trainer, previews between its steps."""

from __future__ import annotations

import json
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

from histotrain.card import CARD_FILE, read_card
from histotrain.events import Notice, Progressed
from histotrain.loop import Trainer
from napari_histoanno.datasets.sampling import LabelSampler
from napari_histoanno.jobs.preview import Previewer
from napari_histoanno.jobs.runlog import RunLog
from napari_histoanno.project import Project

if TYPE_CHECKING:
    from collections.abc import Iterator

    from histotrain.events import Event
    from histotrain.loop import TrainingOptions
    from napari_histoanno.datasets import SamplingSpec
    from napari_histoanno.jobs.channel import Channel
    from napari_histoanno.jobs.specs import TrainingSpec


def run(spec: TrainingSpec, channel: Channel) -> Iterator[Event]:
    """Train, yielding the trainer's events and, while somebody looks at a place, previews of it.

    The project is opened for reading only; the model, its events and its state for a resume go to ``spec.output``.

    Raises
    ------
    DatasetError
        If too little is annotated.
    TrainingError
        If recipe and data do not fit together.
    """
    with ExitStack() as stack:
        project = stack.enter_context(Project.open(spec.project, read_only=True))
        sampling = _sampling(spec, project)
        sampler = stack.enter_context(closing(LabelSampler(project, sampling)))
        trainer = _trainer(spec, sampler)
        frame = (sampling.mpp, trainer.classes.ids, trainer.predict_array, sampling.magnifications, sampling.stain)
        previewer = stack.enter_context(closing(Previewer(project, *frame)))
        log = stack.enter_context(RunLog(spec.output))
        yield from map(Notice, sampler.notices)
        for event in trainer.run():
            if channel.cancelled():
                trainer.stop()
            log.write(event)
            yield event
            if isinstance(event, Progressed):
                preview = previewer.answer(channel.preview_request(), event.step)
                if preview is not None:
                    yield preview


def _sampling(spec: TrainingSpec, project: Project) -> SamplingSpec:
    """What to draw; a model that goes on is judged by places that it has never learnt from."""
    before = spec.init or spec.resume
    if before is None or not (before / CARD_FILE).is_file():  # the trainer says what is missing
        return spec.sampling_spec
    card, sampling = read_card(before), spec.sampling_spec
    look = (card.stain or {}).get("target")
    if sampling.stain is not None and look is not None and look["method"] == sampling.stain["method"]:
        sampling = sampling.model_copy(update={"stain": look})  # the colours that its weights know
    return sampling.after(card.lineage, project.slides)


def _trainer(spec: TrainingSpec, sampler: LabelSampler) -> Trainer:
    options: TrainingOptions = {
        "validation": sampler.validation,
        "classes": sampler.classes,
        "class_ids": sampler.class_ids,
        "scheme": {"classes": json.loads(sampler.scheme.to_json())},
        "init": spec.init,
        "resume": spec.resume,
        "output": spec.output,
        "lineage": {**sampler.lineage(), "project": spec.project.name, "run": spec.run},
    }
    if look := sampler.spec.stain:
        options["stain"] = {"method": look["method"], "target": look}
    return Trainer(spec.recipe, sampler, **options)
