"""Small trainings on patches that a network learns within seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import settings

from histotrain import AugmentSettings, PatchSet, Recipe

if TYPE_CHECKING:
    from collections.abc import Callable

# Kernels compile within the first example, and the machine may be busy.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

TUMOUR, STROMA = 7, 2  # ids with a gap and not in the order of the channels


def halves(count: int, *, size: int = 64, seed: int = 0, labelled: float = 0.5) -> PatchSet:
    """Patches split by a random line into purple "tumour" and pink "stroma", partly labelled."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] - size / 2
    angles = rng.uniform(0, 2 * np.pi, (count, 1, 1))
    tumour = np.cos(angles) * x + np.sin(angles) * y > rng.uniform(-size / 4, size / 4, (count, 1, 1))
    noise = rng.integers(-15, 15, (count, size, size, 3))
    images = np.where(tumour[..., None], [150, 90, 160], [230, 170, 200]) + noise
    labels = np.where(tumour, TUMOUR, STROMA) * (rng.random((count, size, size)) < labelled)
    return PatchSet(
        images.astype(np.uint8), labels.astype(np.uint8), classes=("tumour", "stroma"), class_ids=(TUMOUR, STROMA)
    )


@pytest.fixture
def patches() -> Callable[..., PatchSet]:
    return halves


@pytest.fixture
def quick() -> Recipe:
    """A few small steps on one thread's worth of pixels."""
    return Recipe(
        name="quick",
        patch_size=64,
        batch_size=4,
        steps=6,
        validate_every=3,
        warmup=0,
        precision="float32",
        augment=AugmentSettings.off(),
    )


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
