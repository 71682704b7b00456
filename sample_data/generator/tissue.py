"""The plan of a slide: where tissue lies, and which glands, fat cells, vessels and lymphoid aggregates grow in it.

The plan is drawn on a grid of 4 px: its fields are signed and smooth (positive inside, in level-0 pixels), so that
their borders are sharp after enlarging. Glands are cells of a bent Voronoi diagram with their corners rounded: they
crowd, press and mould each other as glands do, with septa of varying width between them, where circles thrown at random
would look like coins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from scipy.spatial import cKDTree

from .fields import Field, Mask, Shape, blur, noise, ramp, sample, sample_smoothly
from .packing import scatter, spread, thin

if TYPE_CHECKING:
    from numpy.typing import NDArray

CELL = 4
"""Width of a pixel of the plan in level-0 pixels."""

FAR = np.float32(-1e3)


@dataclass(frozen=True, slots=True)
class GlandStyle:
    """How a kind of gland grows; lengths in level-0 pixels."""

    spacing: float
    bend: float
    gap: float
    radius: tuple[float, float]
    thickness: tuple[float, float]
    solid: float
    cribriform: float
    missing: float


MALIGNANT = GlandStyle(
    spacing=185, bend=34, gap=8, radius=(95, 230), thickness=(38, 62), solid=0.3, cribriform=0.25, missing=0.12
)
BENIGN = GlandStyle(
    spacing=128, bend=13, gap=11, radius=(44, 82), thickness=(25, 29), solid=0.0, cribriform=0.0, missing=0.06
)


@dataclass(frozen=True, slots=True)
class Glands:
    """Glands of one kind: signed depth below their outer border, and that of their lumens."""

    depth: Field
    lumen: Field

    @classmethod
    def none(cls, shape: Shape) -> Glands:
        return cls(np.full(shape, FAR), np.full(shape, FAR))


@dataclass(frozen=True, slots=True)
class Plan:
    """Signed fields of a slide on the coarse grid, level-0 pixels, positive inside."""

    tissue: Field
    tumour: Glands
    benign: Glands
    fat: Field
    adipocytes: Adipocytes | None
    lymphoid: Field
    vessel: Field
    streams: tuple[Field, Field]
    weave: Field

    @property
    def shape(self) -> Shape:
        return (self.tissue.shape[0], self.tissue.shape[1])


def signed(mask: Mask) -> Field:
    """Distance to the border of a mask in level-0 pixels, positive inside."""
    inside = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
    outside = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    # Without any border the transform gives the largest float.
    return np.asarray((np.minimum(inside, -FAR) - np.minimum(outside, -FAR)) * CELL, np.float32)


def draw_plan(size: tuple[int, int], rng: np.random.Generator) -> Plan:
    """Plan of a slide of ``size`` = (width, height) level-0 pixels."""
    shape = (-(-size[1] // CELL), -(-size[0] // CELL))
    tissue = _outline(shape, rng)
    room = tissue > 24
    tumour_zone = _share(noise(shape, 1500 / CELL, rng, 2), room, 0.5)
    fat_zone = _share(noise(shape, 1100 / CELL, rng, 2), room & ~tumour_zone, 0.26)
    benign_zone = _share(noise(shape, 900 / CELL, rng, 2), room & ~tumour_zone & ~fat_zone, 0.45)
    tumour = _glands(tumour_zone, MALIGNANT, rng)
    benign = _glands(benign_zone & (tumour.depth < -25), BENIGN, rng)
    nearest = np.maximum(tumour.depth, benign.depth)
    # Fat tears at its edge rather than across.
    fat, adipocytes = _fat(fat_zone, np.minimum(tissue - 5, -nearest - 14), rng)
    tissue = np.minimum(tissue, np.where(fat > -12, 80, _cracks(shape, rng)))
    lymphoid = _lymphoid(tissue, nearest, fat, rng)
    vessel = _vessels(np.minimum(tissue, -np.maximum(nearest, np.maximum(fat, lymphoid))), rng)
    streams, weave = _streams(np.maximum(nearest, vessel), rng)
    return Plan(tissue, tumour, benign, fat, adipocytes, lymphoid, vessel, streams, weave)


def _outline(shape: Shape, rng: np.random.Generator) -> Field:
    rows, columns = np.indices(shape, np.float32)
    reach = min(shape) * CELL
    v, u = (rows / shape[0] - 0.5) * 2, (columns / shape[1] - 0.5) * 2
    turn = rng.uniform(-0.25, 0.25)
    u, v = u * np.cos(turn) + v * np.sin(turn), v * np.cos(turn) - u * np.sin(turn)
    radius = (np.abs(u / 0.99) ** 3 + np.abs(v / 0.97) ** 3) ** (1 / 3)
    field = (1 - radius) * reach / 2
    field += noise(shape, 0.45 * reach / CELL, rng, 3) * 0.07 * reach
    field += noise(shape, 90 / CELL, rng, 3) * min(9.0, reach / 100)
    return blur(signed(field > 0), 1.2)


def _cracks(shape: Shape, rng: np.random.Generator) -> Field:
    """Distance to the nearest crack in the section, negative in it."""
    crack = noise(shape, 700 / CELL, rng, 4)
    where = noise(shape, 900 / CELL, rng)
    slope = np.hypot(*np.gradient(blur(crack, 2.0))) / CELL + 1e-4
    width = np.clip((where - 0.9) * 14, -20, 16)
    return np.asarray(np.abs(crack) / slope - width, np.float32)


def _share(score: Field, room: Mask, share: float) -> Mask:
    if not room.any():
        return room
    return np.asarray(room & (score > np.quantile(score[room], 1 - share)))


@dataclass(frozen=True, slots=True)
class Tiling:
    """Cells of a bent, weighted Voronoi diagram with rounded corners; lengths in level-0 pixels."""

    seeds: NDArray[np.float64]
    weights: NDArray[np.float64]
    bends: tuple[Field, Field]
    round_over: float

    def at(self, mask: Mask, scale: float) -> tuple[NDArray[np.int64], Field, Field]:
        """Nearest seed, distance to it and rounded distance to the cell's border, for the true pixels of a mask.

        ``scale`` is the width of the mask's pixels.
        """
        places = np.stack(np.nonzero(mask)[::-1], 1)
        where = (places + 0.5) * scale
        where += np.stack([sample_smoothly(bend, where / CELL) for bend in self.bends], 1)
        k = min(4, len(self.seeds))
        distance, index = cKDTree(self.seeds).query(where, k=k)
        index = index.reshape(len(where), k)
        distance = distance.reshape(len(where), k) + self.weights[index]
        order = np.argsort(distance, axis=1)
        distance = np.take_along_axis(distance, order, 1)
        nearest = np.take_along_axis(index, order, 1)[:, 0]
        first = distance[:, 0].astype(np.float32)
        if k == 1:
            return nearest, first, np.full(len(where), 1e3, np.float32)
        others = np.exp(-(distance[:, 1:] - distance[:, 1:2]) / self.round_over).sum(1)
        rounded = distance[:, 1] - self.round_over * np.log(others)
        return nearest, first, ((rounded - distance[:, 0]) / 2).astype(np.float32)


def _glands(zone: Mask, style: GlandStyle, rng: np.random.Generator) -> Glands:
    shape = (zone.shape[0], zone.shape[1])
    seeds = spread(zone, style.spacing, rng, CELL)
    if len(seeds) == 0:
        return Glands.none(shape)
    n = len(seeds)
    around = np.asarray(signed(zone) > -60)
    bend = style.bend
    bends = (
        noise(shape, 3.2 * bend / CELL + 12, rng, 3) * bend * 0.8,
        noise(shape, 3.2 * bend / CELL + 12, rng, 3) * bend * 0.8,
    )
    weights = rng.uniform(-0.17, 0.17, n) * style.spacing
    nearest, centre, edge = Tiling(seeds, weights, bends, 0.13 * style.spacing).at(around, CELL)
    radius = rng.uniform(*style.radius, n)
    missing = rng.random(n) < style.missing
    gap = np.maximum(style.gap * (1 + 0.9 * noise(shape, 160 / CELL, rng, 2)[around]), 2.5)
    depth = np.full(shape, FAR)
    inside = np.minimum(edge - gap, radius[nearest] - centre)
    depth[around] = np.where(missing[nearest], -20, np.minimum(inside, signed(zone)[around] + 50))
    depth = blur(np.maximum(depth, -60), 1.6)
    depth = signed(depth > 0) if style is BENIGN else blur(signed(depth > 0), 1.2)
    lumen = np.full(shape, FAR)
    lumen[around] = _lumens(depth[around], nearest, n, style, noise(shape, 62 / CELL, rng, 2)[around], rng)
    return Glands(depth, blur(np.maximum(lumen, -40), 1.0))


def _lumens(
    depth: Field, gland: NDArray[np.int64], n: int, style: GlandStyle, texture: Field, rng: np.random.Generator
) -> Field:
    kind = rng.random(n)
    thickness = rng.uniform(*style.thickness, n)[gland]
    single = depth - thickness - texture * 0.11 * style.bend
    holes = np.minimum(depth - 22, (texture - 0.55) * 16)
    lumen = np.where(kind[gland] < style.solid + style.cribriform, holes, single)
    return np.where(kind[gland] < style.solid, -40, lumen).astype(np.float32)


def _fat(zone: Mask, allowed: Field, rng: np.random.Generator) -> tuple[Field, Adipocytes | None]:
    shape = (zone.shape[0], zone.shape[1])
    seeds = spread(np.asarray(signed(zone) > -110), 96, rng, CELL)
    if len(seeds) == 0:
        return np.full(shape, FAR), None
    filled = sample(zone, seeds, CELL) > 0
    filled &= rng.random(len(seeds)) > 0.04
    bends = (noise(shape, 130 / CELL, rng, 2) * 7, noise(shape, 130 / CELL, rng, 2) * 7)
    cells = Adipocytes(Tiling(seeds, rng.uniform(-16, 16, len(seeds)), bends, 5.0), filled)
    wall = cells.wall(np.asarray(signed(zone) > -100), CELL)
    # Fat is its cells and the walls between them; towards other tissue each cell keeps its own round face.
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))
    closed = cv2.morphologyEx((wall > 1.5).astype(np.uint8), cv2.MORPH_CLOSE, disc) > 0
    return np.minimum(blur(signed(closed), 0.8) + 2, allowed).astype(np.float32), cells


@dataclass(frozen=True, slots=True)
class Adipocytes:
    """Fat cells: a tiling, and which of its cells are filled with fat."""

    tiling: Tiling
    filled: NDArray[np.bool_]

    def wall(self, mask: Mask, scale: float) -> Field:
        """Distance to the nearest wall under a mask, positive inside of fat cells."""
        field = np.full(mask.shape, FAR)
        nearest, _, edge = self.tiling.at(mask, scale)
        field[mask] = np.where(self.filled[nearest], edge, -edge)
        return field


def _lymphoid(tissue: Field, glands: Field, fat: Field, rng: np.random.Generator) -> Field:
    shape = (tissue.shape[0], tissue.shape[1])
    free = (tissue > 60) & (glands < -8) & (fat < -20)
    area = tissue.size * CELL**2
    count = max(1, round(area / 1.7e6))
    centres = scatter(free, count, rng, CELL)
    rows, columns = np.indices(shape, np.float32)
    field = np.full(shape, FAR)
    largest = min(330.0, 0.14 * min(shape) * CELL)
    for x, y in centres:
        radius = rng.uniform(0.45, 1) * largest
        squeeze, turn = rng.uniform(0.6, 1), rng.uniform(0, np.pi)
        dx, dy = (columns + 0.5) * CELL - x, (rows + 0.5) * CELL - y
        along = dx * np.cos(turn) + dy * np.sin(turn)
        across = (dy * np.cos(turn) - dx * np.sin(turn)) / squeeze
        field = np.maximum(field, radius - np.hypot(along, across))
    field += noise(shape, 190 / CELL, rng, 3) * 0.16 * largest
    limit = np.minimum(np.minimum(tissue - 14, -glands - 7), -fat - 8)
    return np.minimum(field, limit).astype(np.float32)


def _vessels(free: Field, rng: np.random.Generator) -> Field:
    field = np.full(free.shape, FAR)
    points = scatter(np.asarray(free > 26), round(free.size * CELL**2 / 1.6e5), rng, CELL)
    if len(points) == 0:
        return field
    rows, columns = (points // CELL).astype(int).T[::-1]
    calibre = rng.uniform(13, 26, len(points)) * rng.choice([1, 1, 1, 1.9], len(points))
    radius = np.minimum(free[rows, columns] - 10, calibre)
    squeeze = rng.uniform(0.5, 1, len(points))
    turn = rng.uniform(0, np.pi, len(points))
    reach = radius + 60
    for i in thin(points, reach, reach, turn, rng):
        x, y, r = points[i, 0], points[i, 1], radius[i]
        half = int(r + 24)
        x0, y0 = max(int(x - half) // CELL, 0), max(int(y - half) // CELL, 0)
        window = field[y0 : int(y + half) // CELL + 1, x0 : int(x + half) // CELL + 1]
        v, u = np.indices(window.shape)
        dx, dy = (u + x0 + 0.5) * CELL - x, (v + y0 + 0.5) * CELL - y
        along = dx * np.cos(turn[i]) + dy * np.sin(turn[i])
        across = (dy * np.cos(turn[i]) - dx * np.sin(turn[i])) / squeeze[i]
        bent = across + 0.22 * r * np.sin(along / r * 1.7)
        window[...] = np.maximum(window, (r - np.hypot(along, bent)) * squeeze[i])
    return field


def _streams(objects: Field, rng: np.random.Generator) -> tuple[tuple[Field, Field], Field]:
    """Stream functions whose level sets the collagen follows, and the share (0 … 1) of the second.

    Collagen is a felt: bundles of two directions pass over and under each other. Around glands and vessels both wind.
    """
    shape = (objects.shape[0], objects.shape[1])
    rows, columns = np.indices(shape, np.float32)
    turn = rng.uniform(0, np.pi)
    away = -blur(objects, 2.0)
    weight = np.exp(-np.maximum(away, 0) / 24)

    def stream(direction: float) -> Field:
        field = (columns * np.cos(direction) + rows * np.sin(direction)) * CELL
        field = field + noise(shape, 1000 / CELL, rng, 2) * 85
        field = field * (1 - weight) + away * weight
        field = field + noise(shape, 110 / CELL, rng) * 6.5 + noise(shape, 40 / CELL, rng) * 1.6
        return np.asarray(field, np.float32)

    weave = ramp(noise(shape, 150 / CELL, rng, 3), 0.2, 0.7)
    return (stream(turn), stream(turn + rng.uniform(0.5, 1.1))), weave
