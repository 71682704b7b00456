"""Whole patches: classified, compared with the pixels they are made of, and learnt together with masks."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from histotrain import AugmentSettings, Finished, PatchSet, Progressed, Recipe, Trainer, TrainingError, train
from histotrain.models import build_model
from histotrain.objectives.regions import pooled

if TYPE_CHECKING:
    from collections.abc import Callable

    Make = Callable[..., PatchSet]


def test_the_pooled_class_is_the_mean_probability() -> None:
    logits = 3 * torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    expected = logits.double().softmax(1).mean((2, 3)).log()
    torch.testing.assert_close(pooled(logits).double(), expected, rtol=1e-5, atol=1e-5)
    assert pooled(torch.tensor([[[[200.0, 200.0]], [[-200.0, -200.0]]]])).isfinite().all()


@pytest.mark.parametrize("model", ["classify/resnet18"])
def test_a_classifier_learns_and_is_measured(model: str, brief: Recipe, everything: Make) -> None:
    recipe = brief.with_changes(
        model=model, steps=12, validate_every=12, batch_size=6, augment=AugmentSettings.off(), learning_rate=1e-3
    )
    events = list(train(recipe, everything(12), validation=everything(6, seed=1), device="cpu"))
    assert isinstance(events[-1], Finished)
    assert events[-1].metrics["accuracy"] == 1
    assert events[-1].metrics["f1/light"] == events[-1].metrics["macro_f1"] == 1


def test_patches_without_a_class_are_left_out(brief: Recipe, everything: Make) -> None:
    data = everything(4)
    assert data.patch_classes is not None
    none = replace(data, patch_classes=np.zeros(4, np.uint8))
    with pytest.raises(TrainingError, match="no patch has a class"):
        Trainer(brief.with_changes(model="classify/resnet18"), none, device="cpu")
    with pytest.raises(TrainingError, match="no patch has a class"):
        Trainer(brief.with_changes(model="classify/resnet18"), data, validation=none, device="cpu")


def test_a_source_that_knows_no_patch_classes(brief: Recipe, everything: Make) -> None:
    class Pixels:
        batch = staticmethod(replace(everything(4), patch_classes=None).source().batch)

    recipe = brief.with_changes(model="classify/resnet18")
    end = list(train(recipe, Pixels(), classes=("light", "dark"), device="cpu"))[-1]
    assert isinstance(end, Finished)
    assert end.reason == "failed"
    assert "no patch has a class" in end.message


def halved(data: PatchSet) -> PatchSet:
    """The first half with masks alone, the second with classes alone."""
    assert data.labels is not None
    assert data.patch_classes is not None
    half = len(data) // 2
    labels, classes = data.labels.copy(), data.patch_classes.copy()
    labels[half:], classes[:half] = 0, 0
    return replace(data, labels=labels, patch_classes=classes)


def test_segmentation_and_classification_are_added(brief: Recipe, everything: Make) -> None:
    recipe = brief.with_changes(model="ciga-martel", batch_size=6, steps=1, balancing="none", supervision=None)
    recipe = recipe.with_changes(augment=AugmentSettings.off())
    data = halved(everything(6))
    trainer = Trainer(recipe, data, device="cpu")
    batch = data.source(uses=("labels", "patch_classes")).samples(6, np.random.default_rng([0, 0]))
    net = build_model("ciga-martel", 2)
    net.load_state_dict(trainer._net.state_dict())
    (event,) = (e for e in trainer.run() if isinstance(e, Progressed))

    assert batch.labels is not None
    assert batch.patch_classes is not None
    pixels = torch.log((torch.from_numpy(batch.images).float() + 1) / 256).exp()  # as colours are varied
    pixels = ((pixels - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])).permute(0, 3, 1, 2)
    masked = torch.from_numpy((batch.labels != 0).any((1, 2)))
    truth = torch.from_numpy(np.where(batch.labels == 5, 0, 1))
    classes = torch.from_numpy(np.where(batch.patch_classes == 5, 0, 1))
    entropy = torch.nn.functional.cross_entropy
    net.train()
    with torch.no_grad():
        segmentation = entropy(net(pixels[masked]), truth[masked]).item()
        classification = entropy(net.classify(pixels[~masked]), classes[~masked]).item()  # type: ignore[operator]
    assert event.terms == pytest.approx({"pixels": segmentation, "patch": classification}, rel=1e-3)
    assert event.loss == pytest.approx(segmentation + classification, rel=1e-3)


def test_the_class_of_a_patch_corrects_its_segmentation(brief: Recipe, everything: Make) -> None:
    data = everything(4)
    assert data.labels is not None
    unmasked = replace(data, labels=np.zeros_like(data.labels))
    trainer = Trainer(brief.with_changes(model="ciga-martel", steps=1), unmasked, device="cpu")
    before = trainer._net.segmentation[0].weight.detach().clone()  # type: ignore[index, union-attr]
    list(trainer.run())
    assert not torch.equal(before, trainer._net.segmentation[0].weight)  # type: ignore[index, union-attr]


def test_without_masks_the_patches_decide(brief: Recipe, everything: Make) -> None:
    data = everything(4)
    assert data.labels is not None
    unmasked = replace(data, labels=np.zeros_like(data.labels))
    end = list(train(brief.with_changes(model="ciga-martel"), data, validation=unmasked, device="cpu"))[-1]
    assert isinstance(end, Finished)
    assert "mean_iou" not in end.metrics
    assert math.isfinite(end.metrics["patch_macro_f1"])
