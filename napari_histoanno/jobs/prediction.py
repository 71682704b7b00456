"""Predicting a slide as a job: tiles from the slide, blended blocks into the prediction store, one event for each."""

from __future__ import annotations

import math
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import cv2
import numpy as np

from histotrain.checkpoint import load_model
from histotrain.errors import TrainingError
from histotrain.events import Finished, Notice, Progressed
from histotrain.prediction import PredictOptions, predict
from histotrain.uncertainty import Ensemble
from napari_histoanno.annotation import LabelClass
from napari_histoanno.annotation.scheme import PALETTE
from napari_histoanno.jobs.events import PredictionBlock
from napari_histoanno.jobs.frame import FALLBACK_MPP, SlideFrame
from napari_histoanno.jobs.prediction_store import PredictionInfo, PredictionStore
from napari_histoanno.project import Project
from napari_histoanno.slides import TissueMask, tissue_mask

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from histotrain.checkpoint import LoadedModel
    from histotrain.events import Event
    from histotrain.objects import PredictedObject
    from histotrain.prediction import PredictedBlock
    from napari_histoanno.annotation import Bounds
    from napari_histoanno.jobs.channel import Channel
    from napari_histoanno.jobs.specs import PredictionSpec

_BLOCKS_IN_FLIGHT = 4
_TISSUE_UM = 8.0
_MARGIN_UM = 16.0


def run(spec: PredictionSpec, channel: Channel) -> Iterator[Event]:
    """Predict a slide or a region of it, yielding an event for each block that is on disk.

    Cancelled, it keeps what is done and says so in the store.

    Raises
    ------
    TrainingError
        If the model cannot be loaded, or cannot give what is asked for.
    SlideError, ProjectError
        If the slide cannot be read.
    PredictionError
        If the store cannot be written.
    """
    with ExitStack() as stack:
        project = stack.enter_context(Project.open(spec.project, read_only=True))
        record = project.find_slide(spec.slide)
        slide = stack.enter_context(project.open_slide(record.id))
        model = _loaded(spec)
        first = model.first if isinstance(model, Ensemble) else model
        mpp = record.mpp or slide.mpp
        if mpp is None:
            yield Notice(f"{record.name} does not say its pixel size: {FALLBACK_MPP} µm is assumed.")
        frame = SlideFrame(slide, first.mpp / (mpp or FALLBACK_MPP), (first.card.stain or {}).get("target"))
        if frame.notice:
            yield Notice(f"{record.name}: {frame.notice}.")
        tissue = tissue_mask(slide, mpp=_TISSUE_UM) if spec.tissue_only else None
        options = _options(spec, first)
        store = _store(spec, first, frame)
        blocks = predict(
            model,
            frame.read,
            frame.size,
            mask=frame.holds(tissue) if tissue is not None else None,
            region=frame.region(spec.region),
            options=options,
            read_scaled=frame.read_scaled,
        )
        stack.enter_context(closing(cast("Generator[PredictedBlock]", blocks)))
        kept = blocks if tissue is None else _on_tissue(blocks, tissue, frame.downsample, first.background)
        yield from _written(store, kept, channel)


def _loaded(spec: PredictionSpec) -> LoadedModel | Ensemble:
    model = load_model(spec.model)
    if model.task == "clicks":
        raise TrainingError(
            f"{model.recipe.model} needs a click for each object", hint="Predict with another model, or click."
        )
    return Ensemble([model, *map(load_model, spec.ensemble)]) if spec.ensemble else model


