"""Stains and laboratories: how much dye becomes which colour.

Light is absorbed after Beer and Lambert: optical densities add up over the dyes, intensity falls off exponentially.
The two laboratories were set up beside public slides: the colour of their dyes, how dark, how sharp.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .fields import Field

RED_CELL = (0.16, 0.80, 0.58)


@dataclass(frozen=True, slots=True)
class StainStyle:
    """A laboratory: its dyes, its section thickness and its scanner.

    Parameters
    ----------
    haematoxylin, eosin : tuple of float
        Optical density of one unit of dye in R, G, B.
    haematoxylin_strength, eosin_strength : float
        Amount of dye taken up, relative to the tissue model.
    glass : tuple of int
        RGB of bare glass.
    cleft : float
        How far the collagen bundles are shrunk apart, 0 … 1.
    sigma : float
        Blur of the optics in pixels.
    sharpening : float
        Amount of the scanner's unsharp mask.
    sensor_noise : float
        Standard deviation at full intensity, grey levels.
    defocus : float
        Blur, in pixels, where the focus is worst.
    """

    name: str
    haematoxylin: tuple[float, float, float]
    eosin: tuple[float, float, float]
    haematoxylin_strength: float
    eosin_strength: float
    glass: tuple[int, int, int]
    cleft: float
    sigma: float
    sharpening: float
    sensor_noise: float
    defocus: float

    def varied(self, rng: np.random.Generator) -> StainStyle:
        """The same laboratory on another day."""

        def shift(vector: tuple[float, float, float]) -> tuple[float, float, float]:
            r, g, b = np.asarray(vector) * rng.normal(1, 0.015, 3)
            return (float(r), float(g), float(b))

        return replace(
            self,
            haematoxylin=shift(self.haematoxylin),
            eosin=shift(self.eosin),
            haematoxylin_strength=self.haematoxylin_strength * rng.uniform(0.95, 1.05),
            eosin_strength=self.eosin_strength * rng.uniform(0.94, 1.06),
        )


HARBOUR = StainStyle(
    name="harbour",
    haematoxylin=(0.60, 0.74, 0.38),
    eosin=(0.12, 0.90, 0.46),
    haematoxylin_strength=1.5,
    eosin_strength=1.3,
    glass=(245, 244, 243),
    cleft=0.8,
    sigma=0.5,
    sharpening=1.1,
    sensor_noise=0.8,
    defocus=0.9,
)
MEADOW = StainStyle(
    name="meadow",
    haematoxylin=(0.57, 0.75, 0.34),
    eosin=(0.19, 0.94, 0.24),
    haematoxylin_strength=1.25,
    eosin_strength=1.28,
    glass=(232, 227, 238),
    cleft=0.3,
    sigma=0.55,
    sharpening=1.0,
    sensor_noise=0.9,
    defocus=1.1,
)
STYLES = {style.name: style for style in (HARBOUR, MEADOW)}


def transmit(haematoxylin: Field, eosin: Field, red_cells: Field, style: StainStyle) -> NDArray[np.float32]:
    """Light through the stained section, float32 RGB in 0 … 255 (h, w, 3)."""
    dyes = (
        (haematoxylin * np.float32(style.haematoxylin_strength), style.haematoxylin),
        (eosin * np.float32(style.eosin_strength), style.eosin),
        (red_cells, RED_CELL),
    )
    light = np.empty((*haematoxylin.shape, 3), np.float32)
    for channel in range(3):
        density = sum(amount * np.float32(vector[channel]) for amount, vector in dyes)
        light[..., channel] = np.float32(style.glass[channel]) * np.exp(-density)
    return light
