"""Painting nuclei: outline, membrane, chromatin, nucleoli, and the exact instance mask beside them.

Nuclei of similar size are painted as one batch of small patches, so that ten thousand take seconds. A pixel belongs
to a nucleus if its centre lies inside the outline; where two overlap, the later one lies on top.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .fields import Field, Shape, noise
from .nuclei import LYMPHOCYTE, Nuclei

if TYPE_CHECKING:
    from numpy.typing import NDArray

PATCHES = (20, 28, 36, 48, 64, 96)
_BATCH = 512
_ATLAS = 768
_HARMONICS = (2, 3, 4, 5)


@dataclass(frozen=True, slots=True)
class Painted:
    """Nuclear dye, share of each pixel that is nucleus (0 … 1), and the instance map (index + 1)."""

    dye: Field
    cover: Field
    instances: NDArray[np.int32]


def paint(nuclei: Nuclei, shape: Shape, rng: np.random.Generator) -> Painted:
    """Nuclei on an empty field of ``shape`` = (rows, columns)."""
    out = Painted(np.zeros(shape, np.float32), np.zeros(shape, np.float32), np.zeros(shape, np.int32))
    coarse = noise((_ATLAS, _ATLAS), 4.0, rng) * 0.65 + noise((_ATLAS, _ATLAS), 2.0, rng) * 0.75
    fine = noise((_ATLAS, _ATLAS), 1.6, rng)
    reach = np.maximum(nuclei.a, nuclei.b) * (1 + 2 * nuclei.irregular) + 2 * nuclei.softness + 2
    sizes = np.asarray(PATCHES)[np.clip(np.searchsorted(PATCHES, 2 * reach), 0, len(PATCHES) - 1)]
    for size in PATCHES:
        index = np.flatnonzero(sizes == size)
        for start in range(0, len(index), _BATCH):
            chosen = index[start : start + _BATCH]
            dye, cover, inside = _render(nuclei.take(chosen), size, (coarse, fine), rng)
            for k, i in enumerate(chosen):
                _paste(out, (nuclei.x[i], nuclei.y[i]), int(i) + 1, (dye[k], cover[k], inside[k]))
    return out


def _render(
    nuclei: Nuclei, size: int, atlas: tuple[Field, Field], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    u, v = _frames(nuclei, size)
    s = _outline(nuclei, u, v, rng)
    gy, gx = np.gradient(s, axis=(1, 2))
    depth = (1 - s) / np.maximum(np.hypot(gx, gy), 0.02)
    column = (slice(None), None, None)
    softness = nuclei.softness[column].astype(np.float32)
    cover = np.clip(depth / softness + 0.5, 0, 1)
    cover = cover * cover * (3 - 2 * cover)
    texture = _texture(nuclei, size, atlas, rng)
    dye = 1 + 1.15 * nuclei.clumping[column].astype(np.float32) * texture
    dye += nuclei.membrane[column].astype(np.float32) * np.exp(-(((depth - 1.2) / 1.1) ** 2))
    # A nucleus is thickest in its middle; small dark ones show it most.
    dye *= 0.86 + 0.2 * np.clip(1 - s, 0, 1)
    dye += _nucleoli(nuclei, u, v, rng)
    dye = np.clip(dye, 0.3, 2.4) * nuclei.tone[column].astype(np.float32) * cover
    return dye.astype(np.float32), cover.astype(np.float32), s < 1


def _frames(nuclei: Nuclei, size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Pixel centres of each patch in the frame of its nucleus, bowed where the nucleus is."""
    corner_x, corner_y = np.floor(nuclei.x) - size // 2, np.floor(nuclei.y) - size // 2
    steps = np.arange(size) + 0.5
    dx = (corner_x - nuclei.x)[:, None, None] + steps[None, None, :]
    dy = (corner_y - nuclei.y)[:, None, None] + steps[None, :, None]
    cos, sin = np.cos(nuclei.angle)[:, None, None], np.sin(nuclei.angle)[:, None, None]
    u, v = dx * cos + dy * sin, dy * cos - dx * sin
    v = v - (nuclei.bow / nuclei.a)[:, None, None] * u * u
    return u.astype(np.float32), v.astype(np.float32)


def _outline(
    nuclei: Nuclei, u: NDArray[np.float32], v: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Radius relative to the outline: below 1 inside."""
    column = (slice(None), None, None)
    a, b = nuclei.a[column].astype(np.float32), nuclei.b[column].astype(np.float32)
    power = nuclei.power[column].astype(np.float32)
    s = ((np.abs(u) / a) ** power + (np.abs(v) / b) ** power) ** (1 / power)
    angle = np.arctan2(v / b, u / a)
    edge = np.ones_like(s)
    for k in _HARMONICS:
        amount = nuclei.irregular * rng.normal(0, 1, len(nuclei)) * (2 / k)
        phase = rng.uniform(0, 2 * np.pi, len(nuclei))
        edge += amount[column].astype(np.float32) * np.cos(k * angle + phase[column].astype(np.float32))
    return np.asarray(s / np.clip(edge, 0.7, 1.35), np.float32)


def _texture(nuclei: Nuclei, size: int, atlas: tuple[Field, Field], rng: np.random.Generator) -> NDArray[np.float32]:
    n = len(nuclei)
    rows = rng.integers(0, _ATLAS - size, n)[:, None, None] + np.arange(size)[None, :, None]
    columns = rng.integers(0, _ATLAS - size, n)[:, None, None] + np.arange(size)[None, None, :]
    coarse = atlas[0][rows, columns]
    fine = atlas[1][rows, columns]
    clumped = (nuclei.kind == LYMPHOCYTE) | (nuclei.clumping > 0.3)
    return np.asarray(np.where(clumped[:, None, None], coarse, 0.5 * coarse + 0.75 * fine), np.float32)


def _nucleoli(
    nuclei: Nuclei, u: NDArray[np.float32], v: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.float32]:
    out = np.zeros_like(u)
    for k in range(int(nuclei.nucleoli.max(initial=0))):
        has = np.flatnonzero(nuclei.nucleoli > k)
        turn, radius = rng.uniform(0, 2 * np.pi, len(has)), rng.uniform(0, 0.5, len(has))
        cu = (nuclei.a[has] * radius * np.cos(turn))[:, None, None].astype(np.float32)
        cv = (nuclei.b[has] * radius * np.sin(turn))[:, None, None].astype(np.float32)
        width = rng.uniform(1.2, 2.3, len(has))[:, None, None].astype(np.float32)
        strength = rng.uniform(0.35, 0.9, len(has))[:, None, None].astype(np.float32)
        out[has] += strength * np.exp(-((((u[has] - cu) ** 2 + (v[has] - cv) ** 2) / (2 * width**2)) ** 2))
    return out


def _paste(
    out: Painted,
    centre: tuple[float, float],
    label: int,
    patch: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]],
) -> None:
    size = patch[0].shape[0]
    height, width = out.dye.shape
    x0, y0 = int(centre[0]) - size // 2, int(centre[1]) - size // 2
    left, top = max(-x0, 0), max(-y0, 0)
    right, bottom = min(size, width - x0), min(size, height - y0)
    if right <= left or bottom <= top:
        return
    here = (slice(y0 + top, y0 + bottom), slice(x0 + left, x0 + right))
    dye, cover, inside = (part[top:bottom, left:right] for part in patch)
    below = out.dye[here]
    out.dye[here] = np.maximum(dye, below) + 0.3 * np.minimum(dye, below)
    np.maximum(out.cover[here], cover, out=out.cover[here])
    out.instances[here][inside] = label
