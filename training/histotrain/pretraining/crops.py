"""Random crops around a click: what the click network sees in training.

The network is asked twice when it is used: once with a crop wide enough for the largest object that may come, and once
with a crop fitted to what the first look found. So crops are drawn in sizes relative to their object: *wide* ones, 1.6
to 7 times its diameter and centred on the click, and *fitted* ones, 1.5 to 3 times and centred on the object. The
physical scale of the image is thereby of no consequence, which it has to be: a click on any scanner's image looks
alike.

Some fitted crops show a box instead of clicks: the exclusion map is filled outside of it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from histotrain.pretraining.colours import recoloured

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from histotrain.pretraining.pairs import Pair

SIDE = 64
"""Height and width of what the network sees, pixels."""

UNKNOWN = 255

CLICK_RADIUS = 2.0
"""Radius of the disc that is a click, pixels of the crop."""

_FITTED, _BOXED, _EMPTY = 0.55, 0.1, 0.04  # shares of the crops; the others are wide
_FITTED_SIDES, _WIDE_SIDES = (1.5, 3.0), (1.6, 7.0)  # times the diameter
_SMALLEST_SIDE = 12.0  # pixels of the image


class Crop(NamedTuple):
    """One training example.

    Attributes
    ----------
    image : ndarray, uint8, shape (SIDE, SIDE, 3)
        RGB.
    clicks : ndarray, uint8, shape (2, SIDE, SIDE)
        Inclusion and exclusion map, 0 or 1.
    target : ndarray, uint8, shape (SIDE, SIDE)
        1 in the clicked object, 0 outside of it, `UNKNOWN` beyond the image's edge.
    """

    image: NDArray[np.uint8]
    clicks: NDArray[np.uint8]
    target: NDArray[np.uint8]


class View(NamedTuple):
    """Where a crop looks: the square of ``side`` image pixels around (x, y), turned by an angle and maybe mirrored."""

    x: float
    y: float
    side: float
    angle: float
    mirrored: bool

    def matrix(self, size: int) -> NDArray[np.float64]:
        """Affine (2, 3) from corner-based image pixels to those of a crop of ``size`` pixels."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        turn = np.array([[cos, -sin], [sin, cos]]) * (size / self.side)
        if self.mirrored:
            turn[0] = -turn[0]
        return np.concatenate([turn, size / 2 - turn @ [[self.x], [self.y]]], axis=1)


def draw_crop(pair: Pair, rng: np.random.Generator) -> Crop:
    """A random crop of a random object, or of none."""
    kind = rng.random()
    if kind < _EMPTY and len(pair.empty):
        x, y = pair.empty[rng.integers(len(pair.empty))] + 0.5
        view = _turned(x, y, math.exp(rng.uniform(math.log(16), math.log(130))), rng)
        return _seen(pair, view, (x, y), 0, rng)
    n = int(rng.integers(len(pair.ids)))
    box = pair.boxes[n]
    middle, diameter = (box[:2] + box[2:]) / 2, float((box[2:] - box[:2]).max())
    click = _click_in(pair.interiors[n], rng)
    fitted = kind < _EMPTY + _FITTED
    low, high = _FITTED_SIDES if fitted else _WIDE_SIDES
    side = max(_SMALLEST_SIDE, diameter * math.exp(rng.uniform(math.log(low), math.log(high))))
    x, y = middle + rng.normal(0, 0.07 * diameter, 2) if fitted else click
    view = _turned(float(x), float(y), side, rng)
    if kind < _EMPTY + _BOXED:
        return _boxed(_seen(pair, view, tuple(middle), int(pair.ids[n]), rng), view, box, diameter, rng)
    return _seen(pair, view, click, int(pair.ids[n]), rng)


