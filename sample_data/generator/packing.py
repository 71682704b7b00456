"""Placing things that do not overlap: points at random, then the ones that collide are thinned out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from .fields import Mask

Points = NDArray[np.float64]


def scatter(mask: Mask, count: int, rng: np.random.Generator, scale: float = 1.0) -> Points:
    """``count`` points (n, 2) as (x, y), uniform over the true pixels of a mask whose pixels are ``scale`` wide."""
    places = np.flatnonzero(mask)
    if places.size == 0 or count <= 0:
        return np.empty((0, 2))
    chosen = places[rng.integers(0, places.size, count)]
    rows, columns = np.divmod(chosen, mask.shape[1])
    return (np.stack([columns, rows], 1) + rng.random((count, 2))) * scale


def spread(mask: Mask, distance: float, rng: np.random.Generator, scale: float = 1.0) -> Points:
    """Points over a mask, no two nearer than ``distance`` and hardly a hole larger than it."""
    area = float(np.count_nonzero(mask)) * scale * scale
    count = int(np.ceil(5 * area / distance**2)) if area else 0
    points = scatter(mask, count, rng, scale)
    half = np.full(len(points), distance / 2)
    return points[thin(points, half, half, np.zeros(len(points)), rng)]


def thin(
    points: Points,
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    angle: NDArray[np.float64],
    rng: np.random.Generator,
    first: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:
    """Indices of a maximal subset of ellipses that do not collide.

    Parameters
    ----------
    points : ndarray, (n, 2)
        Centres.
    a, b, angle : ndarray, (n,)
        Semi-axes and direction of the first.
    rng : numpy.random.Generator
        Decides who wins a collision.
    first : ndarray of bool, (n,), optional
        Those that are kept whatever happens (placed before).
    """
    n = len(points)
    if n == 0:
        return np.empty(0, np.int64)
    priority = rng.permutation(n).astype(np.int64)
    if first is not None:
        priority[first] += n
    pairs = _collisions(points, a, b, angle)
    if first is not None:
        pairs = pairs[~(first[pairs[:, 0]] & first[pairs[:, 1]])]
    winner = np.where(priority[pairs[:, 0]] > priority[pairs[:, 1]], pairs[:, 0], pairs[:, 1])
    loser = pairs.sum(1) - winner
    kept = np.zeros(n, bool)
    alive = np.ones(n, bool)
    while alive.any():
        beaten = np.zeros(n, bool)
        beaten[loser] = True
        safe = alive & ~beaten
        kept |= safe
        out = np.zeros(n, bool)
        out[loser[safe[winner]]] = True
        alive &= ~safe & ~out
        open_pair = alive[winner] & alive[loser]
        winner, loser = winner[open_pair], loser[open_pair]
    return np.flatnonzero(kept)


def _collisions(
    points: Points, a: NDArray[np.float64], b: NDArray[np.float64], angle: NDArray[np.float64]
) -> NDArray[np.int64]:
    pairs = cKDTree(points).query_pairs(2 * float(a.max()), output_type="ndarray").astype(np.int64)
    if len(pairs) == 0:
        return np.empty((0, 2), np.int64)
    i, j = pairs.T
    dx, dy = (points[j] - points[i]).T
    measure = np.full(len(pairs), np.inf)
    for k in (i, j):
        cos, sin = np.cos(angle[k]), np.sin(angle[k])
        along = (dx * cos + dy * sin) / (a[i] + a[j])
        across = (dy * cos - dx * sin) / (b[i] + b[j])
        measure = np.minimum(measure, along**2 + across**2)
    return np.asarray(pairs[measure < 1], np.int64)
