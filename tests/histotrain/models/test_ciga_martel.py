"""Shapes of tables A.2 and A.3, and that the class loss reaches the segmentation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

from histotrain import AugmentSettings, PatchSet, Recipe, train
from histotrain.models import build_model
from histotrain.models.ciga_martel import CigaMartel
from histotrain.warmstart import class_axes

if TYPE_CHECKING:
    from pathlib import Path


def network() -> CigaMartel:
    torch.manual_seed(0)
    net = build_model("ciga-martel", classes=4)
    assert isinstance(net, CigaMartel)
    return net


def test_maps_are_those_of_the_tables() -> None:
    net = network().eval()
    images = torch.randn(2, 3, 128, 128)
    with torch.inference_mode():
        assert net.encoder(images)[-1].shape == (2, 256, 8, 8)
        coarse = net.map_of(images)
        assert coarse.shape == (2, 4, 16, 16)
        assert net.classify(images).shape == (2, 4)
        torch.testing.assert_close(net.classify_map(coarse), net.classify(images))
        torch.testing.assert_close(net(images), coarse.repeat_interleave(8, -1).repeat_interleave(8, -2))


def test_parameters_of_the_modules_are_those_of_the_tables() -> None:
    net = network()
    assert sum(p.numel() for p in net.segmentation.parameters()) == 256 * 64 * 9 + 2 * 64 + 64 * 4 + 4
    assert sum(p.numel() for p in net.classification.parameters()) == 4 * 8 + 2 * 8 + 8 * 4


def test_the_class_loss_corrects_the_segmentation() -> None:
    net = network().train()
    F.cross_entropy(net.classify(torch.randn(2, 3, 64, 64)), torch.tensor([1, 2])).backward()  # type: ignore[no-untyped-call]
    for part in (net.encoder, net.segmentation):
        assert all(p.grad is not None and p.grad.any() for n, p in part.named_parameters() if "4.bias" not in n)


def test_a_single_patch_can_be_learnt_from() -> None:
    net = network().train()
    assert net.classify(torch.randn(1, 3, 40, 33)).isfinite().all()


def test_classes_lie_along_the_right_axes() -> None:
    axes = class_axes("ciga-martel")
    assert axes == {
        "segmentation.4.weight": 0,
        "segmentation.4.bias": 0,
        "classification.1.weight": 1,
        "classification.4.weight": 0,
    }


def test_goes_on_learning_with_one_class_more(tmp_path: Path) -> None:

    recipe = Recipe(
        model="ciga-martel", patch_size=32, batch_size=2, steps=1, precision="float32", augment=AugmentSettings.off()
    )
    images, labels = np.zeros((2, 32, 32, 3), np.uint8), np.ones((2, 32, 32), np.uint8)
    labels[1] = 2
    two = PatchSet(images, labels, classes=("a", "b"), class_ids=(1, 2))
    events = list(train(recipe, two, output=tmp_path / "two", device="cpu"))
    assert events[-1].to_dict()["reason"] == "completed"
    three = PatchSet(images, labels, classes=("a", "b", "c"), class_ids=(1, 2, 3))
    events = list(train(recipe, three, init=tmp_path / "two", device="cpu"))
    assert events[-1].to_dict()["reason"] == "completed"
