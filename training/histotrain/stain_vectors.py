"""Which colours the two stains of tissue have, estimated from its pixels.

All work on natural optical densities, -ln(value / 255): there stains add up, and a pixel is (amounts) @ (vectors).
Vectors are rows of unit length, haematoxylin first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

RUIFROK: Floats = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])
"""Haematoxylin and eosin as measured by Ruifrok and Johnston (2001)."""
RUIFROK /= np.linalg.norm(RUIFROK, axis=1, keepdims=True)

_ANGLE = 1.0  # per cent of tissue that may lie outside the two vectors (alpha in Macenko's paper)
_SPARSITY = 0.1  # lambda in Vahadane's paper
_ROUNDS = 200
_SETTLED = 1e-5  # change of the vectors at which rounds end
_DISTINCT = 0.03  # sine of the angle below which two vectors are one stain and its noise


def macenko_vectors(densities: Floats) -> Floats | None:
    """Extreme directions of the tissue in the plane that holds most of it (Macenko et al. 2009).

    Parameters
    ----------
    densities : float64, shape (N, 3)
        Of tissue pixels.

    Returns
    -------
    float64, shape (2, 3), or None
        None where the pixels do not show two stains.
    """
    if len(densities) < 3:
        return None
    _, directions = np.linalg.eigh(np.cov(densities, rowvar=False))
    plane = directions[:, [2, 1]]
    plane *= np.where(plane[0] < 0, -1.0, 1.0)
    along, across = np.einsum("nk,kp->pn", densities, plane)
    low, high = np.percentile(np.arctan2(across, along), [_ANGLE, 100 - _ANGLE])
    extremes = np.array([[np.cos(low), np.sin(low)], [np.cos(high), np.sin(high)]]) @ plane.T
    return _ordered(np.maximum(extremes, 0))  # a stain cannot give light


def vahadane_vectors(densities: Floats) -> Floats | None:
    """Sparse non-negative factors of the densities (Vahadane et al. 2016): few pixels hold both stains.

    Minimises ``|densities - amounts @ vectors|^2 / 2 + lambda * sum(amounts)`` with everything at least zero, in turns
    for the amounts (exactly: with two stains there is a closed form) and for the vectors, from Ruifrok's on.

    Parameters and result are those of `macenko_vectors`.
    """
    if len(densities) < 3:
        return None
    vectors = RUIFROK.copy()
    for _ in range(_ROUNDS):
        before = vectors.copy()
        amounts = sparse_amounts(densities, vectors, _SPARSITY)
        gram = np.einsum("ni,nj->ij", amounts, amounts)
        mixed = np.einsum("ni,nk->ik", amounts, densities)
        for stain in range(2):
            if gram[stain, stain] > 0:
                row = np.maximum(vectors[stain] + (mixed[stain] - gram[stain] @ vectors) / gram[stain, stain], 0)
                length = np.linalg.norm(row)
                vectors[stain] = row / length if length > 0 else vectors[stain]
        if np.abs(vectors - before).max() < _SETTLED:
            break
    if not (amounts > 0).any(0).all():
        return None
    return _ordered(vectors)


def sparse_amounts(densities: Floats, vectors: Floats, sparsity: float) -> Floats:
    """Non-negative amounts of two stains with the least squared error plus ``sparsity`` times their sum.

    Parameters
    ----------
    densities : float64, shape (N, 3)
        Of any pixels.
    vectors : float64, shape (2, 3)
        Of unit length, not parallel.
    sparsity : float
        0 for plain non-negative least squares.

    Returns
    -------
    float64, shape (N, 2)
    """
    overlap = float(vectors[0] @ vectors[1])
    gains = np.einsum("nk,sk->ns", densities, vectors) - sparsity
    both = (gains - overlap * gains[:, ::-1]) / max(1 - overlap**2, 1e-9)
    # If the free optimum is outside, the best lies on an axis, and on that of the larger gain.
    first = gains[:, 0] >= gains[:, 1]
    alone = np.maximum(gains, 0) * np.stack([first, ~first], axis=1)
    amounts: Floats = np.where((both >= 0).all(1, keepdims=True), both, alone)
    return amounts


def _ordered(vectors: Floats) -> Floats | None:
    """Unit rows, haematoxylin (which takes more of the red) first; None if they are as good as parallel."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (lengths > 0).all():
        return None
    unit: Floats = vectors / lengths
    if np.linalg.norm(np.cross(unit[0], unit[1])) < _DISTINCT:
        return None
    return unit if unit[0, 0] > unit[1, 0] else unit[::-1].copy()
