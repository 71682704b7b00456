"""Images with everything that is known of their pixels, and random crops of them, near and from afar.

A folder holds ``images/NAME.png`` and ``labels/NAME*.tif`` (object numbers), and may hold ``regions/NAME.png`` and
``kinds/NAME.png`` (class of the region and of the nucleus at each pixel, 0 unknown).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from histotrain.pretraining.colours import recoloured
from histotrain.pretraining.crops import View
from histotrain.pretraining.pairs import load_pairs

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

UNKNOWN = 255

FARTHEST_NUCLEI = 2.0
"""Pixels of the image in one of the crop beyond which nuclei are too small to be drawn."""

OUTSIDE, INSIDE, BORDER = 0, 1, 2

_NEAR, _FAR = (0.55, 1.7), (1.5, 4.5)  # pixels of the image in one of the crop
_FAR_SHARE = 0.35


class Scene(NamedTuple):
    """An image, uint8 (H, W, 3), and maps (H, W): object numbers, int32; region classes and nucleus classes, uint8."""

    name: str
    image: NDArray[np.uint8]
    objects: NDArray[np.int32]
    regions: NDArray[np.uint8] | None
    kinds: NDArray[np.uint8] | None


class SceneCrop(NamedTuple):
    """One training example: image uint8 (S, S, 3) and targets uint8 (S, S), `UNKNOWN` where nothing is known.

    ``nuclei`` is `OUTSIDE`, `INSIDE` or `BORDER`; ``regions`` and ``kinds`` are classes less one.
    """

    image: NDArray[np.uint8]
    nuclei: NDArray[np.uint8]
    regions: NDArray[np.uint8]
    kinds: NDArray[np.uint8]


def load_scenes(folder: Path) -> list[Scene]:
    """Every image of a folder, by name.

    Raises
    ------
    TrainingError
        If there is none, or an image has no object numbers.
    """
    return [
        Scene(
            pair.name,
            pair.image,
            pair.labels,
            _map(folder / "regions" / f"{pair.name}.png"),
            _map(folder / "kinds" / f"{pair.name}.png"),
        )
        for pair in load_pairs(folder)
    ]


def draw_scene_crop(scene: Scene, side: int, rng: np.random.Generator) -> SceneCrop:
    """A random crop of ``side`` pixels, turned, scaled and recoloured; from afar only where regions are known."""
    height, width = scene.image.shape[:2]
    low, high = _FAR if scene.regions is not None and rng.random() < _FAR_SHARE else _NEAR
    scale = math.exp(rng.uniform(math.log(low), math.log(high)))
    reach = min(side * scale / 2, width / 2, height / 2)
    x, y = rng.uniform(reach, width - reach), rng.uniform(reach, height - reach)
    angle = rng.integers(4) * (math.pi / 2) + rng.normal(0, 0.1)
    view = View(x, y, side * scale, float(angle), bool(rng.random() < 0.5))
    finer = max(1, math.ceil(scale))
    matrix = view.matrix(side * finer)
    matrix[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5  # OpenCV counts pixel centres
    size = (side * finer, side * finer)
    image = cv2.warpAffine(scene.image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    if finer > 1:
        image = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)

    def seen(values: NDArray[np.generic] | None) -> NDArray[np.uint8]:
        if values is None:
            return np.full((side, side), UNKNOWN, np.uint8)
        return _less_one(_warped(values, matrix, size)[finer // 2 :: finer, finer // 2 :: finer])

    nuclei = np.full((side, side), UNKNOWN, np.uint8)
    if scale <= FARTHEST_NUCLEI:
        nuclei = _parts(_warped(scene.objects, matrix, size)[finer // 2 :: finer, finer // 2 :: finer])
    kinds = seen(scene.kinds if scale <= FARTHEST_NUCLEI else None)
    return SceneCrop(recoloured(np.asarray(image, np.uint8), rng), nuclei, seen(scene.regions), kinds)


def _warped(values: NDArray[np.generic], matrix: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.int32]:
    """Nearest values, -1 beyond the image."""
    moved = cv2.warpAffine(values.astype(np.float32), matrix, size, flags=cv2.INTER_NEAREST, borderValue=-1.0)
    return np.asarray(moved, np.int32)


def _less_one(classes: NDArray[np.int32]) -> NDArray[np.uint8]:
    return np.where(classes > 0, classes - 1, UNKNOWN).astype(np.uint8)


def _parts(objects: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Outside, inside and border of the objects; the border is the outermost pixel of each."""
    floats = objects.astype(np.float32)  # exact for as many objects as an image holds
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    alike = cv2.erode(floats, cross) == cv2.dilate(floats, cross)
    parts = np.where(objects > 0, np.where(alike, INSIDE, BORDER), OUTSIDE)
    return np.where(objects < 0, UNKNOWN, parts).astype(np.uint8)


def _map(path: Path) -> NDArray[np.uint8] | None:
    from PIL import Image

    return np.array(Image.open(path), np.uint8) if path.exists() else None
