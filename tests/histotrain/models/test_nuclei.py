"""Networks for nuclei learn to find and classify discs, by their own targets, losses and separation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import Tensor

from histotrain import TrainingError
from histotrain._torchvision import ensure_torchvision
from histotrain.metrics import detection_f1
from histotrain.models import build_model
from histotrain.models.detection_unet import DetectionUnet
from histotrain.models.nuclei import NucleusNetwork
from histotrain.models.targets import centres, clicks

if TYPE_CHECKING:
    from numpy.typing import NDArray

PATIENCE = {
    "detection-unet": (8, 40, 1e-3),
    "instance-unet": (4, 25, 2e-3),
    "dist": (8, 70, 1e-3),
    "micronet": (8, 40, 1e-3),
    "hovernet": (2, 20, 3e-4),
}
"""Images, steps and learning rate that each needs."""

NETWORKS = tuple(PATIENCE)
SOME = [name if name == "instance-unet" else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS]


def discs(count: int, *, seed: int = 0, size: int = 64) -> tuple[Tensor, NDArray[np.int32], NDArray[np.uint8]]:
    """Images with about six dark or bright discs on grey, some of which touch; object numbers and labels."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size]
    instances = np.zeros((count, size, size), np.int32)
    labels = np.zeros((count, size, size), np.uint8)
    images = rng.normal(0, 0.1, (count, 3, size, size)).astype(np.float32)
    for index in range(count):
        for number in range(1, 7):
            x, y = rng.uniform(8, size - 8, 2)
            disc = ((columns - x) ** 2 + (rows - y) ** 2 <= 49) & (instances[index] == 0)
            if disc.sum() < 120:  # mostly hidden by another
                continue
            instances[index][disc] = number
            labels[index][disc] = number % 2 + 1
            images[index][:, disc] += 1.0 if number % 2 else -1.0
    return torch.from_numpy(images), instances, labels


def batch_targets(net: NucleusNetwork, instances: NDArray[np.int32], labels: NDArray[np.uint8]) -> dict[str, Tensor]:
    each = [net.targets(i, c) for i, c in zip(instances, labels, strict=True)]
    return {name: torch.from_numpy(np.stack([t[name] for t in each])) for name in each[0]}


def network(name: str) -> NucleusNetwork:
    torch.manual_seed(0)
    net = build_model(name, classes=2)
    assert isinstance(net, NucleusNetwork)
    return net


@pytest.mark.parametrize("name", SOME)
def test_learns_to_find_and_classify(name: str) -> None:
    net = network(name).train()
    count, steps, rate = PATIENCE[name]
    images, instances, labels = discs(count)
    targets = batch_targets(net, instances, labels)
    optimizer = torch.optim.Adam(net.parameters(), lr=rate)
    for _ in range(steps):
        optimizer.zero_grad()
        net.loss(net.maps(images), targets).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    found = net.nuclei(images)  # batch statistics still: so few steps do not settle running ones
    scores = []
    for nuclei, truth, kinds in zip(found, instances, labels, strict=True):
        points, classes = centres(truth, kinds)
        own, _ = centres(nuclei.instances, np.zeros_like(nuclei.instances))
        assert len(own) == len(nuclei.classes)
        scores.append(detection_f1(points, own, radius=6, true_classes=classes, predicted_classes=nuclei.classes))
    assert np.mean([s.f1 for s in scores]) > 0.85


@pytest.mark.parametrize("name", NETWORKS)
def test_perfect_maps_cost_less_than_fresh_ones(name: str) -> None:
    """The targets that a network makes and the maps that it gives speak of the same things."""
    net = network(name).eval()
    images, instances, labels = discs(1)
    targets = batch_targets(net, instances, labels)
    with torch.no_grad():
        maps = net.maps(images)
        fresh = net.loss(maps, targets)
        assert fresh.isfinite()
        assert net.loss(maps, targets | {"valid": torch.zeros_like(targets["valid"])}) < fresh
        assert net.loss(perfect(maps, targets), targets) < 0.5 * fresh


