"""Recolouring a stained image through look-up tables.

In optical density a change of stains is one 3x3 matrix, and a matrix product under an exponential is a product of
exponentials: every output channel is the product of three numbers that depend on one byte each. So a pixel costs nine
look-ups and six multiplications, and no logarithm or exponential is left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

DENSITY: NDArray[np.float64] = -np.log(np.maximum(np.arange(256), 1) / 255.0)
"""Optical density of each byte, white being 255; 0 counts as 1."""

_LARGEST = 27.0  # exponent; 255 times three factors of e^27 still fit into a float32, so nothing overflows


def recolouring_tables(matrix: NDArray[np.float64]) -> NDArray[np.float32]:
    """Tables of the map density -> density @ matrix.

    Parameters
    ----------
    matrix : float64, shape (3, 3)
        Row: channel in, column: channel out.

    Returns
    -------
    float32, shape (3, 256, 3)
        ``[i, v, o]`` is the factor that value v of input channel i contributes to output channel o.
    """
    exponents = -DENSITY[None, :, None] * matrix[:, None, :]
    tables: NDArray[np.float32] = np.exp(np.clip(exponents, -_LARGEST, _LARGEST)).astype(np.float32)
    tables[0] *= 255
    return tables


def recolour_slowly(pixels: NDArray[np.uint8], tables: NDArray[np.float32]) -> NDArray[np.uint8]:
    """What `recolour` computes, in numpy: its reference."""
    product = tables[0][pixels[:, 0]] * tables[1][pixels[:, 1]] * tables[2][pixels[:, 2]]
    result: NDArray[np.uint8] = (np.minimum(product, np.float32(255)) + np.float32(0.5)).astype(np.uint8)
    return result


@numba.njit(cache=True, nogil=True)  # pragma: no cover (compiled)
def recolour(pixels: NDArray[np.uint8], tables: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Apply `recolouring_tables` to uint8 pixels, shape (N, 3)."""
    out = np.empty_like(pixels)
    for i in range(pixels.shape[0]):
        r, g, b = pixels[i, 0], pixels[i, 1], pixels[i, 2]
        for channel in range(3):
            value = tables[0, r, channel] * tables[1, g, channel] * tables[2, b, channel]
            out[i, channel] = np.uint8(min(value, np.float32(255)) + np.float32(0.5))
    return out
