"""Slides of random laboratories, as networks are pre-trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import tifffile
from PIL import Image

from sample_data.generator import NUCLEUS_CLASSES, REGION_CLASSES
from sample_data.generator.varied import other_laboratory, write_varied

if TYPE_CHECKING:
    from pathlib import Path


def test_laboratories_repeat_by_seed_and_differ() -> None:
    first, again, other = (other_laboratory(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first == again
    assert first.haematoxylin != other.haematoxylin
    assert len(first.eosin) == len(first.haematoxylin) == len(first.glass) == 3
    assert all(215 <= value <= 254 for value in first.glass)


def test_maps_of_a_written_slide_agree(tmp_path: Path) -> None:
    write_varied(tmp_path, slides=2, side=256, first_seed=40)
    names = [path.stem for path in sorted((tmp_path / "images").iterdir())]
    assert names == ["varied-40", "varied-41"]
    for name in names:
        image, regions, kinds = (
            np.array(Image.open(tmp_path / part / f"{name}.png")) for part in ("images", "regions", "kinds")
        )
        objects = tifffile.imread(tmp_path / "labels" / f"{name}.tif")
        assert image.shape == (256, 256, 3)
        assert regions.shape == kinds.shape == objects.shape == (256, 256)
        assert set(np.unique(regions)) <= set(REGION_CLASSES)
        assert set(np.unique(kinds)) <= {0, *NUCLEUS_CLASSES}
        np.testing.assert_array_equal(kinds > 0, objects > 0)
