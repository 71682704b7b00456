"""Painted masks as label maps see them: sampled at any resolution, as far as they existed when the view was made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from napari_histoanno.annotation import Bounds
    from napari_histoanno.datasets.frame import Frame
    from napari_histoanno.project import MaskPart


class PaintedMask:
    """One annotator's part of a painted mask; chunks painted later are not looked at.

    Parameters
    ----------
    part : MaskPart
        What a person painted, or what is still a prediction.
    """

    def __init__(self, part: MaskPart) -> None:
        self.part = part
        self._keys = frozenset(part.keys())

    def __bool__(self) -> bool:
        """Whether anything is painted."""
        return bool(self._keys)

    def boxes(self) -> list[Bounds]:
        """Level-0 boxes outside of which nothing is painted."""
        side = self.part.chunk
        return [(cx * side, cy * side, (cx + 1) * side, (cy + 1) * side) for cy, cx in sorted(self._keys)]

    def reaches(self, bounds: Bounds) -> bool:
        """Whether something may be painted within a level-0 box."""
        return any(True for _ in self._chunks_in(bounds))

    def sample(self, frame: Frame) -> NDArray[np.uint8]:
        """Class ids at the pixel centres of a frame, as they are stored now."""
        columns, rows = frame.centres()
        painted = np.zeros((len(rows), len(columns)), np.uint8)
        side = self.part.chunk
        for cy, cx in self._chunks_in(frame.bounds):
            y0, y1 = np.searchsorted(rows, (cy * side, (cy + 1) * side))
            x0, x1 = np.searchsorted(columns, (cx * side, (cx + 1) * side))
            if y0 == y1 or x0 == x1:
                continue
            ys, xs = rows[y0:y1], columns[x0:x1]
            block = self.part.read(int(ys[0]), int(ys[-1]) + 1, int(xs[0]), int(xs[-1]) + 1)
            painted[y0:y1, x0:x1] = block[np.ix_(ys - ys[0], xs - xs[0])]
        return painted

    def _chunks_in(self, bounds: Bounds) -> Iterable[tuple[int, int]]:
        side, keys = self.part.chunk, self._keys
        x0, y0, x1, y1 = (int(np.floor(value / side)) for value in bounds)
        if (x1 - x0 + 1) * (y1 - y0 + 1) > len(keys):
            return sorted((cy, cx) for cy, cx in keys if y0 <= cy <= y1 and x0 <= cx <= x1)
        return [(cy, cx) for cy in range(y0, y1 + 1) for cx in range(x0, x1 + 1) if (cy, cx) in keys]
