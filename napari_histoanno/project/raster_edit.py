"""An edit of a mask before it is committed: level-0 chunks as they will be, and where a person said something."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_histoanno.project.chunks import (
    CHUNK,
    ChunkState,
    Pixels,
    chunks_in,
    clip,
    dense,
    overlap,
    paste,
    same,
    settled,
)
from napari_histoanno.project.provenance import remarked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from napari_histoanno.project.changes import ChunkKey
    from napari_histoanno.project.rasters import LabelRaster


class RasterEdit:
    """Level-0 chunks being changed; made by :meth:`LabelRaster.edit`."""

    def __init__(self, raster: LabelRaster, *, predicted: bool = False) -> None:
        self.changed: frozenset[ChunkKey] = frozenset()
        """After the edit: the chunks that are different."""
        self._raster = raster
        self._predicted = predicted
        self._states: dict[ChunkKey, ChunkState] = {}
        self._said: dict[ChunkKey, NDArray[np.bool_] | bool] = {}
        """Where something was written in chunks that hold predictions."""

    def chunk(self, cy: int, cx: int) -> Pixels:
        """The writable pixels of a chunk, uint8, shape (512, 512); what lies beyond the slide is ignored.

        Only what becomes different there counts as said by the person; :meth:`write` also confirms what is the same.
        """
        state = self._states.get((cy, cx))
        if isinstance(state, np.ndarray):
            return state
        pixels = dense(self._current(cy, cx) if state is None else state)
        self._states[cy, cx] = pixels
        return pixels

    def fill(self, cy: int, cx: int, value: int) -> None:
        """Give a whole chunk one class id."""
        self._check(cy, cx)
        if not 0 <= value <= 255:
            raise ValueError(f"a class id lies in 0 … 255, not {value}")
        self._states[cy, cx] = int(value)
        self._said[cy, cx] = True

    def read(self, y0: int, y1: int, x0: int, x1: int) -> Pixels:
        """Level-0 class ids of a region as this edit leaves them; see :meth:`LabelRaster.read`."""
        out = self._raster.read(0, y0, y1, x0, x1)
        for key in chunks_in(self._raster.shape, y0, y1, x0, x1):
            if key in self._states:
                paste(out, (y0, x0), key, self._states[key])
        clip(out, (y0, x0), self._raster.shape)
        return out

    def write(self, y0: int, x0: int, block: Pixels, *, mask: NDArray[np.bool_] | None = None) -> None:
        """Write a block at a place, where ``mask`` says so, clipped to the slide."""
        height, width = block.shape
        for cy, cx in chunks_in(self._raster.shape, y0, y0 + height, x0, x0 + width):
            inside, part = overlap((y0, x0), block.shape, (cy, cx))
            if mask is None or mask[part].any():
                where = True if mask is None else mask[part]
                np.copyto(self.chunk(cy, cx)[inside], block[part], where=where)
                self._say((cy, cx), inside, where)

    def _say(self, key: ChunkKey, inside: tuple[slice, slice], where: NDArray[np.bool_] | bool) -> None:
        if self._predicted or not self._raster.holds_predictions(key) or self._said.get(key) is True:
            return
        said = self._said.setdefault(key, np.zeros((CHUNK, CHUNK), bool))
        assert not isinstance(said, bool)
        said[inside] |= where

    def finished(self) -> dict[ChunkKey, ChunkState]:
        """The chunks that are different now, settled, empty beyond the slide."""
        before = self._raster.states([(0, *key) for key in self._states])
        # Copies: whoever still holds an array of this edit must not write into what was committed.
        after = {key: settled(self._within_slide(key, state)) for key, state in self._states.items()}
        return {key: state for key, state in after.items() if not same(before[0, *key], state)}

    def remarked(self, states: Mapping[ChunkKey, ChunkState], predicted: LabelRaster) -> dict[ChunkKey, ChunkState]:
        """The chunks that are different now in what is predicted, settled; ``states`` are those of the mask."""
        keys = [(0, *key) for key in {*states, *self._said}]
        before, marks = self._raster.states(keys), predicted.states(keys)
        after = {
            key[1:]: remarked(
                before[key],
                states.get(key[1:], before[key]),
                marks[key],
                self._said.get(key[1:], False),
                predicted=self._predicted,
            )
            for key in keys
        }
        return {key: state for key, state in after.items() if not same(marks[0, *key], state)}

    def _within_slide(self, key: ChunkKey, state: ChunkState) -> ChunkState:
        height, width = self._raster.shape
        cut = (key[0] + 1) * CHUNK > height or (key[1] + 1) * CHUNK > width
        if isinstance(state, int) and not (state and cut):
            return state
        pixels = dense(state)
        clip(pixels, (key[0] * CHUNK, key[1] * CHUNK), self._raster.shape)
        return pixels

    def _current(self, cy: int, cx: int) -> ChunkState:
        self._check(cy, cx)
        return self._raster.states([(0, cy, cx)])[0, cy, cx]

    def _check(self, cy: int, cx: int) -> None:
        height, width = self._raster.shape
        if not (0 <= cy * CHUNK < height and 0 <= cx * CHUNK < width):
            raise IndexError(f"chunk ({cy}, {cx}) lies outside a mask of {width} x {height} px")
