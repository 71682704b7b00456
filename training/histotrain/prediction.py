"""Predicting a whole slide: overlapping tiles in, finished blocks out, in bounded memory.

A thread reads tiles ahead while the network computes. Only the strip in which a row of tiles overlaps the next one is
kept, so the memory is overlap x width x classes, whatever the height. Every block is final when it is yielded and is
yielded once; a store can write it at once and a screen can show it.
"""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from histotrain.tiling import TileGrid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from histotrain.checkpoint import LoadedModel

    UInt8 = NDArray[np.uint8]
    Read = Callable[[int, int, int, int], UInt8]
    Mask = Callable[[int, int, int, int], bool]


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """How to predict.

    Parameters
    ----------
    tile : int
        Side of a tile, pixels; less for a smaller image.
    overlap : int
        Pixels that neighbouring tiles share and blend over.
    batch : int
        Tiles in one forward pass.
    tta : bool
        Average over the eight orientations: eight times slower, a little better.
    """

    tile: int = 512
    overlap: int = 64
    batch: int = 4
    tta: bool = False


@dataclass(frozen=True, slots=True)
class PredictedBlock:
    """A finished part of a prediction, in pixels of the model's frame.

    ``classes`` uint8 (h, w) holds class ids, 0 outside the mask; ``confidence`` uint8 (h, w) is the largest
    probability, 255 being 1; ``probabilities`` uint8 (C, h, w). ``done`` of ``total`` tiles are finished, skipped
    ones included.
    """

    x: int
    y: int
    classes: UInt8
    confidence: UInt8
    probabilities: UInt8
    done: int
    total: int


def predict(
    model: LoadedModel,
    read: Read,
    size: tuple[int, int],
    *,
    mask: Mask | None = None,
    region: tuple[int, int, int, int] | None = None,
    options: PredictOptions | None = None,
) -> Iterator[PredictedBlock]:
    """Predict an image of any size; closing the generator cancels.

    Parameters
    ----------
    model : LoadedModel
        From `load_model`.
    read : callable
        ``read(x, y, w, h)`` gives uint8 (h, w, 3) at the model's pixel size; called from a thread, never beyond the
        image.
    size : (int, int)
        Width and height of the image, pixels.
    mask : callable, optional
        ``mask(x, y, w, h)`` says whether there is anything to predict in that part. Tiles without are skipped and not
        yielded: they are 0.
    region : (int, int, int, int), optional
        Only this part (x, y, w, h), which comes out as it would within the whole.
    options : PredictOptions, optional
        Tile size and the like.

    Yields
    ------
    PredictedBlock
        Blocks that do not overlap.
    """
    options = options or PredictOptions()
    width, height = size
    grid = fitting_grid(width, height, options)
    x, y, w, h = region or (0, 0, width, height)
    x0, y0, x1, y1 = max(0, x), max(0, y), min(width, x + w), min(height, y + h)
    if x0 >= x1 or y0 >= y1:
        return
    yield from _Run(model, read, mask, grid, (x0, y0, x1, y1), options).blocks()


