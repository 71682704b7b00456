"""Everything between the nuclei: collagen, cytoplasm, lumens, fat, vessels, glass, as amounts of dye per pixel."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sample_data.generator.fields import Field, Mask, Shape, along_flow, blur, noise, ramp, resize
from sample_data.generator.packing import spread
from sample_data.generator.tissue import Plan


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
    rough = noise(shape, 15, rng) * np.float32(1.1)

    def full(field: Field, roughness: float = 1.0) -> Field:
        return resize(blur(np.maximum(field, -80), 0.8), shape) + rough * np.float32(roughness)

    half = (shape[0] // 2, shape[1] // 2)
    bundles = resize(_woven(plan, noise(half, 6.0, rng), 5), shape)
    # The cut edge frays along the fibres.
    tissue = resize(np.clip(plan.tissue, -80, 80), shape) + noise(shape, 26, rng, 2) * np.float32(1.6) + 4.5 * bundles
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
        fat_wall=resize(np.maximum(plan.fat_wall, -30), shape) + rough * np.float32(0.35),
        lymphoid=lymphoid,
        vessel=full(plan.vessel, 0.6),
        bundles=bundles,
        classes=classes,
    )


def lay_ground(
    plan: Plan, regions: Regions, instances: NDArray[np.int32], cleft: float, rng: np.random.Generator
) -> Dyes:
    """Dyes of all that is not nucleus."""
    shape = (instances.shape[0], instances.shape[1])
    dyes = _collagen(plan, regions.bundles, cleft, rng)
    grain = noise(shape, 4.5, rng) * np.float32(0.6) + noise(shape, 2.2, rng) * np.float32(0.5)
    away = cv2.distanceTransform((instances == 0).astype(np.uint8), cv2.DIST_L2, 3)
    cells = Cells.around(instances, rng)
    _lymphoid(dyes, regions, away, grain)
    _fat(dyes, regions, grain, rng)
    _vessels(dyes, regions, grain, rng)
    _benign(dyes, regions, cells, grain)
    _tumour(dyes, regions, cells, grain, rng)
    edge = ramp(regions.tissue, -1.5, 2.0)
    for plane in (dyes.haematoxylin, dyes.eosin, dyes.red_cells):
        plane *= edge
    thickness = _thickness(shape, rng)
    for plane in (dyes.haematoxylin, dyes.eosin):
        plane *= thickness
    # Tissue takes up more dye along a cut edge.
    dyes.eosin[...] += (
        np.float32(0.22) * edge * np.exp(-np.maximum(regions.tissue, 0) / 9) * (dyes.eosin > 0.25) * (regions.fat < -10)
    )
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
        columns += noise(shape, 17, rng) * np.float32(1.5)
        rows += noise(shape, 17, rng) * np.float32(1.5)
        labels = cv2.remap(labels.astype(np.float32), columns, rows, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT)
        edge = np.zeros(shape, np.float32)
        edge[:, 1:] += labels[:, 1:] != labels[:, :-1]
        edge[1:] += labels[1:] != labels[:-1]
        shades = rng.standard_normal(int(labels.max()) + 1).astype(np.float32)
        return cls(blur(shades[labels.astype(np.int32)], 1.2), np.minimum(blur(edge, 0.9) * np.float32(1.8), 1))


def _collagen(plan: Plan, bundles: Field, cleft: float, rng: np.random.Generator) -> Dyes:
    shape = (bundles.shape[0], bundles.shape[1])
    half = (shape[0] // 2, shape[1] // 2)
    fibres = _woven(plan, noise(shape, 2.0, rng), 3)
    strands = resize(_woven(plan, noise(half, 2.6, rng), 4), shape)
    gaps = resize(_woven(plan, noise(half, 4.4, rng, 2), 4), shape)
    coarse = (-(-shape[0] // 8), -(-shape[1] // 8))
    loose = resize(noise(coarse, 620 / 8, rng, 3), shape)
    eosin = np.float32(0.62) + np.float32(0.1) * strands + np.float32(0.1) * fibres - np.float32(0.09) * loose
    eosin += np.float32(0.06) * bundles + np.float32(0.035) * noise(shape, 2.5, rng)
    open_share = np.float32(cleft) * ramp(loose, -1.2, 1.6) + np.float32(0.1)
    eosin *= 1 - ramp(gaps - np.float32(1.8) + 1.1 * open_share, 0, 0.5) * np.float32(0.85)
    haematoxylin = np.float32(0.07) + np.float32(0.03) * ramp(loose, -0.5, 1.5) + np.float32(0.012) * fibres
    return Dyes(np.maximum(haematoxylin, 0), np.maximum(eosin, 0.02), np.zeros(shape, np.float32))


def _thickness(shape: Shape, rng: np.random.Generator) -> Field:
    coarse = (-(-shape[0] // 8), -(-shape[1] // 8))
    return resize(
        1 + np.float32(0.07) * noise(coarse, 1300 / 8, rng, 2) + np.float32(0.04) * noise(coarse, 24, rng), shape
    )


def _woven(plan: Plan, source: Field, doublings: int) -> Field:
    weave = resize(plan.weave, (source.shape[0], source.shape[1]))
    over, under = (along_flow(source, stream, doublings) for stream in plan.streams)
    return under + (over - under) * np.clip(weave, 0, 1)


def _lymphoid(dyes: Dyes, regions: Regions, away: Field, grain: Field) -> None:
    inside = ramp(regions.lymphoid, -10, 8)
    rim = np.exp(-(((away - 1.0) / 1.5) ** 2)).astype(np.float32)
    eosin = np.float32(0.16) + np.float32(0.26) * rim + np.float32(0.07) * grain
    dyes.blend(inside * np.float32(0.8), np.float32(0.12) + np.float32(0.2) * rim, np.maximum(eosin, 0.02))


def _fat(dyes: Dyes, regions: Regions, grain: Field, rng: np.random.Generator) -> None:
    inside = ramp(regions.fat, -3, 1)
    width = np.float32(1.5) + np.float32(0.3) * noise(regions.fat.shape, 40, rng)
    wall = np.exp(-((np.maximum(regions.fat_wall, 0) / np.maximum(width, 0.9)) ** 2)).astype(np.float32)
    dyes.blend(inside, np.float32(0.01) + np.float32(0.1) * wall, np.float32(0.02) + wall * (0.5 + 0.06 * grain))


def _vessels(dyes: Dyes, regions: Regions, grain: Field, rng: np.random.Generator) -> None:
    shape = regions.vessel.shape
    wall = ramp(regions.vessel, -11, -7) * ramp(regions.vessel, 2.5, 0.5)
    dyes.blend(wall * np.float32(0.75), np.float32(0.12), np.float32(0.72) + np.float32(0.07) * grain)
    inside = ramp(regions.vessel, 1, 2.5)
    dyes.blend(inside, 0.01, 0.03)
    filled = np.asarray((regions.vessel > 4) & (noise(shape, 110, rng) > -0.6))
    centres = spread(filled, 11.0, rng)
    if len(centres) == 0:
        return
    empty = np.ones(shape, np.uint8)
    empty[centres[:, 1].astype(int), centres[:, 0].astype(int)] = 0
    away = cv2.distanceTransform(empty, cv2.DIST_L2, 5) + noise(shape, 12, rng) * np.float32(0.7)
    disc = ramp(away, 7.0, 5.4) * (np.float32(0.72) + np.float32(0.28) * ramp(away, 1.0, 4.0))
    dyes.red_cells[...] += inside * disc * np.float32(0.62)


def _benign(dyes: Dyes, regions: Regions, cells: Cells, grain: Field) -> None:
    inside = ramp(regions.benign, -1.2, 1.2)
    apical = ramp(regions.benign, 10, 22)
    eosin = np.float32(0.46) - np.float32(0.1) * apical + np.float32(0.05) * grain + np.float32(0.04) * cells.shade
    eosin += np.float32(0.12) * cells.border * apical
    haematoxylin = np.float32(0.16) - np.float32(0.07) * apical + np.float32(0.02) * grain
    dyes.blend(inside, haematoxylin, eosin)
    membrane = np.exp(-(((regions.benign + 1.2) / 1.5) ** 2)).astype(np.float32)
    dyes.eosin[...] += np.float32(0.16) * membrane
    _open_lumen(dyes, regions.benign_lumen, regions.benign > 0, np.zeros_like(grain))


def _tumour(dyes: Dyes, regions: Regions, cells: Cells, grain: Field, rng: np.random.Generator) -> None:
    shape = grain.shape
    coarse = (-(-shape[0] // 8), -(-shape[1] // 8))
    mood = resize(noise(coarse, 420 / 8, rng, 2), shape)
    inside = ramp(regions.tumour, -1.0, 1.4)
    foam = ramp(noise(shape, 9, rng), 0.9, 1.7)
    eosin = np.float32(0.34) + np.float32(0.05) * mood + np.float32(0.065) * grain + np.float32(0.05) * cells.shade
    eosin += np.float32(0.11) * cells.border
    eosin *= 1 - np.float32(0.45) * foam
    haematoxylin = (
        np.float32(0.21) + np.float32(0.04) * mood + np.float32(0.03) * grain + np.float32(0.03) * cells.shade
    )
    dyes.blend(inside, np.maximum(haematoxylin * (1 - np.float32(0.4) * foam), 0.02), np.maximum(eosin, 0.05))
    # Tumour nests shrink away from their stroma here and there.
    shrunk = ramp(noise(shape, 130, rng, 2), 0.7, 1.5)
    outside = -regions.tumour
    crevice = shrunk * ramp(outside, -0.5, 1.5) * ramp(outside, 3 + 5 * shrunk, 1 + 3 * shrunk)
    dyes.blend(np.clip(crevice, 0, 1) * np.float32(0.9), 0.01, 0.03)
    secretion = ramp(resize(noise(coarse, 240 / 8, rng), shape), 0.0, 1.2) * (
        0.5 + np.float32(0.35) * noise(shape, 34, rng, 4)
    )
    _open_lumen(dyes, regions.tumour_lumen, regions.tumour > 0, np.maximum(secretion, 0))


def _open_lumen(dyes: Dyes, lumen: Field, gland: Mask, secretion: Field) -> None:
    inside = ramp(lumen, -0.8, 2.0) * gland
    brush = np.exp(-(((lumen + 0.6) / 1.4) ** 2)).astype(np.float32) * gland
    dyes.blend(inside, np.float32(0.01) + np.float32(0.1) * secretion, np.float32(0.015) + np.float32(0.2) * secretion)
    dyes.eosin[...] += np.float32(0.12) * brush
