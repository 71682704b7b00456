"""Patches of each kind that an objective learns from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from histotrain import AugmentSettings, PatchSet, Recipe

if TYPE_CHECKING:
    from collections.abc import Callable

LIGHT, DARK = 5, 3  # ids, in the order of the channels


def discs(count: int, *, size: int = 32, seed: int = 0) -> PatchSet:
    """Patches of light or dark grey with one or two discs of the other shade: everything is known of them."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size]
    dark = np.zeros((count, size, size), bool)
    dark[1::2] = True
    instances = np.zeros(dark.shape, np.int32)
    patch_classes = np.where(np.arange(count) % 2, DARK, LIGHT).astype(np.uint8)
    for index in range(count):
        for number, middle in enumerate((size * 0.3, size * 0.75), 1):
            x, y = rng.uniform(-1, 1, 2) + middle
            disc = (columns - x) ** 2 + (rows - y) ** 2 <= (size / 7) ** 2
            instances[index][disc] = 40 * number + index
            dark[index][disc] = index % 2 == 0
    shades = np.where(dark, 80, 200)[..., None] + rng.integers(-15, 15, (*dark.shape, 3))
    images = shades.astype(np.uint8)
    labels = np.where(dark, DARK, LIGHT).astype(np.uint8)
    return PatchSet(
        images=images,
        labels=labels,
        patch_classes=patch_classes,
        instances=instances,
        contexts=np.stack([images[:, ::-1], images[:, :, ::-1]], axis=1),
        classes=("light", "dark"),
        class_ids=(LIGHT, DARK),
    )


@pytest.fixture
def everything() -> Callable[..., PatchSet]:
    return discs


@pytest.fixture
def brief() -> Recipe:
    """Two steps with one validation, on small patches."""
    return Recipe(
        patch_size=32,
        batch_size=2,
        steps=2,
        validate_every=2,
        warmup=0,
        precision="float32",
        mpp=1.0,
        augment=AugmentSettings(affine=0.5, elastic=0.5),
    )
