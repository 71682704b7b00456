"""Everything between the nuclei: collagen, cytoplasm, lumens, fat, vessels, glass, as amounts of dye per pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from .fields import Field, Mask, Shape, along_flow, blur, noise, ramp, resize
from .packing import spread

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .tissue import Plan


@dataclass(frozen=True, slots=True)
class Dyes:
    """Amounts of dye per pixel; 1 is that of a well stained structure."""

    haematoxylin: Field
    eosin: Field
    red_cells: Field

    def blend(self, weight: Field, haematoxylin: Field | float, eosin: Field | float) -> None:
        """Replace what is there by the share ``weight`` (0 … 1)."""
        for plane, new in ((self.haematoxylin, haematoxylin), (self.eosin, eosin)):
            plane += weight * (new - plane)


@dataclass(frozen=True, slots=True)
class Regions:
    """Signed borders at full resolution (pixels, positive inside) and the class map they make."""

    tissue: Field
    tumour: Field
    tumour_lumen: Field
    benign: Field
    benign_lumen: Field
    fat: Field
    fat_wall: Field
    lymphoid: Field
    vessel: Field
    bundles: Field
    classes: NDArray[np.uint8]


def outline_regions(plan: Plan, shape: Shape, rng: np.random.Generator) -> Regions:
    """The plan at full resolution, its borders roughened by single cells and fibres."""
    rough = noise(shape, 15, rng) * 1.1

    def full(field: Field, roughness: float = 1.0) -> Field:
        return resize(blur(np.maximum(field, -80), 0.8), shape) + rough * np.float32(roughness)

    half = (shape[0] // 2, shape[1] // 2)
    bundles = resize(_woven(plan, noise(half, 6.0, rng), 5), shape)
    # The cut edge frays along the fibres.
    tissue = (
        resize(blur(np.clip(plan.tissue, -80, 80).astype(np.float32), 1.0), shape)
        + noise(shape, 26, rng, 2) * 1.6
        + 4.5 * bundles
    )
    tumour, benign = full(plan.tumour.depth, 1.6), full(plan.benign.depth, 0.6)
    fat, lymphoid = full(plan.fat), full(plan.lymphoid, 5.0)
    classes = np.full(shape, 3, np.uint8)
    for region, field in ((4, lymphoid), (5, fat), (2, benign), (1, tumour)):
        classes[field > 0] = region
    classes[tissue <= 0] = 6
    return Regions(
        tissue=tissue,
        tumour=tumour,
        tumour_lumen=full(plan.tumour.lumen, 1.5),
        benign=benign,
        benign_lumen=full(plan.benign.lumen, 1.1),
        fat=fat,
        fat_wall=_fat_wall(plan, fat, rough),
        lymphoid=lymphoid,
        vessel=full(plan.vessel, 0.6),
        bundles=bundles,
        classes=classes,
    )


def _fat_wall(plan: Plan, fat: Field, rough: Field) -> Field:
    if plan.adipocytes is None:
        return fat
    # At full resolution: a wall is thinner than a pixel of the plan.
    return plan.adipocytes.wall(np.asarray(fat > -6), 1.0) + rough * 0.35


def lay_ground(
    plan: Plan, regions: Regions, instances: NDArray[np.int32], cleft: float, rng: np.random.Generator
) -> Dyes:
    """Dyes of all that is not nucleus."""
    shape = (instances.shape[0], instances.shape[1])
    dyes = _collagen(plan, regions.bundles, cleft, rng)
    grain = noise(shape, 4.5, rng) * 0.6 + noise(shape, 2.2, rng) * 0.5
    away = cv2.distanceTransform((instances == 0).astype(np.uint8), cv2.DIST_L2, 3)
    cells = Cells.around(instances, rng)
    _lymphoid(dyes, regions, away, grain)
    _fat(dyes, regions, grain, rng)
    _vessels(dyes, regions, grain, rng)
    _benign(dyes, regions, cells, grain, rng)
    _tumour(dyes, regions, cells, grain, rng)
    edge = ramp(regions.tissue, -1.5, 2.0)
    for plane in (dyes.haematoxylin, dyes.eosin, dyes.red_cells):
        plane *= edge
    thickness = _thickness(shape, rng)
    for plane in (dyes.haematoxylin, dyes.eosin):
        plane *= thickness * _granularity(shape, rng)
    # Tissue takes up more dye along a cut edge.
    rim = edge * np.exp(-np.maximum(regions.tissue, 0) / 9)
    dyes.eosin[...] += 0.22 * rim * (dyes.eosin > 0.25) * (regions.fat < -10)
    return dyes


@dataclass(frozen=True, slots=True)
class Cells:
    """Territories of the nuclei: a random shade for each cell, and how near a pixel is to a border between two."""

    shade: Field
    border: Field

    @classmethod
    def around(cls, instances: NDArray[np.int32], rng: np.random.Generator) -> Cells:
        shape = (instances.shape[0], instances.shape[1])
        _, labels = cv2.distanceTransformWithLabels(
            (instances == 0).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_CCOMP
        )
        rows, columns = np.indices(shape, np.float32)
        columns += noise(shape, 17, rng) * 1.5
        rows += noise(shape, 17, rng) * 1.5
        labels = cv2.remap(labels.astype(np.float32), columns, rows, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT)
        edge = np.zeros(shape, np.float32)
        edge[:, 1:] += labels[:, 1:] != labels[:, :-1]
        edge[1:] += labels[1:] != labels[:-1]
        shades = rng.standard_normal(int(labels.max()) + 1).astype(np.float32)
        return cls(blur(shades[labels.astype(np.int32)], 1.2), np.minimum(blur(edge, 0.9) * 1.8, 1))


def _collagen(plan: Plan, bundles: Field, cleft: float, rng: np.random.Generator) -> Dyes:
    shape = (bundles.shape[0], bundles.shape[1])
    half = (shape[0] // 2, shape[1] // 2)
    fibres = _woven(plan, noise(shape, 2.0, rng), 3)
    strands = resize(_woven(plan, noise(half, 2.6, rng), 4), shape)
    gaps = resize(_woven(plan, noise(half, 4.4, rng, 2), 4), shape)
    coarse = (-(-shape[0] // 8), -(-shape[1] // 8))
    loose = resize(noise(coarse, 620 / 8, rng, 3), shape)
    threads = 0.35 + 0.65 * ramp(resize(noise(coarse, 330 / 8, rng, 3), shape), -0.6, 1.0)
    eosin = 0.62 + threads * (0.1 * strands + 0.11 * fibres)
    eosin += 0.09 * bundles - 0.09 * loose + 0.04 * noise(shape, 2.6, rng)
    eosin -= 0.1 * ramp(strands, -1.4, -2.4)
    open_share = np.float32(cleft) * ramp(loose, -1.2, 1.6) + 0.1
    eosin *= 1 - ramp(gaps - 1.7 + 1.2 * open_share, 0, 0.5) * 0.85
    haematoxylin = 0.07 + 0.03 * ramp(loose, -0.5, 1.5) + 0.012 * fibres
    return Dyes(np.maximum(haematoxylin, 0), np.maximum(eosin, 0.02), np.zeros(shape, np.float32))


def _thickness(shape: Shape, rng: np.random.Generator) -> Field:
    coarse = (-(-shape[0] // 8), -(-shape[1] // 8))
    return resize(1 + 0.07 * noise(coarse, 1300 / 8, rng, 2) + 0.04 * noise(coarse, 24, rng), shape)


def _granularity(shape: Shape, rng: np.random.Generator) -> Field:
    return np.maximum(1 + 0.08 * noise(shape, 1.5, rng) + 0.07 * noise(shape, 3.2, rng), 0.3)


def _woven(plan: Plan, source: Field, doublings: int) -> Field:
    weave = resize(plan.weave, (source.shape[0], source.shape[1]))
    over, under = (along_flow(source, stream, doublings) for stream in plan.streams)
    return under + (over - under) * np.clip(weave, 0, 1)


def _lymphoid(dyes: Dyes, regions: Regions, away: Field, grain: Field) -> None:
    inside = ramp(regions.lymphoid, -10, 8)
    rim = np.exp(-(((away - 1.0) / 1.5) ** 2)).astype(np.float32)
    eosin = 0.16 + 0.26 * rim + 0.07 * grain
    dyes.blend(inside * 0.8, 0.12 + 0.2 * rim, np.maximum(eosin, 0.02))


def _fat(dyes: Dyes, regions: Regions, grain: Field, rng: np.random.Generator) -> None:
    inside = ramp(regions.fat, -3, 1)
    width = 1.25 + 0.3 * noise(regions.fat.shape, 40, rng)
    wall = np.exp(-((np.maximum(regions.fat_wall, 0) / np.maximum(width, 0.9)) ** 2)).astype(np.float32)
    dyes.blend(inside, 0.01 + 0.1 * wall, 0.02 + wall * (0.5 + 0.06 * grain))


def _vessels(dyes: Dyes, regions: Regions, grain: Field, rng: np.random.Generator) -> None:
    shape = regions.vessel.shape
    wall = ramp(regions.vessel, -11, -7) * ramp(regions.vessel, 2.5, 0.5)
    dyes.blend(wall * 0.75, 0.12, 0.72 + 0.07 * grain)
    inside = ramp(regions.vessel, 1, 2.5)
    dyes.blend(inside, 0.01, 0.03)
    filled = np.asarray((regions.vessel > 4) & (noise(shape, 110, rng) > -0.6))
    centres = spread(filled, 11.0, rng)
    if len(centres) == 0:
        return
    empty = np.ones(shape, np.uint8)
    empty[centres[:, 1].astype(int), centres[:, 0].astype(int)] = 0
    away = cv2.distanceTransform(empty, cv2.DIST_L2, 5) + noise(shape, 12, rng) * 0.7
    disc = ramp(away, 7.0, 5.4) * (0.72 + 0.28 * ramp(away, 1.0, 4.0))
    dyes.red_cells[...] += inside * disc * 0.62


def _benign(dyes: Dyes, regions: Regions, cells: Cells, grain: Field, rng: np.random.Generator) -> None:
    inside = ramp(regions.benign, -1.2, 1.2)
    apical = ramp(regions.benign, 10, 22)
    eosin = 0.4 - 0.1 * apical + 0.05 * grain + 0.04 * cells.shade
    eosin += 0.12 * cells.border * apical
    haematoxylin = 0.16 - 0.07 * apical + 0.02 * grain
    dyes.blend(inside, haematoxylin, eosin)
    membrane = np.exp(-(((regions.benign + 1.2) / 1.5) ** 2)).astype(np.float32)
    dyes.eosin[...] += 0.16 * membrane
    _open_lumen(dyes, regions.benign_lumen, regions.benign > 0, 0.3 * _secretion(grain.shape, rng), rng)


def _tumour(dyes: Dyes, regions: Regions, cells: Cells, grain: Field, rng: np.random.Generator) -> None:
    shape = grain.shape
    coarse = (-(-shape[0] // 8), -(-shape[1] // 8))
    mood = resize(noise(coarse, 420 / 8, rng, 2), shape)
    inside = ramp(regions.tumour, -1.0, 1.4)
    foam = ramp(noise(shape, 10, rng, 2), 0.5, 1.6)
    eosin = 0.29 + 0.05 * mood + 0.065 * grain + 0.05 * cells.shade
    eosin += 0.11 * cells.border
    eosin *= 1 - 0.6 * foam
    haematoxylin = 0.21 + 0.04 * mood + 0.03 * grain + 0.03 * cells.shade
    dyes.blend(inside, np.maximum(haematoxylin * (1 - 0.55 * foam), 0.02), np.maximum(eosin, 0.05))
    # Tumour nests shrink away from their stroma here and there.
    shrunk = ramp(noise(shape, 130, rng, 2), 0.7, 1.5)
    outside = -regions.tumour
    crevice = shrunk * ramp(outside, -0.5, 1.5) * ramp(outside - 5 * shrunk, 3, 1)
    dyes.blend(np.clip(crevice, 0, 1) * 0.9, 0.01, 0.03)
    _open_lumen(dyes, regions.tumour_lumen, regions.tumour > 0, _secretion(shape, rng), rng)


def _secretion(shape: Shape, rng: np.random.Generator) -> Field:
    """Amount of mucin and debris that a lumen would hold here."""
    coarse = (-(-shape[0] // 8), -(-shape[1] // 8))
    where = ramp(resize(noise(coarse, 240 / 8, rng), shape), 0.0, 1.2)
    flocks = 0.5 + 0.35 * noise(shape, 34, rng, 4)
    return np.maximum(where * flocks, 0)


def _open_lumen(dyes: Dyes, lumen: Field, gland: Mask, secretion: Field, rng: np.random.Generator) -> None:
    shape = lumen.shape
    inside = ramp(lumen, -0.8, 2.0) * gland
    brush = np.exp(-(((lumen + 0.6) / 1.4) ** 2)).astype(np.float32) * gland
    blue = ramp(resize(noise((-(-shape[0] // 8), -(-shape[1] // 8)), 300 / 8, rng), shape), -0.7, 0.7)
    specks = ramp(noise(shape, 6, rng), 2.0, 2.7) * np.minimum(secretion * 4, 1)
    haematoxylin = 0.01 + (0.05 + 0.2 * blue) * secretion + 0.7 * specks
    eosin = 0.015 + (0.4 - 0.3 * blue) * secretion + 0.4 * specks
    dyes.blend(inside, haematoxylin, eosin)
    dyes.eosin[...] += 0.12 * brush
