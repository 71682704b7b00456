"""Random looks of one small image: stain, light, sharpness and compression, much wider than one laboratory's."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from histotrain.augment import STAINS, UNSTAIN

Image = NDArray[np.uint8]


def recoloured(image: Image, rng: np.random.Generator) -> Image:
    """An image (H, W, 3) as another laboratory and another scanner might have made it."""
    if rng.random() < 0.3:
        image = _coarsened(image, rng)
    if rng.random() < 0.9:
        image = _restained(image, rng)
    if rng.random() < 0.06:
        image = np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    if rng.random() < 0.4:
        image = _refocused(image, rng)
    if rng.random() < 0.3:
        noise = rng.normal(0, rng.uniform(1, 8), image.shape)
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 95))])
        image = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
    return image


def _restained(image: Image, rng: np.random.Generator) -> Image:
    """Other amounts of other dyes, on other glass, under other light."""
    density = -np.log((image.reshape(-1, 3).astype(np.float32) + 1) / 256)
    dyes = np.abs(STAINS + rng.normal(0, 0.08, (3, 3)))
    dyes /= np.linalg.norm(dyes, axis=1, keepdims=True) / np.linalg.norm(STAINS, axis=1, keepdims=True)
    amounts = np.exp(rng.normal(0, 0.3, 3)) * np.exp(rng.normal(0, 0.2))
    mixed = density @ (UNSTAIN @ (amounts[:, None] * dyes)).astype(np.float32)
    light = np.exp(-np.clip(mixed, 0, None)) ** np.exp(rng.normal(0, 0.12))
    middle = light.mean()
    light = middle + (light - middle) * np.exp(rng.normal(0, 0.15))
    glass = np.clip(1 + rng.normal(-0.02, 0.06, 3), 0.7, 1.1) * np.exp(rng.normal(0, 0.05))
    return np.asarray(np.clip(light * glass * 255, 0, 255).astype(np.uint8).reshape(image.shape))


def _coarsened(image: Image, rng: np.random.Generator) -> Image:
    """Seen at a lower resolution and enlarged again."""
    side = image.shape[0]
    small = max(12, int(side * rng.uniform(0.35, 0.9)))
    shrunk = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
    way = cv2.INTER_CUBIC if rng.random() < 0.5 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(shrunk, (side, side), interpolation=way), np.uint8)


def _refocused(image: Image, rng: np.random.Generator) -> Image:
    """Blurred, or sharpened as scanners do."""
    soft = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.8))
    if rng.random() < 0.6:
        return np.asarray(soft, np.uint8)
    gain = rng.uniform(0.3, 1.5)
    return np.asarray(cv2.addWeighted(image, 1 + gain, soft, -gain, 0), np.uint8)
