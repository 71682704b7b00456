"""Single objects of a slide: found, stored by place, and told once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import shapely

from histotrain.card import ModelCard
from histotrain.checkpoint import save_model
from histotrain.events import Finished
from histotrain.models import build_model
from histotrain.objects import PredictedObject
from histotrain.pixels import MEAN, STD
from histotrain.recipes import Recipe
from napari_histoanno.annotation import rasterize
from napari_histoanno.annotation.geometry import Area
from napari_histoanno.jobs import PredictionSpec, PredictionStore, run_inline
from napari_histoanno.jobs.errors import PredictionError
from napari_histoanno.jobs.object_store import ObjectStore
from tests.jobs.tissue import HEIGHT, STROMA, TUMOUR, WIDTH

if TYPE_CHECKING:
    from pathlib import Path

    from napari_histoanno.project import Project


def model_folder(folder: Path, name: str, *, seed: int = 0, **changes: object) -> Path:
    """A network with random weights; for nuclei, one that calls some of the noise nuclei."""
    import torch

    torch.manual_seed(seed)
    recipe = Recipe(name="random", model=name, mpp=0.5, precision="float32", patch_size=64).with_changes(**changes)
    net = build_model(name, 2)
    heads = getattr(net, "heads", {})
    if "parts" in heads:
        torch.nn.init.normal_(heads["parts"].weight, std=1.5)
    card = ModelCard(
        recipe=recipe, classes=("Tumour", "Stroma"), class_ids=(TUMOUR, STROMA), mpp=0.5, mean=MEAN, std=STD
    )
    return save_model(folder / name.replace("/", "-"), net, card)


def predicted(study: Project, model: Path, **changes: object) -> PredictionStore:
    values = {
        "project": study.path,
        "prediction": "p",
        "slide": study.slides[0].id,
        "model": model,
        "output": study.path / "predictions" / "p.zarr",
        "tile": 256,
        "overlap": 32,
        "tissue_only": False,
    }
    spec = PredictionSpec.model_validate(values | changes)
    *_, last = run_inline(spec)
    assert isinstance(last, Finished)
    assert last.reason == "completed", last.message
    return PredictionStore.open(spec.output)


def masks(seed: int, count: int) -> tuple[list[PredictedObject], np.ndarray]:
    """Objects that do not overlap, and the map of their numbers."""
    rng = np.random.default_rng(seed)
    numbers = np.zeros((900, 1300), np.int32)
    made = []
    for _ in range(count):
        h, w = rng.integers(4, 40, 2)
        top, left = int(rng.integers(0, 900 - h)), int(rng.integers(0, 1300 - w))
        if numbers[top : top + h, left : left + w].any():
            continue
        y, x = np.mgrid[:h, :w]
        mask = ((x + 0.5) / w - 0.5) ** 2 + ((y + 0.5) / h - 0.5) ** 2 <= 0.25
        numbers[top : top + h, left : left + w][mask] = len(made) + 1
        made.append(PredictedObject(left + w / 2, top + h / 2, 1 + len(made) % 2, 0.75, left, top, mask))
    return made, numbers


def test_outlines_paint_the_pixels_they_came_from(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path)
    assert not store.exists
    made, numbers = masks(0, 300)
    store.create()
    for start in range(0, len(made), 50):
        store.add(made[start : start + 50], 2.5)
    found = list(store.query())
    assert store.count() == len(found) == len(made) > 50
    painted = rasterize(
        [(Area(item.outline), 1 + index % 250) for index, item in enumerate(found) if item.outline is not None],
        (1300, 900),
        downsample=2.5,
    )
    np.testing.assert_array_equal(painted, np.where(numbers > 0, 1 + (numbers - 1) % 250, 0))
    assert [(item.x, item.class_id, item.score) for item in found] == [(o.x * 2.5, o.class_id, 0.75) for o in made]


def test_objects_are_found_by_place_and_class(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path)
    store.create()
    store.add([PredictedObject(x + 0.5, 10.5, 1 + x % 2, 0.9) for x in range(0, 100, 5)], 1.0)
    assert [item.x for item in store.query((20, 0, 40, 20))] == [20.5, 25.5, 30.5, 35.5]
    assert [item.x for item in store.query((20, 0, 40, 20), [2])] == [25.5, 35.5]
    assert not list(store.query((20, 0, 40, 5)))
    assert all(item.outline is None for item in store.query())


def test_objects_that_are_no_store_are_refused(tmp_path: Path) -> None:
    (tmp_path / "objects.db").write_text("nonsense " * 200)
    with pytest.raises(PredictionError, match="predict again"):
        list(ObjectStore(tmp_path).query())


def test_nuclei_of_a_slide_are_stored_with_their_outlines(study: Project, tmp_path: Path) -> None:
    store = predicted(study, model_folder(tmp_path, "instance-unet", seed=2))
    found = list(store.objects.query())
    assert len(found) > 20
    classes = np.asarray(store.levels[0][:])
    painted = rasterize([(Area(o.outline), o.class_id) for o in found if o.outline is not None], (WIDTH, HEIGHT))
    np.testing.assert_array_equal(painted, classes)
    outlines = [item.outline for item in found]
    assert all(shapely.is_valid(outlines))
    assert {item.class_id for item in found} <= {TUMOUR, STROMA}


def test_a_region_has_the_nuclei_it_has_within_the_whole(study: Project, tmp_path: Path) -> None:
    model = model_folder(tmp_path, "instance-unet", seed=2)
    whole = {item.outline.wkb for item in predicted(study, model).objects.query((100, 100, 300, 260)) if item.outline}
    part = predicted(study, model, region=(100, 100, 300, 260), output=tmp_path / "part.zarr")
    assert len(whole) > 20
    assert {item.outline.wkb for item in part.objects.query() if item.outline} == whole


def test_points_are_stored_as_points(study: Project, tmp_path: Path) -> None:
    store = predicted(study, model_folder(tmp_path, "detection-unet"))
    assert store.objects.exists
    assert all(item.outline is None for item in store.objects.query())


@pytest.mark.parametrize("name", ["dmmn-m3/1,2", "classify/mobilenet", "ciga-martel"])
def test_networks_of_all_kinds_predict_a_slide(study: Project, tmp_path: Path, name: str) -> None:
    store = predicted(study, model_folder(tmp_path, name), region=(60, 50, 260, 200))
    classes = np.asarray(store.levels[0][:])
    assert (classes[50:200, 60:260] > 0).all()
    assert np.count_nonzero(classes) == 150 * 200
    assert not store.objects.exists
    assert not store.uncertainty


@pytest.mark.parametrize("kind", ["entropy", "margin", "mc-dropout", "ensemble"])
def test_uncertainty_is_kept(study: Project, tmp_path: Path, kind: str) -> None:
    models = [model_folder(tmp_path / str(seed), "unet/resnet18", seed=seed) for seed in (0, 1)]
    others = models[1:] if kind == "ensemble" else []
    store = predicted(study, models[0], uncertainty=kind, passes=3, ensemble=others, region=(0, 0, 200, 200))
    unsure = np.asarray(store.uncertainty[0][:])
    assert unsure.shape == (HEIGHT, WIDTH)
    assert unsure[:200, :200].any()
    assert not unsure[200:].any()


def test_the_pixel_a_network_sees_is_that_of_its_resampled_window(study: Project, tmp_path: Path) -> None:
    model = model_folder(tmp_path, "classify/mobilenet", sampling={"window": 128})
    store = predicted(study, model, region=(0, 0, 256, 256))
    assert store.downsample == 2.0
