"""Objects that no window shows whole, put together from their pieces.

Each piece lies within one block of the grid. Two pieces on both sides of a border belong together if at least half of
the pixels with which one of them touches objects across the border touch the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Labels = NDArray[np.int32]

LARGEST = 1 << 22
"""Pixels beyond which an object is not put together any further: what a network that has learnt nothing calls one."""


@dataclass(slots=True, eq=False)
class Piece:
    """Pixels of an object within a block: their mask at (left, top), and the sum of the class probabilities."""

    left: int
    top: int
    mask: NDArray[np.bool_]
    sums: NDArray[np.float64]
    area: int


@dataclass(slots=True, eq=False)
class Assembly:
    """Pieces that belong together; ``row`` is the last row of blocks in which one of them touches the bottom."""

    pieces: list[Piece] = field(default_factory=list)
    area: int = 0
    row: int = -1

    def joined(self) -> Piece:
        """All pieces as one."""
        left, top = min(p.left for p in self.pieces), min(p.top for p in self.pieces)
        right = max(p.left + p.mask.shape[1] for p in self.pieces)
        bottom = max(p.top + p.mask.shape[0] for p in self.pieces)
        mask = np.zeros((bottom - top, right - left), bool)
        for piece in self.pieces:
            h, w = piece.mask.shape
            y, x = piece.top - top, piece.left - left
            mask[y : y + h, x : x + w] |= piece.mask
        return Piece(left, top, mask, np.sum([p.sums for p in self.pieces], axis=0), self.area)


class Pieces:
    """Takes the pieces of blocks in reading order and gives back what is complete."""

    def __init__(self) -> None:
        self._parent: list[int] = []
        self._assemblies: dict[int, Assembly] = {}
        self._right = np.zeros(0, np.int32)
        self._bottoms: dict[int, Labels] = {}

    def add(self, row: int, column: int, labels: Labels, found: list[Piece], *, first: bool) -> None:
        """Take the pieces of a block.

        Parameters
        ----------
        row, column : int
            Of the block in its grid.
        labels : int32, shape (h, w)
            1, 2 … for the pieces in ``found``.
        found : list of Piece
            None of them empty.
        first : bool
            Whether it is the first block of its row, which has none on its left.
        """
        offset = len(self._parent)
        numbers = np.where(labels > 0, labels + offset, 0).astype(np.int32)
        for index, piece in enumerate(found):
            self._parent.append(offset + index)
            self._assemblies[offset + index] = Assembly([piece], piece.area)
        if not first:
            self._touch(self._right, numbers[:, 0])
        if column in self._bottoms:
            self._touch(self._bottoms[column], numbers[0])
        self._right, self._bottoms[column] = numbers[:, -1], numbers[-1]
        for number in np.unique(numbers[-1]):
            if number:
                assembly = self._assemblies[self._root(int(number) - 1)]
                assembly.row = max(assembly.row, row)

    def _root(self, number: int) -> int:
        while self._parent[number] != number:
            self._parent[number] = self._parent[self._parent[number]]
            number = self._parent[number]
        return number

    def _touch(self, before: Labels, after: Labels) -> None:
        """Join pieces along a border."""
        length = min(len(before), len(after))
        touching = (before[:length] > 0) & (after[:length] > 0)
        if not touching.any():
            return
        pairs, counts = np.unique(
            np.stack([before[:length][touching], after[:length][touching]]), axis=1, return_counts=True
        )
        ours, theirs = (np.bincount(side, counts) for side in pairs)
        for a, b, count in zip(*pairs.tolist(), counts.tolist(), strict=True):
            if 2 * count >= min(ours[a], theirs[b]):
                self._join(self._root(a - 1), self._root(b - 1))

    def _join(self, one: int, other: int) -> None:
        if one == other or one not in self._assemblies or other not in self._assemblies:
            return
        into, gone = self._assemblies[one], self._assemblies.pop(other)
        self._parent[other] = one
        into.pieces += gone.pieces
        into.area += gone.area
        into.row = max(into.row, gone.row)

    def complete(self, row: int, *, last: bool) -> Iterator[Piece]:
        """What nothing can be added to once a row of blocks has been taken; ``last``: everything."""
        done = [k for k, a in self._assemblies.items() if last or a.row < row or a.area > LARGEST]
        for key in done:
            yield self._assemblies.pop(key).joined()
