"""The closed contour around a click that separates dark from bright best, found by dynamic programming.

Rays run out from each click. On every ray each distance is scored by how sharply the stain falls off there (edge), by
how much of the ray up to there looks like the clicked object rather than its surroundings (region), and by how much
the stain has risen again on the way (then the ray has left the object and entered another). The best contour takes one
distance per ray, neighbouring rays at most two samples apart. A star-shaped outline is a strong and nearly always true
statement about nuclei; it is what keeps touching ones apart where a threshold runs them together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

RAYS = 32
SAMPLES = 80  # per ray

_HALF_EDGE = 2  # samples on either side over which the fall-off is taken
_EDGE_WEIGHT = 2.0
_REGION_WEIGHT = 0.05  # per sample
_RISE_WEIGHT = 1.0
_FORBIDDEN = -1e3
_LEAST_CONTRAST = 0.05  # optical density


@dataclass(frozen=True, slots=True)
class Rays:
    """Samples around N clicks.

    Attributes
    ----------
    radii : ndarray, float64, shape (N, RAYS, SAMPLES)
        Distance of each sample from its click, image pixels.
    x, y : ndarray, float64, shape (N, RAYS, SAMPLES)
        Where the samples lie, image pixels, corner-based.
    stain : ndarray, float32, shape (N, RAYS, SAMPLES)
        What they show.
    """

    radii: NDArray[np.float64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    stain: NDArray[np.float32]


def directions() -> NDArray[np.float64]:
    """Unit vectors of the rays, shape (RAYS, 2)."""
    angles = np.arange(RAYS) * (2 * np.pi / RAYS)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def cast_rays(stain: NDArray[np.float32], points: NDArray[np.float64], reach: NDArray[np.float64]) -> Rays:
    """Sample a channel along rays of length ``reach`` (N, RAYS) from ``points`` (N, 2)."""
    radii = reach[..., None] * (np.arange(1, SAMPLES + 1) / SAMPLES)
    ways = directions()
    x = points[:, 0, None, None] + ways[:, 0, None] * radii
    y = points[:, 1, None, None] + ways[:, 1, None] * radii
    flat = (len(points) * RAYS, SAMPLES)
    # In blocks, because OpenCV's remap takes no side longer than a signed 16-bit number.
    seen = [
        cv2.remap(stain, part_x, part_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for part_x, part_y in zip(
            _blocks((x - 0.5).reshape(flat)),
            _blocks((y - 0.5).reshape(flat)),
            strict=True,
        )
    ]
    return Rays(radii, x, y, np.concatenate(seen).reshape(x.shape))


def _blocks(values: NDArray[np.float64]) -> list[NDArray[np.float32]]:
    single = values.astype(np.float32)
    return [single[start : start + 16384] for start in range(0, len(single), 16384)]


def object_levels(rays: Rays, background_percentile: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Stain of the clicked object and its contrast with the surroundings, each of shape (N,)."""
    near = np.median(rays.stain[:, :, :4].reshape(len(rays.stain), -1), axis=1)
    around = np.percentile(rays.stain.reshape(len(rays.stain), -1), background_percentile, axis=1)
    return near.astype(np.float64), np.maximum(near - around, _LEAST_CONTRAST, dtype=np.float64)


def best_contours(
    rays: Rays,
    levels: tuple[NDArray[np.float64], NDArray[np.float64]],
    threshold: float,
    allowed: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Distance of the best contour from its click on every ray, image pixels, shape (N, RAYS).

    Parameters
    ----------
    rays : Rays
        Samples around the clicks.
    levels : tuple
        What :func:`object_levels` gives.
    threshold : float
        Where between surroundings (0) and object (1) a pixel stops looking like the object.
    allowed : ndarray of bool, shape (N, RAYS, SAMPLES)
        Distances the contour may take.
    """
    near, contrast = levels
    relative = (rays.stain - near[:, None, None]) / contrast[:, None, None] + 1
    region = np.cumsum(np.clip(relative - threshold, -1, 1), axis=2)
    edge = np.zeros_like(region)
    span = 2 * _HALF_EDGE
    edge[:, :, _HALF_EDGE:-_HALF_EDGE] = relative[:, :, :-span] - relative[:, :, span:]
    rise = np.cumsum(np.clip(np.diff(relative, axis=2, prepend=relative[:, :, :1]), 0, None), axis=2)
    quality = _EDGE_WEIGHT * edge + _REGION_WEIGHT * region - _RISE_WEIGHT * rise
    score = np.where(allowed, quality, _FORBIDDEN)
    chosen = _closed_paths(score)
    return np.take_along_axis(rays.radii, chosen[..., None], axis=2)[..., 0]


def _closed_paths(score: NDArray[Any]) -> NDArray[np.int64]:
    """Best sample on every ray, shape (N, RAYS): the middle of the best path of two laps, which closes on itself."""
    count, laps = len(score), 2 * RAYS
    total = np.zeros((count, SAMPLES))
    moves = np.empty((laps, count, SAMPLES), np.int8)
    for step in range(laps):
        best, move = total, np.zeros(total.shape, np.int8)
        for shift in (-2, -1, 1, 2):
            shifted = np.full(total.shape, -np.inf)
            if shift > 0:
                shifted[:, shift:] = total[:, :-shift]
            else:
                shifted[:, :shift] = total[:, -shift:]
            better = shifted > best
            best, move = np.where(better, shifted, best), np.where(better, np.int8(shift), move)
        moves[step] = move
        total = best + score[:, step % RAYS]
    path = np.empty((count, laps), np.int64)
    at = total.argmax(axis=1)
    for step in range(laps - 1, -1, -1):
        path[:, step] = at
        at = at - moves[step, np.arange(count), at]
    ray = np.arange(RAYS)
    return path[:, np.where(ray >= RAYS // 2, ray, ray + RAYS)]
