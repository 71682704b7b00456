"""Turning what a model said into annotations that a person can correct.

Pixels go into the annotator's own mask, because that is where the brush works, and only where nothing is labelled yet
unless asked otherwise; outlines become records of their own, with the model's confidence: one for each object, where
the model finds single objects (points, where it finds points), else one for each connected area. Both are marked as
predicted until a person has painted over them or accepted them. Either way it is one undoable action.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_histoanno.annotation import Annotation, Area, Granularity, Review, Source, rasterize, vectorize
from napari_histoanno.session.errors import SessionError, reported
from napari_histoanno.session.objects import EditableOptions, object_records
from napari_histoanno.session.state import SessionState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Unpack

    from numpy.typing import NDArray

    from napari_histoanno.annotation import Bounds
    from napari_histoanno.jobs import PredictionStore
    from napari_histoanno.project import PredictionRecord, Project, SlideRecord

_CHUNK = 512
_LARGEST_OUTLINED = 400e6
"""Pixels of a prediction that are outlined at once; some gigabytes of memory."""


@dataclass(frozen=True, slots=True)
class MadeEditable:
    """What became of a prediction: level-0 pixels labelled, or outlines added."""

    pixels: int = 0
    outlines: int = 0


class CorrectingActions(SessionState):
    """What an annotator does with a prediction."""

    @reported
    def make_editable(self, prediction: str, **options: Unpack[EditableOptions]) -> MadeEditable:
        """Make annotations of a prediction, in one undoable action. May be called from any thread.

        Parameters
        ----------
        prediction : str
            Its id.
        **options
            See :class:`EditableOptions`.

        Raises
        ------
        SessionError
            If there is nothing to take over.
        PredictionError
            If the prediction cannot be read.
        """
        from napari_histoanno.jobs import PredictionStore

        project = self.writable_project()
        self.about_to_read.emit()
        record = project.predictions.get(prediction)
        store = PredictionStore.open(project.path / record.path)
        classes = options.get("classes")
        taken = _Taken(store, None if classes is None else frozenset(classes), options.get("min_confidence", 0.0))
        slide = project.find_slide(record.slide)
        box = _clipped(options.get("bounds") or record.region, slide)
        if options.get("as_", "pixel") == "pixel":
            made = MadeEditable(pixels=_paint(project, slide, taken, box, overwrite=options.get("overwrite", False)))
        else:
            if store.objects.exists:
                outlines = object_records(store.objects, record.slide, box, _author(project, record), options)
            else:
                sizes = {"simplify": options.get("simplify", 1.0), "min_area": options.get("min_area", 0.0)}
                outlines = list(_outlines(project, record, taken, box, **sizes))
            properties = {"prediction": record.id}
            outlines = [replace(outline, properties=properties) for outline in outlines]
            if outlines:
                project.annotations.add(outlines, action="make prediction editable")
            made = MadeEditable(outlines=len(outlines))
        if not (made.pixels or made.outlines):
            raise SessionError(
                "There is nothing to take over: nothing is predicted there, or everything is labelled already."
            )
        self.status.emit(f"Took over {made.outlines} outlines" if made.outlines else f"Took over {made.pixels} pixels")
        return made


@dataclass(frozen=True, slots=True)
class _Taken:
    """The part of a prediction that is wanted: some classes, sure enough."""

    store: PredictionStore
    classes: frozenset[int] | None
    min_confidence: float

    def read(self, bounds: Bounds) -> tuple[NDArray[np.uint8], NDArray[np.uint8], tuple[int, int]]:
        """Class ids (0 where not wanted), confidence, and the (x, y) corner in store pixels, under a level-0 box."""
        classes, corner = self.store.read_classes(bounds)
        confidence = self.store.read_confidence(bounds)
        wanted = confidence >= self.min_confidence * 255
        if self.classes is not None:
            wanted &= np.isin(classes, sorted(self.classes))
        return np.where(wanted, classes, 0).astype(np.uint8), confidence, corner


def _clipped(bounds: Bounds | None, slide: SlideRecord) -> tuple[int, int, int, int]:
    if bounds is None:
        return 0, 0, slide.width, slide.height
    x0, y0, x1, y1 = bounds
    return (
        max(0, math.floor(x0)),
        max(0, math.floor(y0)),
        min(slide.width, math.ceil(x1)),
        min(slide.height, math.ceil(y1)),
    )


def _paint(
    project: Project, slide: SlideRecord, taken: _Taken, box: tuple[int, int, int, int], *, overwrite: bool
) -> int:
    """Write class ids into the mask, chunk by chunk; returns how many pixels are different."""
    x0, y0, x1, y1 = box
    changed = 0
    with project.raster(slide.id).edit("make prediction editable", predicted=True) as edit:
        for top in range(y0 - y0 % _CHUNK, y1, _CHUNK):
            for left in range(x0 - x0 % _CHUNK, x1, _CHUNK):
                rows, columns = (max(top, y0), min(top + _CHUNK, y1)), (max(left, x0), min(left + _CHUNK, x1))
                block = _at_level_0(taken, rows, columns)
                if not block.any():
                    continue
                before = edit.read(*rows, *columns)
                wanted = (block > 0) & (block != before) if overwrite else (block > 0) & (before == 0)
                if wanted.any():
                    edit.write(rows[0], columns[0], block, mask=wanted)
                    changed += int(wanted.sum())
    return changed


def _at_level_0(taken: _Taken, rows: tuple[int, int], columns: tuple[int, int]) -> NDArray[np.uint8]:
    """Class ids of a level-0 block: each pixel has that of the store pixel its centre lies in."""
    classes, _, (left, top) = taken.read((columns[0], rows[0], columns[1], rows[1]))
    if not classes.any():
        return np.zeros((rows[1] - rows[0], columns[1] - columns[0]), np.uint8)
    scale = taken.store.downsample
    y = ((np.arange(*rows) + 0.5) / scale).astype(np.int64) - top
    x = ((np.arange(*columns) + 0.5) / scale).astype(np.int64) - left
    height, width = classes.shape
    return np.asarray(classes[np.minimum(y, height - 1)[:, None], np.minimum(x, width - 1)], np.uint8)


def _outlines(
    project: Project,
    record: PredictionRecord,
    taken: _Taken,
    box: tuple[int, int, int, int],
    *,
    simplify: float,
    min_area: float,
) -> Iterator[Annotation]:
    """Records of the predicted objects of a box."""
    x0, y0, x1, y1 = box
    if (x1 - x0) * (y1 - y0) / taken.store.downsample**2 > _LARGEST_OUTLINED:
        raise SessionError("The region is too large to outline at once. Choose a smaller one, or take over pixels.")
    classes, confidence, (left, top) = taken.read(box)
    scale = taken.store.downsample
    origin = (left * scale, top * scale)
    author = _author(project, record)
    for class_id, area in vectorize(classes, origin=origin, downsample=scale, simplify=simplify, min_area=min_area):
        yield Annotation(
            slide=record.slide,
            granularity=Granularity.PIXEL,
            geometry=area,
            class_id=class_id,
            annotator=author,
            source=Source.PREDICTED,
            review=Review.UNREVIEWED,
            confidence=_mean_confidence(area, confidence, origin, scale),
        )


def _author(project: Project, record: PredictionRecord) -> str:
    """Name of the model run that predicted."""
    return next((run.name for run in project.runs.list() if run.id == record.run), "model")


def _mean_confidence(area: Area, confidence: NDArray[np.uint8], origin: tuple[float, float], scale: float) -> float:
    """Mean over the pixels of an outline, 0 … 1."""
    x0, y0, x1, y1 = area.bounds
    height, width = confidence.shape
    left, top = max(0, math.floor((x0 - origin[0]) / scale)), max(0, math.floor((y0 - origin[1]) / scale))
    right, bottom = min(width, math.ceil((x1 - origin[0]) / scale)), min(height, math.ceil((y1 - origin[1]) / scale))
    corner = (origin[0] + left * scale, origin[1] + top * scale)
    inside = rasterize([(area, 1)], (max(1, right - left), max(1, bottom - top)), origin=corner, downsample=scale)
    values = confidence[top:bottom, left:right][inside[: bottom - top, : right - left] > 0]
    return float(values.mean()) / 255 if values.size else 0.0
