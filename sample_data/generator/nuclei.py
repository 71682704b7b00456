"""Where nuclei lie, and how each of them looks: the four classes and their variation.

Sizes are semi-axes in pixels of 0.5 µm. Epithelial nuclei stand across their basement membrane, stromal ones lie
along the fibres, lymphocytes pack as densely as they can.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from .fields import Field, Mask, blur, gradient, noise, ramp, sample
from .packing import Points, scatter, thin
from .tissue import CELL, Glands, Plan

NEOPLASTIC, BENIGN, LYMPHOCYTE, STROMAL = 1, 2, 3, 4

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Look:
    """How the nuclei of a class vary; pairs are mean and standard deviation."""

    a: tuple[float, float]
    ratio: tuple[float, float]
    tone: tuple[float, float]
    clumping: tuple[float, float]
    membrane: tuple[float, float]
    nucleoli: float
    irregular: float
    power: float
    softness: tuple[float, float]


LOOKS = {
    NEOPLASTIC: Look((10.9, 0.19), (0.74, 0.11), (0.78, 0.20), (0.22, 0.08), (0.52, 0.14), 1.2, 0.055, 2.0, (1.1, 0.4)),
    BENIGN: Look((9.6, 0.11), (0.58, 0.09), (1.02, 0.18), (0.16, 0.05), (0.3, 0.1), 0.25, 0.025, 2.1, (1.2, 0.3)),
    LYMPHOCYTE: Look((6.6, 0.11), (0.88, 0.08), (1.3, 0.26), (0.2, 0.07), (0.28, 0.12), 0.0, 0.035, 2.0, (1.2, 0.3)),
    STROMAL: Look((12.0, 0.32), (0.27, 0.09), (1.2, 0.3), (0.14, 0.06), (0.1, 0.06), 0.0, 0.07, 1.75, (1.3, 0.5)),
}


@dataclass(frozen=True, slots=True)
class Nuclei:
    """Nuclei as columns, one entry each; lengths in level-0 pixels, corner-based."""

    x: Values
    y: Values
    a: Values
    b: Values
    angle: Values
    kind: NDArray[np.int64]
    tone: Values
    clumping: Values
    membrane: Values
    nucleoli: NDArray[np.int64]
    irregular: Values
    power: Values
    softness: Values
    bow: Values

    def __len__(self) -> int:
        return len(self.x)

    def take(self, index: NDArray[np.int64]) -> Nuclei:
        return Nuclei(*(getattr(self, f.name)[index] for f in fields(self)))

    @classmethod
    def join(cls, parts: list[Nuclei]) -> Nuclei:
        return cls(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)))


def grow(points: Points, angle: Values, kind: int, rng: np.random.Generator, size: Values | float = 1.0) -> Nuclei:
    """Nuclei of one class at given places, their looks drawn at random."""
    look, n = LOOKS[kind], len(points)

    def normal(pair: tuple[float, float], low: float, high: float) -> Values:
        return np.clip(rng.normal(*pair, n), low, high)

    a = look.a[0] * np.exp(rng.normal(0, look.a[1], n)) * size
    b = a * normal(look.ratio, 0.18, 0.98)
    if kind == STROMAL:
        b = np.clip(b, 1.7, 5.0)
    tone = normal(look.tone, 0.4, 2.0)
    # Some nuclei are only grazed by the section: pale, and out of focus.
    grazed = rng.random(n) < 0.1
    tone = np.where(grazed, tone * rng.uniform(0.45, 0.75, n), tone)
    softness = np.where(grazed, 1.9, 1.0) * normal(look.softness, 0.9, 3.0)
    return Nuclei(
        x=points[:, 0],
        y=points[:, 1],
        a=a,
        b=b,
        angle=angle,
        kind=np.full(n, kind, np.int64),
        tone=tone,
        clumping=normal(look.clumping, 0.03, 0.7),
        membrane=normal(look.membrane, 0.0, 0.8),
        nucleoli=np.minimum(rng.poisson(look.nucleoli, n), 3),
        irregular=np.abs(rng.normal(look.irregular, look.irregular / 2, n)),
        power=rng.uniform(look.power - 0.15, look.power + 0.25, n),
        softness=softness,
        bow=rng.normal(0, 0.09, n) if kind == STROMAL else np.zeros(n),
    )


def place(plan: Plan, rng: np.random.Generator) -> Nuclei:
    """All nuclei of a slide; those placed earlier keep their room."""
    crowd = noise(plan.shape, 260 / CELL, rng, 2)
    placed = _epithelium(plan.tumour, NEOPLASTIC, crowd, rng)
    for group, slack in _groups(plan, crowd, rng):
        placed = _add(placed, group, slack, rng)
    return placed


def _groups(plan: Plan, crowd: Field, rng: np.random.Generator) -> list[tuple[Nuclei, Values]]:
    benign = _epithelium(plan.benign, BENIGN, crowd, rng, thinned=False)
    glands = np.maximum(plan.tumour.depth, plan.benign.depth)
    stroma = (plan.tissue > 8) & (glands < -7) & (plan.fat < -5) & (plan.vessel < -9)
    aggregate = stroma & (plan.lymphoid > 0)
    lymphocytes = _lymphocytes(aggregate, np.clip(plan.lymphoid / 40 + 0.15, 0, 1), 26.0, rng)
    clusters = ramp(noise(plan.shape, 130 / CELL, rng, 3), -0.2, 1.4)
    near = (np.clip(np.exp(plan.lymphoid / 150), 0, 1) * 1.5 + 0.06 * np.exp(crowd)) * clusters
    strays = _lymphocytes(stroma & (plan.lymphoid < 0), near, 600.0, rng)
    inside = _lymphocytes(
        (plan.tumour.depth > 6) & (plan.tumour.lumen < -6), np.ones(plan.shape, np.float32), 12000.0, rng
    )
    angle = np.where(plan.weave > 0.5, *(_tangent(stream) for stream in plan.streams)).astype(np.float32)
    cellular = stroma & (plan.lymphoid < 30) & (noise(plan.shape, 210 / CELL, rng, 3) > -0.55)
    fibroblasts = _along(np.asarray(cellular), angle, 500.0, rng)
    wall = _along((plan.vessel < 3) & (plan.vessel > -7), _tangent(np.maximum(plan.vessel, -60)), 260.0, rng)
    septa = _septa(plan, rng)

    def slack(nuclei: Nuclei, low: float, high: float) -> Values:
        return np.asarray(rng.uniform(low, high, len(nuclei)))

    return [
        (benign, slack(benign, 0.9, 1.05)),
        (inside, slack(inside, 0.95, 1.1)),
        (lymphocytes, slack(lymphocytes, 0.78, 0.95)),
        (wall, slack(wall, 1.0, 1.4)),
        (strays, slack(strays, 1.0, 1.3)),
        (septa, slack(septa, 1.0, 1.6)),
        (fibroblasts, slack(fibroblasts, 1.1, 2.2)),
    ]


def _add(placed: Nuclei, group: Nuclei, slack: Values, rng: np.random.Generator) -> Nuclei:
    both = Nuclei.join([placed, group])
    room = np.concatenate([np.full(len(placed), 0.96), slack])
    first = np.arange(len(both)) < len(placed)
    centres = np.stack([both.x, both.y], 1)
    return both.take(thin(centres, both.a * room, both.b * room, both.angle, rng, first))


def _epithelium(glands: Glands, kind: int, crowd: Field, rng: np.random.Generator, *, thinned: bool = True) -> Nuclei:
    look = LOOKS[kind]
    if kind == BENIGN:
        mask: Mask = np.asarray((glands.depth > 6.5) & (glands.depth < 11.5))
    else:
        mask = np.asarray((glands.depth > 8) & (glands.lumen < -8))
    area = float(np.count_nonzero(mask)) * CELL**2
    per_nucleus = np.pi * look.a[0] ** 2 * look.ratio[0]
    points = scatter(mask, round((9 if kind == BENIGN else 5) * area / per_nucleus), rng, CELL)
    gx, gy = gradient(blur(glands.depth, 2.0))
    angle = np.arctan2(sample(gy, points, CELL), sample(gx, points, CELL))
    if kind == BENIGN:
        angle = angle + rng.normal(0, 0.16, len(points))
        return grow(points, angle, kind, rng)
    depth = sample(glands.depth, points, CELL)
    angle = angle + rng.normal(0, 1, len(points)) * np.clip(0.25 + depth / 60, 0.3, 1.6)
    grade = np.exp(0.09 * sample(crowd, points, CELL))
    nuclei = grow(points, angle, kind, rng, grade)
    slack = np.exp(rng.normal(0.01, 0.14, len(points)) - 0.07 * sample(crowd, points, CELL))
    centres = np.stack([nuclei.x, nuclei.y], 1)
    return nuclei.take(thin(centres, nuclei.a * slack, nuclei.b * slack, nuclei.angle, rng)) if thinned else nuclei


def _lymphocytes(mask: Mask, density: NDArray[np.floating], per_nucleus: float, rng: np.random.Generator) -> Nuclei:
    area = float(np.count_nonzero(mask)) * CELL**2
    points = scatter(mask, round(area / per_nucleus), rng, CELL)
    points = points[rng.random(len(points)) < sample(density, points, CELL)]
    return grow(points, rng.uniform(0, np.pi, len(points)), LYMPHOCYTE, rng)


def _along(mask: Mask, angle: Field, per_nucleus: float, rng: np.random.Generator, size: float = 1.0) -> Nuclei:
    area = float(np.count_nonzero(mask)) * CELL**2
    points = scatter(np.asarray(mask), round(area / per_nucleus), rng, CELL)
    direction = sample(angle, points, CELL) + rng.normal(0, 0.14, len(points))
    return grow(points, direction, STROMAL, rng, size)


def _septa(plan: Plan, rng: np.random.Generator) -> Nuclei:
    fat = np.asarray(plan.fat > -5)
    wall = plan.adipocytes.wall(fat, CELL) if plan.adipocytes else plan.fat
    wall = np.maximum(wall, -60)
    return _along(np.asarray(fat & (wall < 2.5)), _tangent(wall), 800.0, rng, size=0.75)


def _tangent(field: Field) -> Field:
    gx, gy = gradient(blur(field, 1.5))
    return np.arctan2(-gx, gy)