def click_discs(points: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Map (SIDE, SIDE) of discs at corner-based crop pixels (n, 2); what lies outside is left out."""
    reach = int(CLICK_RADIUS) + 1
    steps = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1)[::-1].T
    pixels = np.floor(points)[:, None] + steps
    near = np.square(pixels + 0.5 - points[:, None]).sum(-1) <= CLICK_RADIUS**2
    columns, rows = pixels[near & ((pixels >= 0) & (pixels < SIDE)).all(-1)].astype(int).T
    discs = np.zeros((SIDE, SIDE), np.uint8)
    discs[rows, columns] = 1
    return discs


def _click_in(interior: NDArray[np.int32], rng: np.random.Generator) -> tuple[float, float]:
    """Half the time any pixel; otherwise, as people do, one nearer to the centre."""
    picks = interior[rng.integers(len(interior), size=1 if rng.random() < 0.5 else 3)]
    x, y = picks[np.square(picks - interior.mean(0)).sum(1).argmin()]
    return float(x) + 0.5, float(y) + 0.5


def _turned(x: float, y: float, side: float, rng: np.random.Generator) -> View:
    angle = rng.integers(4) * (math.pi / 2) if rng.random() < 0.5 else rng.uniform(0, 2 * math.pi)
    return View(x, y, side, float(angle), bool(rng.random() < 0.5))


def _seen(pair: Pair, view: View, click: tuple[float, ...], own: int, rng: np.random.Generator) -> Crop:
    # Shrinking takes the mean over whole pixels of a finer crop, as it does where the network is used.
    finer = math.ceil(view.side / SIDE)
    matrix = view.matrix(SIDE * finer)
    centred = matrix.copy()  # OpenCV counts pixel centres
    centred[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5
    size = (SIDE * finer, SIDE * finer)
    image = cv2.warpAffine(pair.image, centred, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    labels = cv2.warpAffine(
        pair.labels.astype(np.float32), centred, size, flags=cv2.INTER_NEAREST, borderValue=-1.0
    ).astype(np.int32)
    shares = np.stack([(labels == own) & (own > 0), labels < 0], axis=-1).astype(np.float32)
    if finer > 1:
        image, shares = (cv2.resize(a, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for a in (image, shares))
    target = (shares[..., 0] > 0.5).astype(np.uint8)
    target[shares[..., 1] > 0.5] = UNKNOWN
    others = _other_clicks(pair, view, own, rng)
    onto = view.matrix(SIDE)
    clicks = [click_discs(points @ onto[:, :2].T + onto[:, 2]) for points in (np.array([click]), others)]
    return Crop(recoloured(image, rng), np.stack(clicks), target)


def _other_clicks(pair: Pair, view: View, own: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Clicks on none, all or some of the other objects nearby."""
    half = view.side * 0.75
    away = np.abs((pair.boxes[:, :2] + pair.boxes[:, 2:]) / 2 - (view.x, view.y)).max(axis=1)
    share = float(np.clip(rng.uniform(-0.5, 1.5), 0, 1))
    chosen = np.flatnonzero((away < half) & (pair.ids != own) & (rng.random(len(away)) < share))
    return np.array([_click_in(pair.interiors[n], rng) for n in chosen], np.float64).reshape(-1, 2)


def _boxed(crop: Crop, view: View, box: NDArray[np.float64], diameter: float, rng: np.random.Generator) -> Crop:
    """The crop with the exclusion map filled outside of the object's box, drawn as loosely as people draw boxes."""
    loose = box + rng.normal(0, 0.04 * diameter, 4) + np.array([-1, -1, 1, 1]) * rng.uniform(0, 0.08 * diameter)
    back = np.linalg.inv(np.vstack([view.matrix(SIDE), [0, 0, 1]]))
    rows, columns = np.indices((SIDE, SIDE)) + 0.5
    x, y = (back[k, 0] * columns + back[k, 1] * rows + back[k, 2] for k in (0, 1))
    outside = (x < loose[0]) | (x >= loose[2]) | (y < loose[1]) | (y >= loose[3])
    return crop._replace(clicks=np.stack([crop.clicks[0], outside.astype(np.uint8)]))
