"""The demonstration on slides whose truth is known: who draws from it, and a prediction held against it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from histotrain.metrics import confusion, summary
from napari_histoanno.annotation import Annotation, Granularity
from napari_histoanno.report import Picture, Section, class_table, confusion_figure
from napari_histoanno.samples import sample_truth
from napari_histoanno.simulated import SimulatedAnnotator

if TYPE_CHECKING:
    from napari_histoanno.session import Session

_STROKES, _WIDTH, _STEPS = 6, 20.0, 18
_SEED = 4


def annotate(session: Session, seed: int = _SEED) -> int:
    """Go on with the sample project: some strokes in every class on each slide; returns how many."""
    project = session.writable_project()
    strokes: list[Annotation] = []
    for number, record in enumerate(project.slides):
        known = sample_truth(record.name)
        hand = SimulatedAnnotator(known, np.random.default_rng((seed, number)))
        strokes += [
            Annotation(record.id, Granularity.SPARSE, stroke, region, project.annotator)
            for region in known.region_names
            for stroke in hand.strokes(region, _STROKES, _WIDTH, _STEPS)
        ]
    project.annotations.add(strokes, action="scribble")
    return len(strokes)


def compared(session: Session) -> Section:
    """The newest prediction of the current slide against the truth of every pixel in tissue."""
    prediction = session.newest_prediction
    if prediction is None:
        return Section("Against the truth", ["The slide was not predicted."])
    known = sample_truth(session.current_slide().name)
    store = session.open_prediction(prediction)
    found = np.asarray(store.levels[0][:, :], np.uint8)
    rows, columns = (((np.arange(size) + 0.5) * store.downsample).astype(int) for size in found.shape)
    true = known.regions[np.minimum(rows, known.regions.shape[0] - 1)][
        :, np.minimum(columns, known.regions.shape[1] - 1)
    ]
    true = np.where(found > 0, true, 0)
    names = [known.region_names[key] for key in sorted(known.region_names)]
    matrix = confusion(true, found, classes=len(names))
    scores = summary(matrix, names)
    section = Section(
        "Against the truth",
        ["Every predicted pixel of the first slide against what is really there, places of training included."],
    )
    section.tables.append(class_table(scores, names))
    section.pictures.append(Picture.from_figure(confusion_figure(matrix[1:, 1:], names), "Share of each true class"))
    return section
