"""One-to-one matching where only few pairs come into question."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

if TYPE_CHECKING:
    from numpy.typing import NDArray


def best_matching(pairs: NDArray[np.int64], gains: NDArray[np.float64], *, sizes: tuple[int, int]) -> NDArray[np.intp]:
    """The one-to-one choice of pairs with the largest total gain.

    Parameters
    ----------
    pairs : int64, shape (K, 2)
        Indices of the left and the right side; no pair twice.
    gains : float64, shape (K,)
        Positive.
    sizes : (int, int)
        Members of the left and the right side.

    Returns
    -------
    intp
        Indices of the chosen pairs, ascending.

    Notes
    -----
    The assignment problem is solved within each connected group of pairs, so thousands of objects with a few
    neighbours each cost nothing, where a full matrix would be cubic.
    """
    if not len(pairs):
        return np.empty(0, dtype=np.intp)
    left, right = sizes
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1] + left)), shape=(left + right, left + right))
    _, group = connected_components(graph, directed=False)
    of_pair = group[pairs[:, 0]]
    order = np.argsort(of_pair, kind="stable")
    starts = np.flatnonzero(np.diff(of_pair[order], prepend=-1))
    chosen = [_assign(pairs, gains, members) for members in np.split(order, starts[1:])]
    return np.sort(np.concatenate(chosen))


def _assign(pairs: NDArray[np.int64], gains: NDArray[np.float64], members: NDArray[np.intp]) -> NDArray[np.intp]:
    if len(members) == 1:
        return members
    (rows, r), (columns, c) = (np.unique(pairs[members, side], return_inverse=True) for side in (0, 1))
    gain = np.zeros((len(rows), len(columns)))
    gain[r, c] = gains[members]
    which = np.full(gain.shape, -1, dtype=np.intp)
    which[r, c] = members
    found: NDArray[np.intp] = which[linear_sum_assignment(gain, maximize=True)]
    return found[found >= 0]
