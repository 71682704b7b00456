"""One small slide, and a cache that tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from napari_histoanno.studies.nuclei import Nuclei
from napari_histoanno.studies.scenes import Scene, SceneSpec, load_scene

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def slide_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("slides")


@pytest.fixture(scope="session")
def scene(slide_cache: Path) -> Scene:
    return load_scene(SceneSpec(100_001, (512, 512)), slide_cache)


@pytest.fixture(scope="session")
def nuclei(scene: Scene) -> Nuclei:
    return Nuclei.of_scene(scene)
