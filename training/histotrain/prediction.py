"""Predicting a whole slide: overlapping tiles in, finished blocks out, in bounded memory.

A thread reads tiles ahead while the network computes. Only the strip in which a row of tiles overlaps the next one is
kept, so the memory is overlap x width x classes, whatever the height; networks that find single objects need two rows
of tiles. Every block is final when it is yielded and is yielded once; a store can write it at once and a screen can
show it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from histotrain.contexts import Contexts
from histotrain.prefetch import Prefetch
from histotrain.tiling import TileGrid, padded, window_overlap, window_tile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Unpack

    from numpy.typing import NDArray

    from histotrain.checkpoint import LoadedModel
    from histotrain.objects import PredictedObject
    from histotrain.uncertainty import Ensemble, Uncertainty

    UInt8 = NDArray[np.uint8]
    Read = Callable[[int, int, int, int], UInt8]
    ReadScaled = Callable[[int, int, int, int, float], UInt8]
    Mask = Callable[[int, int, int, int], bool]


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """How to predict.

    Parameters
    ----------
    tile : int
        Side of a tile, pixels; less for a smaller image, and fitted to the windows of a classifier.
    overlap : int
        Pixels that neighbouring tiles share and blend over; half a window for a classifier.
    batch : int
        Tiles in one forward pass.
    tta : bool
        Average over the eight orientations: eight times slower, a little better.
    uncertainty : str
        "none"; "entropy" or "margin" of the prediction; "mc-dropout" or "ensemble", the disagreement of several
        passes of one network with random dropout, or of several models. See `histotrain.uncertainty`.
    passes : int
        Forward passes for "mc-dropout".
    objects : bool
        Find single objects; blocks then carry them and show their classes.
    halo : int
        Pixels around a block in which its objects are seen whole. Larger ones are put together from pieces.
    """

    tile: int = 512
    overlap: int = 64
    batch: int = 4
    tta: bool = False
    uncertainty: Uncertainty = "none"
    passes: int = 8
    objects: bool = False
    halo: int = 64


@dataclass(frozen=True, slots=True)
class PredictedBlock:
    """A finished part of a prediction, in pixels of the model's frame.

    ``classes`` uint8 (h, w) holds class ids, 0 outside the mask; ``confidence`` uint8 (h, w) is the largest
    probability, 255 being 1; ``probabilities`` uint8 (C, h, w). ``done`` of ``total`` tiles are finished, skipped
    ones included. ``uncertainty`` uint8 (h, w), 255 being 1, is there if it was asked for.

    Where objects were asked for, ``objects`` are those that became final with this block, not necessarily in it, each
    object once; ``classes`` is 0 where there is no object (but the model's background, if it has one), and
    ``confidence`` an object's score.
    """

    x: int
    y: int
    classes: UInt8
    confidence: UInt8
    probabilities: UInt8
    done: int
    total: int
    uncertainty: UInt8 | None = None
    objects: tuple[PredictedObject, ...] = ()


class PredictionInputs(TypedDict, total=False):
    """What `predict` can be told beside the model and the image."""

    mask: Mask | None
    """``mask(x, y, w, h)`` says whether there is anything to predict in that part. Tiles without are skipped and not
    yielded: they are 0."""
    region: tuple[int, int, int, int] | None
    """Only this part (x, y, w, h), which comes out as it would within the whole."""
    options: PredictOptions | None
    """Tile size and the like."""
    read_scaled: ReadScaled | None
    """``read_scaled(x, y, w, h, factor)`` reads the image at a lower magnification, for networks that see several; see
    `histotrain.contexts.Contexts`. Without it they are made by reading the image itself."""


def predict(
    model: LoadedModel | Ensemble, read: Read, size: tuple[int, int], **inputs: Unpack[PredictionInputs]
) -> Iterator[PredictedBlock]:
    """Predict an image of any size; closing the generator cancels.

    Parameters
    ----------
    model : LoadedModel or Ensemble
        From `load_model`.
    read : callable
        ``read(x, y, w, h)`` gives uint8 (h, w, 3) at the model's pixel size; called from a thread, never beyond the
        image.
    size : (int, int)
        Width and height of the image, pixels.
    **inputs
        See `PredictionInputs`.

    Yields
    ------
    PredictedBlock
        Blocks that do not overlap.

    Raises
    ------
    TrainingError
        If the model cannot give what the options ask for.
    """
    width, height = size
    x, y, w, h = inputs.get("region") or (0, 0, width, height)
    x0, y0, x1, y1 = max(0, x), max(0, y), min(width, x + w), min(height, y + h)
    if x0 >= x1 or y0 >= y1:
        return
    yield from _Run(model, read, size, (x0, y0, x1, y1), inputs).blocks()


def predict_instances(
    model: LoadedModel | Ensemble, read: Read, size: tuple[int, int], **inputs: Unpack[PredictionInputs]
) -> Iterator[PredictedObject]:
    """The single objects of an image of any size, each once, whatever the tiles; arguments as for `predict`.

    Raises
    ------
    TrainingError
        If the model does not find single objects.
    """
    inputs["options"] = replace(inputs.get("options") or PredictOptions(), objects=True)
    for block in predict(model, read, size, **inputs):
        yield from block.objects


def fitting_grid(width: int, height: int, options: PredictOptions, window: int | None = None) -> TileGrid:
    """The grid for an image: a small one is a single tile of the next multiple of 32.

    With a classifier's ``window`` its windows lie on one grid, whatever the tiles.
    """
    if window is not None:
        tile = window_tile(window, min(options.tile, max(width, height)))
        return TileGrid(width, height, tile=tile, overlap=window_overlap(window))
    tile = min(options.tile, -(-max(width, height) // 32) * 32)
    return TileGrid(width, height, tile=tile, overlap=min(options.overlap, (tile - 1) // 2))


@dataclass(frozen=True, slots=True)
class Blended:
    """A block of the grid; without a block, no tile reached it. ``maps`` float16 (E, h, w) are those of objects."""

    row: int
    column: int
    block: PredictedBlock | None
    maps: NDArray[np.float16] | None = None


@dataclass(frozen=True, slots=True)
class _Job:
    """A tile to predict, or (image is None) one that is skipped."""

    row: int
    column: int
    image: UInt8 | None


class _Run:
    """One prediction of the part (x0, y0, x1, y1) of an image."""

    def __init__(
        self,
        model: LoadedModel | Ensemble,
        read: Read,
        size: tuple[int, int],
        bounds: tuple[int, int, int, int],
        inputs: PredictionInputs,
    ) -> None:
        from histotrain.forward import Forward

        self._options = options = inputs.get("options") or PredictOptions()
        self._forward = Forward(model, options)
        first = self._forward.first
        self._read, self._mask, self._bounds = read, inputs.get("mask"), bounds
        self._grid = grid = fitting_grid(*size, options, first.window)
        several = len(first.magnifications) > 1
        self._contexts = (
            Contexts(size, grid.tile, first.magnifications, read, inputs.get("read_scaled")) if several else None
        )
        # Objects are seen whole, so what surrounds a region is needed, too.
        margin = options.halo if options.objects else 0
        x0, y0 = (max(0, value - margin) for value in bounds[:2])
        x1, y1 = (min(side, value + margin) for side, value in zip(size, bounds[2:], strict=True))
        # A pixel gets its value from the tiles that contain it, so a region needs those that begin before it, too.
        self._columns = range(self._first(x0), min(grid.columns - 1, (x1 - 1) // grid.stride) + 1)
        self._rows = range(self._first(y0), min(grid.rows - 1, (y1 - 1) // grid.stride) + 1)
        self._done = 0

    def _first(self, start: int) -> int:
        return max(0, -(-(start - self._grid.tile + 1) // self._grid.stride))

    def blocks(self) -> Iterator[PredictedBlock]:
        if not self._options.objects:
            for blended in self._blended():
                part = self._cropped(blended.block)
                if part is not None:
                    yield part
            return
        from histotrain.stitching import Stitcher

        stitcher = Stitcher(self._forward.first, self._grid, self._rows, self._columns, halo=self._options.halo)
        found: list[PredictedObject] = []
        waiting: PredictedBlock | None = None
        for block, objects in stitcher.run(self._blended()):
            found += [item for item in objects if self._holds(item)]
            part = self._cropped(block)
            if part is None:
                continue
            if waiting is not None:
                yield replace(waiting, objects=tuple(found))
                found = []
            waiting = part
        if waiting is not None:
            yield replace(waiting, objects=tuple(found))

    def _blended(self) -> Iterator[Blended]:
        from histotrain.blending import Canvas

        canvas = Canvas(self._grid, self._columns, self._forward.channels)
        with Prefetch(self._jobs(), ahead=2 * self._options.batch) as reader:
            for jobs in _grouped(reader, self._options.batch):
                images = [job.image for job in jobs if job.image is not None]
                results = iter(self._forward(np.stack(images))) if images else iter(())
                for job in jobs:
                    values = None if job.image is None else next(results)
                    self._done += 1
                    yield self._block(job, canvas.add(job.row, job.column, values))

    def _block(self, job: _Job, sums: NDArray[np.float32] | None) -> Blended:
        from histotrain.blending import decide

        if sums is None:
            return Blended(job.row, job.column, None)
        forward = self._forward
        x, y, _, _ = self._grid.block(job.row, job.column)
        found = decide(sums[..., : forward.classes], np.asarray(forward.first.class_ids, np.uint8))
        total = len(self._rows) * len(self._columns)
        block = PredictedBlock(x, y, *found, self._done, total, forward.uncertainty(sums))
        return Blended(job.row, job.column, block, forward.maps_of(sums) if forward.maps else None)

    def _jobs(self) -> Iterator[_Job]:
        for row in self._rows:
            for column in self._columns:
                x, y, w, h = self._grid.inside(row, column)
                if self._mask is not None and not self._mask(x, y, w, h):
                    yield _Job(row, column, None)
                    continue
                image = padded(self._read(x, y, w, h), self._grid.tile)
                if self._contexts is not None:
                    image = np.concatenate([image[None], self._contexts.around(x, y)])
                yield _Job(row, column, image)

    def _holds(self, item: PredictedObject) -> bool:
        x0, y0, x1, y1 = self._bounds
        return x0 <= item.x < x1 and y0 <= item.y < y1

    def _cropped(self, block: PredictedBlock | None) -> PredictedBlock | None:
        """The part of a block within the bounds."""
        if block is None:
            return None
        x0, y0, x1, y1 = self._bounds
        h, w = block.classes.shape
        left, top, right, bottom = max(block.x, x0), max(block.y, y0), min(block.x + w, x1), min(block.y + h, y1)
        if left >= right or top >= bottom:
            return None
        if (left, top, right, bottom) == (block.x, block.y, block.x + w, block.y + h):
            return block
        part = (slice(top - block.y, bottom - block.y), slice(left - block.x, right - block.x))
        return replace(
            block,
            x=left,
            y=top,
            classes=block.classes[part],
            confidence=block.confidence[part],
            probabilities=block.probabilities[(slice(None), *part)],
            uncertainty=None if block.uncertainty is None else block.uncertainty[part],
        )


def _grouped(jobs: Iterator[_Job], size: int) -> Iterator[list[_Job]]:
    """Jobs in order, in groups with at most ``size`` tiles to predict."""
    group: list[_Job] = []
    tiles = 0
    for job in jobs:
        group.append(job)
        tiles += job.image is not None
        if tiles == size:
            yield group
            group, tiles = [], 0
    if group:
        yield group
