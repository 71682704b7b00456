"""Single objects from blended maps, without seams: each object is found once and whole, whatever the tiles.

A network's maps are blended over its tiles first. Then the objects of each block of the grid are separated in a window
that shows the block and a margin around it, the halo. An object belongs to the block in which its centre lies, and its
window shows it whole if it is no larger than the halo. What two windows see a little differently is resolved by what
came first: an object of which half is taken already is the same object again; of a smaller overlap the first one keeps
the pixels. Objects that are cut by their window are put together from what each block has of them, once all whole
objects around are known (`histotrain.pieces`).

Two rows of blocks are in memory. The time goes with the area and with the number of objects, not with its square.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from histotrain.objects import PredictedObject
from histotrain.pieces import Piece, Pieces

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from histotrain.checkpoint import LoadedModel
    from histotrain.prediction import Blended, PredictedBlock
    from histotrain.tiling import TileGrid

    UInt8 = NDArray[np.uint8]
    Labels = NDArray[np.int32]
    Box = tuple[int, int, int, int]
    Final = tuple[PredictedBlock | None, list[PredictedObject]]

_BAND = 4
"""Pixels by which two windows may disagree on an object's centre; within, both may claim it."""


@dataclass(slots=True, eq=False)
class _Held:
    """A block until it is final: what objects were painted in it, and the pieces of those that are cut."""

    block: PredictedBlock
    maps: NDArray[np.float16]
    painted: UInt8
    scores: UInt8
    pieces: Labels | None = None


