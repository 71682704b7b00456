"""Slides of the studies: equal seeds give equal slides, and surroundings decide what stroma is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_histoanno.samples import make_slide
from napari_histoanno.studies.scenes import CONTEXT_CLASSES, SceneSpec, load_scene, make_scene, split, with_context

if TYPE_CHECKING:
    from pathlib import Path

SPEC = SceneSpec(7, (512, 384))


def test_a_scene_depends_on_its_specification_alone(tmp_path: Path) -> None:
    made, again = make_scene(SPEC), load_scene(SPEC, tmp_path)
    stored = load_scene(SPEC, tmp_path)
    for other in (again, stored):
        for name in ("image", "regions", "context_regions", "instances", "nucleus_classes"):
            np.testing.assert_array_equal(getattr(made, name), getattr(other, name))
    assert (make_scene(SceneSpec(8, SPEC.size)).image != made.image).any()
    assert [path.name for path in tmp_path.iterdir()] == [f"{SPEC.name}.npz"]


def test_a_scene_is_harder_than_its_slide_but_as_true() -> None:
    scene, slide = make_scene(SPEC), make_slide(SPEC.seed, SPEC.size, "meadow")
    np.testing.assert_array_equal(scene.regions, slide.regions)
    np.testing.assert_array_equal(scene.instances, slide.instances)
    assert {i: int(c) for i, c in enumerate(scene.nucleus_classes) if i} == slide.nucleus_classes
    assert (scene.image != slide.image).mean() > 0.5
    assert (scene.nucleus_labels[scene.instances == 0] == 0).all()


def test_a_reduced_scene_is_the_same_slide() -> None:
    small, large = make_scene(SceneSpec(7, SPEC.size, 4)), make_scene(SPEC)
    assert small.image.shape == (96, 128, 3)
    assert small.mpp == 2.0
    np.testing.assert_array_equal(small.regions, large.regions[2::4, 2::4])
    assert small.image.mean() == pytest.approx(large.image.mean(), abs=0.6)


def test_a_size_that_cannot_be_reduced_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 15"):
        make_scene(SceneSpec(7, SPEC.size, 3 * 5))


def test_stroma_is_peritumoural_up_to_100_um_from_a_tumour_gland() -> None:
    regions = np.full((8, 400), 3, np.uint8)
    regions[:, :50], regions[:, 380:] = 1, 6
    named = with_context(regions, 0.5)
    names = [CONTEXT_CLASSES[int(i)] for i in named[4, [10, 60, 245, 255, 390]]]
    assert names == ["Tumour gland", "Peritumoural stroma", "Peritumoural stroma", "Distant stroma", "Background"]
    assert set(np.unique(with_context(np.full((8, 8), 3, np.uint8), 0.5))) == {4}


def test_no_slide_is_in_two_parts() -> None:
    parts = [split(seed, 4, 1, 2, like=SPEC) for seed in range(3)]
    seeds = [spec.seed for part in parts for spec in (*part.train, *part.validation, *part.test)]
    assert len(seeds) == len(set(seeds)) == 21
    with pytest.raises(ValueError, match="has 100 slides"):
        split(0, 99, 1, 1, like=SPEC)
