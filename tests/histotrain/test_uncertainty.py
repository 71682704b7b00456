"""Uncertainty is 0 where all is clear and 1 where nothing is; several passes say what they disagree on."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from histotrain import LoadedModel, PredictOptions, Recipe, TrainingError, load_model, predict, save_model
from histotrain.card import ModelCard
from histotrain.models import build_model
from histotrain.models.targets import offsets
from histotrain.orientations import averaged
from histotrain.pixels import MEAN, STD
from histotrain.uncertainty import Ensemble, dropout_active, entropy, margin, mean_and_disagreement


def distributions(seed: int, channels: int, count: int = 1) -> np.ndarray:
    values = np.random.default_rng(seed).random((count, 4, 5, channels)).astype(np.float32) ** 4 + 1e-6
    return values / values.sum(-1, keepdims=True)


@given(st.integers(0, 999), st.integers(1, 6))
def test_measures_lie_between_0_and_1(seed: int, channels: int) -> None:
    values = distributions(seed, channels)
    for measure in (entropy, margin):
        assert measure(values).min() >= 0
        assert measure(values).max() <= 1 + 1e-6
    np.testing.assert_allclose(
        entropy(np.full((1, channels), 1 / channels, np.float32)), float(channels > 1), atol=1e-6
    )


@given(st.integers(0, 999), st.integers(2, 5), st.integers(1, 4))
def test_disagreement_is_the_mutual_information(seed: int, channels: int, count: int) -> None:
    samples = distributions(seed, channels, count)
    mean, disagreement = mean_and_disagreement(iter(samples), channels)
    np.testing.assert_allclose(mean, samples.mean(0), atol=1e-6)
    # mean Kullback-Leibler divergence from the mean, in units of log C
    divergence = (samples * np.log(samples / samples.mean(0))).sum(-1).mean(0) / np.log(channels)
    np.testing.assert_allclose(disagreement, np.maximum(divergence, 0), atol=1e-5)


def test_what_agrees_is_known_and_what_contradicts_is_not() -> None:
    sure, other = np.array([[1.0, 0.0]], np.float32), np.array([[0.0, 1.0]], np.float32)
    unsure = np.array([[0.5, 0.5]], np.float32)
    for samples, expected in (((sure, sure), 0), ((unsure, unsure), 0), ((sure, other), 1)):
        assert mean_and_disagreement(samples, 2)[1] == pytest.approx(expected, abs=1e-6)
    with pytest.raises(ValueError, match="nothing"):
        mean_and_disagreement([], 2)


def saved(
    folder: Path, name: str, *, seed: int = 0, classes: tuple[str, ...] = ("a", "b"), **changes: object
) -> LoadedModel:
    torch.manual_seed(seed)
    recipe = Recipe(model=name, precision="float32", patch_size=32).with_changes(**changes)
    ids = tuple(range(1, len(classes) + 1))
    card = ModelCard(recipe=recipe, classes=classes, class_ids=ids, mpp=recipe.mpp, mean=MEAN, std=STD)
    save_model(folder / str(seed), build_model(name, len(classes)), card)
    return load_model(folder / str(seed), "cpu")


IMAGE = np.random.default_rng(0).integers(0, 256, (96, 80, 3), dtype=np.uint8)


def unsure(model: LoadedModel | Ensemble, **options: object) -> np.ndarray:
    blocks = predict(
        model,
        lambda x, y, w, h: IMAGE[y : y + h, x : x + w],
        (80, 96),
        options=PredictOptions(tile=128, **options),  # type: ignore[arg-type]
    )
    (block,) = blocks
    assert block.uncertainty is not None
    assert block.uncertainty.shape == (96, 80)
    np.testing.assert_array_equal(block.confidence, block.probabilities.max(0))
    return block.uncertainty


@pytest.mark.parametrize("kind", ["entropy", "margin"])
def test_of_one_pass(tmp_path: Path, kind: str) -> None:
    model = saved(tmp_path, "unet/resnet18")
    measure = entropy if kind == "entropy" else margin
    expected = measure(model.predict_array(np.pad(IMAGE, ((0, 0), (0, 16), (0, 0)), "symmetric"))[:, :80])
    np.testing.assert_allclose(unsure(model, uncertainty=kind), expected * 255, atol=1)


def test_dropout_of_ones_own_is_used_and_leaves_no_trace() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(12, 2)).eval()
    images = torch.rand(4, 3, 2, 2)
    drawn = []
    for seed in (1, 1, 2):
        with torch.no_grad(), dropout_active(net, 2, seed):
            drawn.append(net(images))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert not any(module.training for module in net.modules())
    with torch.no_grad():
        assert torch.equal(net(images), net(images))


def test_of_passes_with_dropout(tmp_path: Path) -> None:
    model = saved(tmp_path, "unet/resnet18")
    sure = model.predict_batch(IMAGE[None])
    found = unsure(model, uncertainty="mc-dropout", passes=4)
    assert found.any()
    np.testing.assert_array_equal(found, unsure(model, uncertainty="mc-dropout", passes=4))
    np.testing.assert_array_equal(model.predict_batch(IMAGE[None]), sure)


def test_of_an_ensemble(tmp_path: Path) -> None:
    one, other = (saved(tmp_path, "unet/resnet18", seed=seed) for seed in (0, 1))
    assert unsure(Ensemble([one, other]), uncertainty="ensemble").any()
    assert not unsure(Ensemble([one, one]), uncertainty="ensemble").any()
    with pytest.raises(TrainingError, match="at least two"):
        unsure(one, uncertainty="ensemble")
    with pytest.raises(TrainingError, match="at least two"):
        Ensemble([one])
    different = saved(tmp_path / "three", "unet/resnet18", classes=("a", "b", "c"))
    with pytest.raises(TrainingError, match="class ids differ"):
        Ensemble([one, different])


def test_vectors_turn_with_the_image() -> None:
    """A network that is right about offsets is right about them in every orientation."""
    numbers = np.zeros((40, 40), np.int32)
    numbers[5:14, 8:30], numbers[20:36, 12:19] = 1, 2
    image = np.repeat(numbers[..., None], 3, -1).astype(np.uint8)

    def call(images: np.ndarray) -> np.ndarray:
        return np.stack([np.moveaxis(offsets(one[..., 0].astype(np.int32)), 0, -1) for one in images])

    np.testing.assert_allclose(averaged(call, image[None], (0,)), call(image[None]), atol=1e-6)
    assert not np.allclose(averaged(call, image[None]), call(image[None]), atol=0.1)


@pytest.mark.parametrize("name", ["hovernet", "instance-unet", "dist", "micronet", "detection-unet"])
def test_networks_for_nuclei_say_which_maps_they_need(tmp_path: Path, name: str) -> None:
    model = saved(tmp_path, name)
    maps = model.predict_maps(IMAGE[None])
    assert maps.shape == (1, 96, 80, 2 + sum(channels for _, channels in model.layout))
    np.testing.assert_allclose(maps[..., :2], model.predict_batch(IMAGE[None]), atol=1e-5)
    separated = model.separate(np.moveaxis(maps[0, ..., 2:], -1, 0))
    assert separated.shape == (96, 80)
    assert model.vectors == ((3,) if name == "hovernet" else ())


def test_a_network_without_objects_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="single objects"):
        unsure(saved(tmp_path, "unet/resnet18"), objects=True)


def test_patches_are_classified_as_wholes_where_a_network_can(tmp_path: Path) -> None:
    model = saved(tmp_path, "ciga-martel")
    assert model.window is None
    np.testing.assert_allclose(model.classify_batch(IMAGE[None]).sum(-1), 1, atol=1e-5)
    with pytest.raises(TrainingError, match="does not classify"):
        saved(tmp_path / "other", "unet/resnet18").classify_batch(IMAGE[None])
