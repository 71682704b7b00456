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
from histotrain.events import Finished, Notice, Progressed
from histotrain.prediction import PredictOptions, predict
from napari_histoanno.annotation import LabelClass
from napari_histoanno.annotation.scheme import PALETTE
from napari_histoanno.jobs.events import PredictionBlock
from napari_histoanno.jobs.prediction_store import PredictionInfo, PredictionStore
from napari_histoanno.project import Project
from napari_histoanno.slides import TissueMask, tissue_mask

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from histotrain.checkpoint import LoadedModel
    from histotrain.events import Event
    from histotrain.prediction import PredictedBlock
    from napari_histoanno.annotation import Bounds
    from napari_histoanno.jobs.channel import Channel
    from napari_histoanno.jobs.specs import PredictionSpec
    from napari_histoanno.slides import Slide

_FALLBACK_MPP = 0.5
_BLOCKS_IN_FLIGHT = 4
_TISSUE_UM = 8.0
_MARGIN_UM = 16.0


def run(spec: PredictionSpec, channel: Channel) -> Iterator[Event]:
    """Predict a slide or a region of it, yielding an event for each block that is on disk.

    Cancelled, it keeps what is done and says so in the store.

    Raises
    ------
    TrainingError
        If the model cannot be loaded.
    SlideError, ProjectError
        If the slide cannot be read.
    PredictionError
        If the store cannot be written.
    """
    with ExitStack() as stack:
        project = stack.enter_context(Project.open(spec.project, read_only=True))
        record = project.find_slide(spec.slide)
        slide = stack.enter_context(project.open_slide(record.id))
        model = load_model(spec.model)
        mpp = record.mpp or slide.mpp
        if mpp is None:
            yield Notice(f"{record.name} does not say its pixel size: {_FALLBACK_MPP} µm is assumed.")
        frame = _Frame(slide, model.mpp / (mpp or _FALLBACK_MPP))
        info = PredictionInfo(
            size=frame.size,
            downsample=frame.downsample,
            mpp=model.mpp,
            classes=_classes(model),
            slide=record.id,
            run=spec.model.name,
            region=spec.region,
        )
        tissue = tissue_mask(slide, mpp=_TISSUE_UM) if spec.tissue_only else None
        store = PredictionStore.create(spec.output, info, keep_probabilities=spec.keep_probabilities)
        blocks = predict(
            model,
            frame.read,
            frame.size,
            mask=frame.holds(tissue) if tissue is not None else None,
            region=frame.region(spec.region),
            options=PredictOptions(tile=spec.tile, overlap=min(spec.overlap, spec.tile // 2 - 1), tta=spec.tta),
        )
        stack.enter_context(closing(cast("Generator[PredictedBlock]", blocks)))
        kept = blocks if tissue is None else _on_tissue(blocks, tissue, frame.downsample, _background(model))
        yield from _written(store, kept, channel)


class _Frame:
    """A slide seen in the model's pixels."""

    def __init__(self, slide: Slide, downsample: float) -> None:
        self._slide = slide
        self.downsample = downsample
        width, height = slide.dimensions
        self.size = (max(1, math.ceil(width / downsample)), max(1, math.ceil(height / downsample)))

    def read(self, x: int, y: int, w: int, h: int) -> np.ndarray:
        return self._slide.read_scaled((x * self.downsample, y * self.downsample), self.downsample, (w, h))

    def holds(self, tissue: TissueMask) -> Callable[[int, int, int, int], bool]:
        def holds_tissue(x: int, y: int, w: int, h: int) -> bool:
            return tissue.fraction(*(value * self.downsample for value in (x, y, w, h))) > 0

        return holds_tissue

    def region(self, bounds: Bounds | None) -> tuple[int, int, int, int] | None:
        """A level-0 box in model pixels, as (x, y, w, h)."""
        if bounds is None:
            return None
        x0, y0, x1, y1 = (value / self.downsample for value in bounds)
        left, top = math.floor(x0), math.floor(y0)
        return left, top, math.ceil(x1) - left, math.ceil(y1) - top


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
        )


def _background(model: LoadedModel) -> int | None:
    """Id of the model's background class."""
    known = (entry["id"] for entry in model.card.scheme.get("classes", ()) if entry.get("background"))
    return next((key for key in known if key in model.class_ids), None)


def _classes(model: LoadedModel) -> tuple[LabelClass, ...]:
    """The model's classes with the colours they had when it was trained."""
    colors = {entry["id"]: tuple(entry["color"]) for entry in model.card.scheme.get("classes", ()) if "color" in entry}
    return tuple(
        LabelClass(key, name, colors.get(key, PALETTE[(key - 1) % len(PALETTE)]))
        for key, name in zip(model.class_ids, model.classes, strict=True)
    )


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
            future = writer.submit(store.write, block.x, block.y, block.classes, block.confidence, block.probabilities)
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