def fitting_grid(width: int, height: int, options: PredictOptions) -> TileGrid:
    """The grid for an image: a small one is a single tile of the next multiple of 32."""
    tile = min(options.tile, -(-max(width, height) // 32) * 32)
    return TileGrid(width, height, tile=tile, overlap=min(options.overlap, (tile - 1) // 2))


@dataclass(frozen=True, slots=True)
class _Job:
    """A tile to predict, or (image is None) one that is skipped."""

    row: int
    column: int
    image: UInt8 | None


class _Run:
    """One prediction."""

    def __init__(
        self,
        model: LoadedModel,
        read: Read,
        mask: Mask | None,
        grid: TileGrid,
        bounds: tuple[int, int, int, int],
        options: PredictOptions,
    ) -> None:
        self._model, self._read, self._mask, self._grid, self._options = model, read, mask, grid, options
        self._bounds = bounds
        x0, y0, x1, y1 = bounds
        # A pixel gets its value from the tiles that contain it, so a region needs those that begin before it, too.
        self._columns = range(self._first(x0), min(grid.columns - 1, (x1 - 1) // grid.stride) + 1)
        self._rows = range(self._first(y0), min(grid.rows - 1, (y1 - 1) // grid.stride) + 1)
        self._done = 0

    def _first(self, start: int) -> int:
        return max(0, -(-(start - self._grid.tile + 1) // self._grid.stride))

    @property
    def _total(self) -> int:
        return len(self._rows) * len(self._columns)

    def blocks(self) -> Iterator[PredictedBlock]:
        from histotrain.blending import Canvas

        canvas = Canvas(self._grid, self._columns, self._model.class_ids)
        with _Reader(self._jobs(), ahead=2 * self._options.batch) as reader:
            for jobs in _grouped(reader, self._options.batch):
                images = [job.image for job in jobs if job.image is not None]
                results = iter(self._forward(np.stack(images))) if images else iter(())
                for job in jobs:
                    probabilities = None if job.image is None else next(results)
                    self._done += 1
                    finished = canvas.add(job.row, job.column, probabilities)
                    if finished is not None:
                        block = self._cropped(*finished)
                        if block is not None:
                            yield block

    def _jobs(self) -> Iterator[_Job]:
        for row in self._rows:
            for column in self._columns:
                x, y, w, h = self._grid.inside(row, column)
                if self._mask is not None and not self._mask(x, y, w, h):
                    yield _Job(row, column, None)
                else:
                    yield _Job(row, column, _padded(self._read(x, y, w, h), self._grid.tile))

    def _forward(self, images: UInt8) -> NDArray[np.float32]:
        if not self._options.tta:
            return self._model.predict_batch(images)
        total = np.zeros((*images.shape[:3], len(self._model.class_ids)), dtype=np.float32)
        for turns in range(4):
            for flip in (False, True):
                turned = np.rot90(images[:, :, ::-1] if flip else images, turns, axes=(1, 2))
                back = np.rot90(self._model.predict_batch(np.ascontiguousarray(turned)), -turns, axes=(1, 2))
                total += back[:, :, ::-1] if flip else back
        return total * np.float32(1 / 8)

    def _cropped(
        self, x: int, y: int, classes: UInt8, confidence: UInt8, probabilities: UInt8
    ) -> PredictedBlock | None:
        x0, y0, x1, y1 = self._bounds
        h, w = classes.shape
        left, top, right, bottom = max(x, x0), max(y, y0), min(x + w, x1), min(y + h, y1)
        if left >= right or top >= bottom:
            return None
        part = (slice(top - y, bottom - y), slice(left - x, right - x))
        return PredictedBlock(
            left, top, classes[part], confidence[part], probabilities[(slice(None), *part)], self._done, self._total
        )


def _padded(image: UInt8, tile: int) -> UInt8:
    """The tile in full: beyond the image its border is repeated."""
    h, w = image.shape[:2]
    if (h, w) == (tile, tile):
        return image
    return np.pad(image, ((0, tile - h), (0, tile - w), (0, 0)), mode="symmetric" if 2 * min(h, w) >= tile else "edge")


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


class _Reader:
    """Runs an iterator in a thread, a few items ahead; what it raises is raised here."""

    def __init__(self, items: Iterator[_Job], *, ahead: int) -> None:
        self._items = items
        self._queue: queue.Queue[_Job | BaseException | None] = queue.Queue(maxsize=ahead)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="histotrain-reader", daemon=True)

    def __enter__(self) -> Iterator[_Job]:
        self._thread.start()
        return self._results()

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        while self._thread.is_alive():
            try:
                self._queue.get_nowait()
            except queue.Empty:
                self._thread.join(timeout=0.05)

    def _results(self) -> Iterator[_Job]:
        while (item := self._queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    def _work(self) -> None:
        try:
            for item in self._items:
                if self._closing.is_set():
                    return
                self._queue.put(item)
            self._queue.put(None)
        except BaseException as error:  # noqa: BLE001 (raised again where the tiles are used)
            self._queue.put(error)