def perfect(maps: dict[str, Tensor], targets: dict[str, Tensor]) -> dict[str, Tensor]:
    def one_hot(values: Tensor, channels: int) -> Tensor:
        return 20 * torch.nn.functional.one_hot(values, channels).movedim(-1, 1).float()

    result = {}
    for name in maps:
        if name == "classes" and "bumps" in targets:
            result[name] = torch.logit(targets["bumps"], eps=1e-6)
        elif name == "classes":
            result[name] = one_hot((targets["classes"] - 1).clamp(min=0), 2)
        elif name == "parts":
            result[name] = one_hot(targets["parts"], 3)
        elif name == "auxiliary":
            result[name] = one_hot(targets["parts"], 3).repeat(1, 3, 1, 1)
        elif name == "nucleus":
            result[name] = 40 * targets["nucleus"][:, None] - 20
        else:
            values = targets[name]
            result[name] = values if values.ndim == 4 else values[:, None]
    return result


@pytest.mark.parametrize("name", NETWORKS)
def test_maps_have_the_size_of_odd_images(name: str) -> None:
    with torch.inference_mode():
        maps = network(name).eval().maps(torch.zeros(1, 3, 37, 50))
    assert {m.shape[-2:] for m in maps.values()} == {(37, 50)}
    assert maps["classes"].shape[1] == 2


def test_unlabelled_pixels_do_not_teach_a_class() -> None:
    net = network("instance-unet").eval()
    images, instances, _ = discs(1)
    targets = batch_targets(net, instances, np.zeros(instances.shape, np.uint8))
    maps = net.maps(images)
    net.loss(maps, targets).backward()  # type: ignore[no-untyped-call]
    assert not any(p.grad is not None and p.grad.any() for p in net.get_submodule("heads.classes").parameters())
    assert any(p.grad is not None and p.grad.any() for p in net.get_submodule("heads.parts").parameters())


def test_points_of_an_untrained_detector_are_few() -> None:
    net = network("detection-unet").eval()
    assert isinstance(net, DetectionUnet)
    (points, classes, scores) = net.points(torch.zeros(1, 3, 64, 64))[0]
    assert len(points) == len(classes) == len(scores) < 5


def test_what_is_shown_is_the_classes_of_the_nuclei_alone() -> None:
    net = build_model("instance-unet", 2).eval()
    assert isinstance(net, NucleusNetwork)
    images = discs(2)[0]
    shown, nuclei = net.shown(images), net.nuclei(images)
    assert shown.shape == (2, 2, 64, 64)
    for probabilities, found in zip(shown, nuclei, strict=True):
        np.testing.assert_array_equal(probabilities.sum(0).numpy() > 0, found.instances > 0)


def test_a_click_changes_the_mask() -> None:
    torch.manual_seed(0)
    net = build_model("nuclick", classes=1).eval()
    image, others = torch.zeros(1, 3, 32, 32), np.zeros((0, 2))
    with torch.inference_mode():
        here, there = (
            net(torch.cat([image, torch.from_numpy(clicks(at, others, (32, 32)))[None]], dim=1))
            for at in ((15.5, 15.5), (4.0, 4.0))
        )
        assert not torch.allclose(here, there)
        torch.testing.assert_close(net(image), here)
        with pytest.raises(TrainingError, match="inclusion"):
            net(torch.zeros(1, 4, 32, 32))


def test_mask_rcnn_works_or_says_why_not() -> None:
    ensure_torchvision()
    from torchvision import extension

    if not extension._has_ops():
        with pytest.raises(TrainingError, match=r"compiled operators.*hovernet"):
            build_model("mask-rcnn", classes=2)
        return
    net = build_model("mask-rcnn", classes=2).eval()
    with torch.inference_mode():
        (found,) = net([torch.rand(3, 64, 64)])
    assert found.keys() == {"boxes", "labels", "scores", "masks"}
