"""Random fields: smooth noise at any scale, and noise drawn out along a flow, which is what fibres look like.

Everything is an array of float32 with zero mean and unit standard deviation unless said otherwise; scales are in
pixels.
"""

from __future__ import annotations

from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Field: TypeAlias = NDArray[np.float32]
Mask: TypeAlias = NDArray[np.bool_]
Shape: TypeAlias = tuple[int, int]


def blur(field: Field, sigma: float) -> Field:
    """Gaussian blur with reflecting borders."""
    return np.asarray(cv2.GaussianBlur(field, (0, 0), sigma, borderType=cv2.BORDER_REFLECT), np.float32)


def resize(field: Field, shape: Shape) -> Field:
    """Field on another grid over the same area: cubic up, area-averaged down."""
    shrinks = shape[0] < field.shape[0]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(field, shape[::-1], interpolation=how), np.float32)


def noise(shape: Shape, scale: float, rng: np.random.Generator, octaves: int = 1) -> Field:
    """Isotropic smooth noise whose blobs are about ``scale`` wide.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns.
    scale : float
        Width of the largest blobs, in pixels.
    rng : numpy.random.Generator
        Source of randomness.
    octaves : int
        Number of layers, each at half the scale and half the amplitude of the one before.
    """
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        total += _layer(shape, scale / 2**octave, rng) * np.float32(0.5**octave)
    total -= total.mean()
    total /= max(float(total.std()), 1e-6)
    return total


def _layer(shape: Shape, scale: float, rng: np.random.Generator) -> Field:
    step = scale / 4
    if step <= 1:
        return _normal(blur(rng.standard_normal(shape, np.float32), max(scale / 3, 0.3)))
    # The lattice is blurred before it is enlarged: bare lattice noise shows its axes.
    rows, columns = (int(np.ceil(size / step)) + 6 for size in shape)
    lattice = _normal(blur(rng.standard_normal((rows, columns), np.float32), 1.2))
    dy, dx = rng.uniform(1, 3, 2) * step
    to_lattice = np.array([[1 / step, 0, dx / step], [0, 1 / step, dy / step]], np.float64)
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(lattice, to_lattice, shape[::-1], flags=flags), np.float32)


def _normal(field: Field) -> Field:
    return np.asarray(field / max(float(field.std()), 1e-6), np.float32)


def gradient(field: Field) -> tuple[Field, Field]:
    """Unit gradient as (gx, gy); zero where the field is flat."""
    gx = cv2.Scharr(field, cv2.CV_32F, 1, 0)
    gy = cv2.Scharr(field, cv2.CV_32F, 0, 1)
    length = np.sqrt(gx * gx + gy * gy) + np.float32(1e-6)
    return gx / length, gy / length


def ramp(field: Field, low: float, high: float) -> Field:
    """Smooth step from 0 at ``low`` to 1 at ``high`` (which may be the smaller one)."""
    t = np.clip((field - low) / (high - low), 0, 1).astype(np.float32)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def sample(field: NDArray[np.generic], points: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    """Values of a field, whose pixels are ``scale`` wide, at corner-based points (n, 2), without interpolation."""
    columns, rows = (points / scale).astype(np.int64).T
    rows = np.clip(rows, 0, field.shape[0] - 1)
    columns = np.clip(columns, 0, field.shape[1] - 1)
    return np.asarray(field[rows, columns], np.float64)


def sample_smoothly(field: Field, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bilinear values of a field at corner-based points (n, 2) in its own pixels."""
    if len(places) == 0:
        return np.empty(0)
    rows = 1 << 14  # OpenCV maps have to be less than 32768 wide.
    padded = -(-len(places) // rows) * rows
    x = np.zeros(padded, np.float32)
    y = np.zeros(padded, np.float32)
    x[: len(places)], y[: len(places)] = (places - 0.5).T
    values = cv2.remap(
        field, x.reshape(-1, rows), y.reshape(-1, rows), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(values.ravel()[: len(places)], np.float64)


def along_flow(source: Field, stream: Field, doublings: int, step: float = 1.5) -> Field:
    """Field averaged along the level sets of a stream function: noise becomes fibres.

    Each round averages the field with itself moved forwards and backwards along the flow and doubles the reach, so
    that ``n`` rounds give fibres of about ``2 * step * 2**n`` pixels; the flow is followed exactly because the
    displacements are composed, not stretched.

    Parameters
    ----------
    source : ndarray of float32, (h, w)
        What is drawn out.
    stream : ndarray of float32, (h', w')
        Stream function on a grid that may be coarser than that of ``source``.
    doublings : int
        Number of rounds.
    step : float
        First displacement, in pixels of ``source``.
    """
    gx, gy = gradient(blur(stream, 1.0))
    ratio = source.shape[0] / stream.shape[0]
    forward = np.dstack([gy, -gx]) * np.float32(step / ratio)
    backward = -forward
    rows, columns = np.indices(stream.shape, np.float32)
    out: Field = source
    for _ in range(doublings):
        out = np.asarray((_moved(out, forward, ratio) + out + _moved(out, backward, ratio)) / 3, np.float32)
        forward = forward + cv2.remap(
            forward, columns + forward[..., 0], rows + forward[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
        )
        backward = backward + cv2.remap(
            backward,
            columns + backward[..., 0],
            rows + backward[..., 1],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT,
        )
    return _normal(out - out.mean())


def _moved(field: Field, displacement: NDArray[np.float32], ratio: float) -> Field:
    height, width = field.shape
    dx = cv2.resize(displacement[..., 0], (width, height), interpolation=cv2.INTER_LINEAR) * np.float32(ratio)
    dy = cv2.resize(displacement[..., 1], (width, height), interpolation=cv2.INTER_LINEAR) * np.float32(ratio)
    dx += np.arange(width, dtype=np.float32)[None, :]
    dy += np.arange(height, dtype=np.float32)[:, None]
    return np.asarray(cv2.remap(field, dx, dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT), np.float32)