class Stitcher:
    """Finds the objects of blended blocks that come in reading order.

    Parameters
    ----------
    model : LoadedModel
        Separates objects, see `LoadedModel.separate`.
    grid : TileGrid
        Whose blocks come.
    rows, columns : range
        Those that will come, each block once.
    halo : int
        Pixels around a block in which its objects are seen whole; at most a block's side.
    """

    def __init__(self, model: LoadedModel, grid: TileGrid, rows: range, columns: range, *, halo: int) -> None:
        self._model, self._grid, self._rows, self._columns = model, grid, rows, columns
        self._halo = min(halo, grid.stride)
        self._ids = np.asarray(model.class_ids, np.uint8)
        background = model.background
        self._background = background
        self._allowed = np.array([i for i, key in enumerate(model.class_ids) if key != background], int)
        self._held: dict[tuple[int, int], _Held | None] = {}
        self._pieces = Pieces()
        self._found: list[PredictedObject] = []

    def run(self, blocks: Iterable[Blended]) -> Iterator[Final]:
        """Finished blocks, with the classes of their objects in place of the pixels', and objects; each once.

        The last item has no block.
        """
        for item in blocks:
            self._held[item.row, item.column] = self._hold(item)
            for key in self._before(item.row, item.column):
                yield from self._separated(*key)
        for column in self._columns:
            yield from self._separated(self._rows[-1], column)
        for column in self._columns:
            yield self._settled(self._rows[-1], column)
        yield None, self._found

    def _hold(self, item: Blended) -> _Held | None:
        if item.block is None or item.maps is None:
            return None
        shape = item.block.classes.shape
        return _Held(item.block, item.maps, np.zeros(shape, np.uint8), np.zeros(shape, np.uint8))

    def _before(self, row: int, column: int) -> Iterator[tuple[int, int]]:
        """Blocks all of whose neighbours are done once this one is."""
        if row > self._rows[0]:
            if column > self._columns[0]:
                yield row - 1, column - 1
            if column == self._columns[-1]:
                yield row - 1, column

    def _separated(self, row: int, column: int) -> Iterator[Final]:
        """Find the whole objects of a block, then settle the blocks for which that was the last to wait for."""
        if self._held[row, column] is not None:
            view = self._view(row, column)
            if self._model.task == "points":
                self._take_points(view)
            else:
                self._take_whole(view)
            self._give_back(view)
        for key in self._before(row, column):
            yield self._settled(*key)

    # ---- windows

    def _rect(self, row: int, column: int, margin: int = 0) -> Box:
        """(x0, y0, x1, y1) of a block, grown within the blocks there are."""
        x, y, w, h = self._grid.block(row, column)
        x0, y0, _, _ = self._grid.block(self._rows[0], self._columns[0])
        right, bottom, last_w, last_h = self._grid.block(self._rows[-1], self._columns[-1])
        return (
            max(x0, x - margin),
            max(y0, y - margin),
            min(right + last_w, x + w + margin),
            min(bottom + last_h, y + h + margin),
        )

    def _around(self, row: int, column: int) -> Iterator[tuple[_Held, tuple[slice, slice], tuple[slice, slice]]]:
        """The block and its neighbours, with the part of the window and of themselves that they share."""
        x0, y0, x1, y1 = self._rect(row, column, self._halo)
        for r in range(max(row - 1, self._rows[0]), min(row + 1, self._rows[-1]) + 1):
            for c in range(max(column - 1, self._columns[0]), min(column + 1, self._columns[-1]) + 1):
                held = self._held.get((r, c))
                if held is None:
                    continue
                a0, b0, a1, b1 = self._rect(r, c)
                left, top, right, bottom = max(x0, a0), max(y0, b0), min(x1, a1), min(y1, b1)
                if left < right and top < bottom:
                    here = slice(top - y0, bottom - y0), slice(left - x0, right - x0)
                    yield held, here, (slice(top - b0, bottom - b0), slice(left - a0, right - a0))

    def _view(self, row: int, column: int) -> _View:
        x0, y0, x1, y1 = rect = self._rect(row, column, self._halo)
        centre = self._held[row, column]
        shape = (y1 - y0, x1 - x0)
        maps = np.zeros((centre.maps.shape[0] if centre else 0, *shape), np.float32)
        probabilities = np.zeros((len(self._ids), *shape), np.uint8)
        view = _View(row, column, rect, maps, probabilities, np.zeros(shape, np.uint8), np.zeros(shape, np.uint8))
        for held, here, there in self._around(row, column):
            maps[(slice(None), *here)] = held.maps[(slice(None), *there)]
            probabilities[(slice(None), *here)] = held.block.probabilities[(slice(None), *there)]
            view.painted[here], view.scores[here] = held.painted[there], held.scores[there]
        return view

    def _give_back(self, view: _View) -> None:
        for held, here, there in self._around(view.row, view.column):
            predicted = held.block.classes[there] > 0
            held.painted[there] = view.painted[here] * predicted
            held.scores[there] = view.scores[here] * predicted

    # ---- whole objects

    def _take_whole(self, view: _View) -> None:
        from scipy import ndimage

        held = self._held[view.row, view.column]
        labels = self._model.separate(view.maps) * (view.probabilities.max(0) > 0)
        x0, y0, _, _ = view.rect
        core = self._rect(view.row, view.column)
        cut: list[int] = []
        for number, box in enumerate(ndimage.find_objects(labels), 1):
            if box is None:
                continue
            mask = labels[box] == number
            left, top = box[1].start + x0, box[0].start + y0
            bounds = (left, top, box[1].stop + x0, box[0].stop + y0)
            if self._is_cut(bounds, view.rect):
                cut.append(number)
            elif self._belongs(mask, bounds, core):
                self._accept(view, box, mask)
        if cut and held is not None:
            inner = slice(core[1] - y0, core[3] - y0), slice(core[0] - x0, core[2] - x0)
            kept = np.zeros(int(labels.max()) + 1, np.int32)
            kept[cut] = np.arange(1, len(cut) + 1)
            pieces = kept[labels[inner]]
            held.pieces = pieces if pieces.any() else None

    def _is_cut(self, bounds: Box, rect: Box) -> bool:
        """Whether an object reaches a side of its window that is not one of the image."""
        return (
            (bounds[0] <= rect[0] and rect[0] > 0)
            or (bounds[1] <= rect[1] and rect[1] > 0)
            or (bounds[2] >= rect[2] and rect[2] < self._grid.width)
            or (bounds[3] >= rect[3] and rect[3] < self._grid.height)
        )

    def _belongs(self, mask: NDArray[np.bool_], bounds: Box, core: Box) -> bool:
        x, y = _centre(mask, bounds[0], bounds[1])
        if core[0] - _BAND <= x < core[2] + _BAND and core[1] - _BAND <= y < core[3] + _BAND:
            return True
        column = min(max(int(x) // self._grid.stride, self._columns[0]), self._columns[-1])
        row = min(max(int(y) // self._grid.stride, self._rows[0]), self._rows[-1])
        # where its own window would cut it, or has nothing to show, the first that shows it whole takes it
        return self._is_cut(bounds, self._rect(row, column, self._halo)) or self._held.get((row, column)) is None

    def _accept(self, view: _View, box: tuple[slice, slice], mask: NDArray[np.bool_]) -> None:
        """Take an object unless it is there already."""
        taken = mask & (view.painted[box] > 0)
        overlap = np.count_nonzero(taken)
        if overlap:
            if 2 * overlap >= np.count_nonzero(mask):
                return
            mask = _largest(mask & ~taken)
        area = int(np.count_nonzero(mask))
        sums = view.probabilities[(slice(None), *box)][:, mask].sum(1, dtype=np.float64)
        left, top = box[1].start + view.rect[0], box[0].start + view.rect[1]
        found = self._object(Piece(left, top, mask, sums, area))
        self._found.append(found)
        view.paint(box, mask, found)

    def _object(self, piece: Piece) -> PredictedObject:
        channel = int(self._allowed[piece.sums[self._allowed].argmax()])
        rows, columns = (np.flatnonzero(piece.mask.any(axis)) for axis in (1, 0))
        top, left = int(rows[0]), int(columns[0])
        mask = piece.mask[top : rows[-1] + 1, left : columns[-1] + 1]
        left, top = piece.left + left, piece.top + top
        x, y = _centre(mask, left, top)
        score = float(piece.sums[channel]) / (255 * piece.area)
        return PredictedObject(x, y, int(self._ids[channel]), score, left, top, mask)

    def _take_points(self, view: _View) -> None:
        x0, y0, _, _ = view.rect
        left, top, right, bottom = self._rect(view.row, view.column)
        points, channels, heights = self._model.points(view.maps)
        for (x, y), channel, height in zip(points.tolist(), channels.tolist(), heights.tolist(), strict=True):
            inside = left <= x + x0 < right and top <= y + y0 < bottom
            if not inside or not view.probabilities[:, int(y), int(x)].any():
                continue
            found = PredictedObject(x + x0 + 0.5, y + y0 + 0.5, int(self._ids[channel]), min(height, 1.0))
            self._found.append(found)
            box, mask = _disc(int(x), int(y), view.painted.shape)
            view.paint(box, mask & (view.painted[box] == 0), found)

    # ---- cut objects, and the end of a block

    def _settled(self, row: int, column: int) -> Final:
        held = self._held.pop((row, column))
        labels, found = self._cut_pieces(held, row, column)
        self._pieces.add(row, column, labels, found, first=column == self._columns[0])
        if column == self._columns[-1]:
            whole = self._pieces.complete(row, last=row == self._rows[-1])
            self._found += map(self._object, whole)
        done, self._found = self._found, []
        if held is None:
            return None, done
        block = held.block
        classes, confidence = held.painted, held.scores
        if self._background is not None:
            clear = (classes == 0) & (block.classes == self._background)
            classes, confidence = (
                np.where(clear, a, b) for a, b in ((block.classes, classes), (block.confidence, confidence))
            )
        shown = replace(
            block, classes=classes, confidence=confidence, probabilities=block.probabilities * (classes > 0)
        )
        return shown, done

    def _cut_pieces(self, held: _Held | None, row: int, column: int) -> tuple[Labels, list[Piece]]:
        """What is left of the pieces in a block after all whole objects, numbered anew."""
        _, _, w, h = self._grid.block(row, column)
        labels = np.zeros((h, w), np.int32)
        found: list[Piece] = []
        if held is None or held.pieces is None:
            return labels, found
        from scipy import ndimage

        x0, y0 = held.block.x, held.block.y
        for number, box in enumerate(ndimage.find_objects(held.pieces), 1):
            if box is None:
                continue
            whole = held.pieces[box] == number
            mask = whole & (held.painted[box] == 0)
            area = int(np.count_nonzero(mask))
            if 2 * area <= np.count_nonzero(whole):
                continue
            sums = held.block.probabilities[(slice(None), *box)][:, mask].sum(1, dtype=np.float64)
            piece = Piece(box[1].start + x0, box[0].start + y0, mask, sums, area)
            found.append(piece)
            labels[box][mask] = len(found)
            channel = int(self._allowed[sums[self._allowed].argmax()])
            held.painted[box][mask] = self._ids[channel]
            held.scores[box][mask] = round(float(sums[channel]) / area)
        return labels, found


@dataclass(slots=True, eq=False)
class _View:
    """A block with its halo: maps, probabilities, and what is painted already."""

    row: int
    column: int
    rect: Box
    maps: NDArray[np.float32]
    probabilities: UInt8
    painted: UInt8
    scores: UInt8

    def paint(self, box: tuple[slice, slice], mask: NDArray[np.bool_], found: PredictedObject) -> None:
        self.painted[box][mask] = found.class_id
        self.scores[box][mask] = round(255 * found.score)


def _centre(mask: NDArray[np.bool_], left: int, top: int) -> tuple[float, float]:
    """Centre of mass (x, y), corner-based."""
    rows, columns = mask.sum(1, dtype=np.int64), mask.sum(0, dtype=np.int64)
    area = max(int(rows.sum()), 1)
    y = float(rows @ np.arange(len(rows))) / area
    x = float(columns @ np.arange(len(columns))) / area
    return x + left + 0.5, y + top + 0.5


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest connected part."""
    from scipy import ndimage

    labels, count = ndimage.label(mask)
    if count < 2:
        return mask
    largest: NDArray[np.bool_] = labels == np.bincount(labels.ravel())[1:].argmax() + 1
    return largest


_RADIUS = 3


def _disc(x: int, y: int, shape: tuple[int, ...]) -> tuple[tuple[slice, slice], NDArray[np.bool_]]:
    """What stands for a point among pixels: a box within the shape, and the pixels of a disc in it."""
    box = (
        slice(max(y - _RADIUS, 0), min(y + _RADIUS + 1, shape[0])),
        slice(max(x - _RADIUS, 0), min(x + _RADIUS + 1, shape[1])),
    )
    rows, columns = (np.arange(part.start, part.stop) for part in box)
    return box, (rows[:, None] - y) ** 2 + (columns - x) ** 2 <= _RADIUS**2