def _options(spec: PredictionSpec, model: LoadedModel) -> PredictOptions:
    return PredictOptions(
        tile=spec.tile,
        overlap=min(spec.overlap, spec.tile // 2 - 1),
        tta=spec.tta,
        uncertainty=spec.uncertainty,
        passes=spec.passes,
        objects=bool(model.layout),
    )


def _store(spec: PredictionSpec, model: LoadedModel, frame: SlideFrame) -> PredictionStore:
    info = PredictionInfo(
        size=frame.size,
        downsample=frame.downsample,
        mpp=model.mpp,
        classes=_classes(model),
        slide=spec.slide,
        run=spec.model.name,
        region=spec.region,
    )
    unsure = spec.uncertainty != "none"
    store = PredictionStore.create(spec.output, info, keep_probabilities=spec.keep_probabilities, uncertainty=unsure)
    if model.layout:
        store.objects.create()
    return store


def _on_tissue(
    blocks: Iterator[PredictedBlock], tissue: TissueMask, downsample: float, background: int | None
) -> Iterator[PredictedBlock]:
    """Blocks in which glass, but for a margin around the tissue, is not predicted: tiles are too coarse to say it.

    A model that knows the background is believed where it sees something else on what looked like glass: fat, for one.
    """
    side = 2 * math.ceil(_MARGIN_UM / _TISSUE_UM) + 1
    near = cv2.dilate(tissue.mask.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    for block in blocks:
        height, width = block.classes.shape
        rows, columns = (
            np.minimum(((np.arange(size) + start + 0.5) * downsample / tissue.downsample).astype(int), most - 1)
            for size, start, most in zip((height, width), (block.y, block.x), near.shape, strict=True)
        )
        shown = near[rows][:, columns]
        if background is not None:
            shown = shown | (block.classes != background)
        yield replace(
            block,
            classes=block.classes * shown,
            confidence=block.confidence * shown,
            probabilities=block.probabilities * shown,
            uncertainty=None if block.uncertainty is None else block.uncertainty * shown,
            objects=tuple(item for item in block.objects if _lies_on(near, item, downsample / tissue.downsample)),
        )


def _lies_on(near: np.ndarray, item: PredictedObject, scale: float) -> bool:
    height, width = near.shape
    return bool(near[min(int(item.y * scale), height - 1), min(int(item.x * scale), width - 1)])


def _classes(model: LoadedModel) -> tuple[LabelClass, ...]:
    """The model's classes with the colours they had when it was trained."""
    colors = {entry["id"]: tuple(entry["color"]) for entry in model.card.scheme.get("classes", ()) if "color" in entry}
    return tuple(
        LabelClass(key, name, colors.get(key, PALETTE[(key - 1) % len(PALETTE)]))
        for key, name in zip(model.class_ids, model.classes, strict=True)
    )


def _keep(store: PredictionStore, block: PredictedBlock) -> Bounds:
    """Write a block and what single objects came with it; in the writer's thread."""
    planes = (block.classes, block.confidence, block.probabilities, block.uncertainty)
    bounds = store.write(block.x, block.y, *planes)
    store.objects.add(block.objects, store.downsample)
    return bounds


def _written(store: PredictionStore, blocks: Iterator[PredictedBlock], channel: Channel) -> Iterator[Event]:
    """Store blocks in a thread beside the network, yielding an event for each that is on disk."""
    started = time.monotonic()
    waiting: deque[tuple[PredictedBlock, Future[Bounds]]] = deque()
    done = total = 0
    cancelled = False

    def landed() -> Iterator[Event]:
        block, future = waiting.popleft()
        yield PredictionBlock(bounds=future.result(), done=block.done, total=block.total)
        pace = block.done / max(time.monotonic() - started, 1e-6)
        eta = (block.total - block.done) / pace
        yield Progressed(block.done, block.total, math.nan, math.nan, pace, eta)

    with ThreadPoolExecutor(1, thread_name_prefix="prediction writer") as writer:
        for block in blocks:
            future = writer.submit(_keep, store, block)
            waiting.append((block, future))
            done, total = block.done, block.total
            while waiting and (waiting[0][1].done() or len(waiting) > _BLOCKS_IN_FLIGHT):
                yield from landed()
            cancelled = channel.cancelled()
            if cancelled:
                break
        while waiting:
            yield from landed()
    store.finish(partial=cancelled)
    reason = "cancelled" if cancelled else "completed"
    note = f"stopped after {done} of {total} tiles; what is done is kept" if cancelled else ""
    yield Finished(reason, step=done, best_step=done, path=str(store.path), message=note)
