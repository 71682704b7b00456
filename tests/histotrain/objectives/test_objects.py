"""What networks for objects are taught follows the moved patches; what they give is measured as their task says."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from histotrain import PatchSet, Recipe, Trainer, TrainingError
from histotrain.batches import Inputs, Known
from histotrain.chance import Chance
from histotrain.classes import ClassList
from histotrain.models.separation import classes_of
from histotrain.objectives import ClassWeights, objective_for
from histotrain.objectives.boxes import Boxes, BoxMeter, bare, box_targets, painted_objects
from histotrain.objectives.clicks import CHANNEL, INSIDE, TRUTH, Clicks
from histotrain.pixels import normalised

if TYPE_CHECKING:
    from collections.abc import Callable

    Make = Callable[..., PatchSet]

CLASSES = ClassList(("light", "dark"), (5, 3))


def completed(trainer: Trainer, step: int = 0) -> Inputs:
    (part,) = trainer._supply.parts(step, size=4)
    assert isinstance(part.patches, Inputs)
    return part.patches


def test_targets_are_made_of_the_moved_objects(brief: Recipe, everything: Make) -> None:
    trainer = Trainer(brief.with_changes(model="instance-unet", batch_size=4), everything(4), device="cpu")
    inputs = completed(trainer)
    known = inputs.known
    assert known.instances is not None
    assert known.valid is not None
    assert known.labels is not None
    assert not known.valid.all()
    assert torch.equal(inputs.targets["parts"] > 0, known.instances > 0)
    assert torch.equal(inputs.targets["valid"], known.valid)
    assert torch.equal(inputs.targets["classes"], known.labels.long())


def test_objects_without_labels_are_of_the_only_class(brief: Recipe, everything: Make) -> None:
    data = replace(everything(4), labels=None, classes=("nucleus",), class_ids=(1,))
    inputs = completed(Trainer(brief.with_changes(model="instance-unet", batch_size=4), data, device="cpu"))
    assert inputs.known.instances is not None
    assert torch.equal(inputs.targets["classes"], (inputs.known.instances > 0).long())


@pytest.mark.parametrize("model", ["instance-unet", "nuclick"])
def test_patches_without_objects_are_refused(model: str, brief: Recipe, everything: Make) -> None:
    with pytest.raises(TrainingError, match="objects"):
        Trainer(brief.with_changes(model=model), replace(everything(2), instances=None, labels=None), device="cpu")


def test_terms_of_annotations_are_refused_for_objects(brief: Recipe, everything: Make) -> None:
    with pytest.raises(TrainingError, match="kind of annotation"):
        Trainer(brief.with_changes(model="instance-unet", supervision={}), everything(2), device="cpu")


def test_the_right_maps_are_worth_one(brief: Recipe, everything: Make) -> None:
    """The true parts, as logits, separate into the true objects with the true classes."""
    trainer = Trainer(
        brief.with_changes(model="instance-unet"), everything(2), validation=everything(2, seed=1), device="cpu"
    )
    assert trainer._validator is not None
    objective = trainer._objective
    inputs = objective.complete(
        Inputs(normalised(torch.from_numpy(everything(2).images)), trainer._validator._batch.known),
        Chance.of(np.random.default_rng(0), 2),
    )
    maps = {
        "parts": 20 * torch.nn.functional.one_hot(inputs.targets["parts"], 3).movedim(-1, 1).float(),
        "classes": 20 * torch.nn.functional.one_hot(inputs.targets["classes"] - 1, 2).movedim(-1, 1).float(),
    }
    meter = objective.meter()
    meter.add(maps, inputs)
    found = meter.metrics()
    assert found["mpq"] == found["bpq"] == found["pq/dark"] == found["mean_iou"] == 1


def test_points_at_the_true_centres_are_worth_one(brief: Recipe, everything: Make) -> None:
    trainer = Trainer(brief.with_changes(model="detection-unet", batch_size=4), everything(4), device="cpu")
    inputs = completed(trainer)
    meter = trainer._objective.meter()
    meter.add({"classes": torch.logit(inputs.targets["bumps"], eps=1e-4)}, inputs)
    found = meter.metrics()
    assert found["detection_recall"] == found["mean_f1"] == 1
    meter.add({"classes": torch.full_like(inputs.targets["bumps"], -9.0)}, inputs)
    assert meter.metrics()["detection_recall"] == 0.5
    assert meter.metrics()["detection_precision"] == 1


def click_targets(brief: Recipe, data: PatchSet, classes: int) -> tuple[Clicks, Inputs]:
    names = ClassList(CLASSES.names[:classes], CLASSES.ids[:classes])
    objective = objective_for(torch.nn.Identity(), brief.with_changes(model="nuclick"), names, no_weights(brief))
    assert isinstance(objective, Clicks)
    assert data.labels is not None
    assert data.instances is not None
    labels = torch.from_numpy(np.where(data.labels == 5, 1, 2).astype(np.uint8))
    known = objective.prepared(Known(labels=labels, instances=torch.from_numpy(data.instances)))
    inputs = Inputs(normalised(torch.from_numpy(data.images)), known)
    return objective, objective.complete(inputs, Chance.of(np.random.default_rng(0), len(data)))


def no_weights(recipe: Recipe) -> ClassWeights:
    return ClassWeights(recipe, CLASSES)


@pytest.mark.parametrize("classes", [1, 2])
def test_a_click_is_on_its_object_and_the_others_are_excluded(classes: int, brief: Recipe, everything: Make) -> None:
    data = everything(6)
    _, inputs = click_targets(brief, data, classes)
    assert inputs.pixels.shape == (6, 5, 32, 32)
    assert data.instances is not None
    for pixels, truth, instances in zip(
        inputs.pixels.numpy(), inputs.targets[TRUTH].numpy(), data.instances, strict=True
    ):
        (clicked,) = np.unique(instances[truth > 0])
        assert clicked != 0
        np.testing.assert_array_equal(instances == clicked, truth > 0)
        rows, columns = np.nonzero(pixels[3])
        assert (
            instances[round(rows.mean()), round(columns.mean())] == clicked or pixels[3].sum() < 13
        )  # cut by the edge
        others = np.unique(instances[(pixels[4] > 0) & (instances > 0)])
        assert set(others) == set(np.unique(instances)) - {0, clicked}
    expected = [0] * 6 if classes == 1 else [1, 0] * 3  # discs are of the other shade than their patch
    assert inputs.targets[CHANNEL].tolist() == expected


def test_the_right_mask_costs_nothing_and_is_worth_one(brief: Recipe, everything: Make) -> None:
    objective, inputs = click_targets(brief, everything(4), 2)
    channels = torch.nn.functional.one_hot(inputs.targets[CHANNEL], 2)
    logits = 60 * inputs.targets[TRUTH][:, None] * channels[..., None, None] - 30
    terms = objective.terms(logits, inputs, objective.amounts(inputs))
    assert terms["click"].item() == pytest.approx(0, abs=1e-6)
    meter = objective.meter()
    meter.add(logits, inputs)
    assert meter.metrics() == {"iou": 1, "dice": 1, "iou/light": 1, "iou/dark": 1}
    assert objective.terms(-logits, inputs, objective.amounts(inputs))["click"].item() > 20


def test_patches_without_an_object_are_not_clicked(brief: Recipe, everything: Make) -> None:
    data = everything(2)
    assert data.instances is not None
    data.instances[0] = 0
    objective, inputs = click_targets(brief, data, 1)
    assert inputs.targets[CHANNEL].tolist() == [-1, 0]
    assert objective.amounts(inputs)["click"].tolist() == [1]
    logits = torch.zeros(2, 1, 32, 32, requires_grad=True)
    objective.terms(logits, inputs, objective.amounts(inputs))["click"].backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert not logits.grad[0].any()
    assert logits.grad[1].all()
    assert inputs.targets[INSIDE].all()


def test_boxes_are_tight_and_masks_are_the_objects() -> None:
    instances = np.zeros((10, 12), np.int32)
    instances[2:5, 3:9], instances[7:9, 0:3], instances[9, 11] = 70, 8, 9
    labels = np.where(instances == 70, 2, np.where(instances == 8, 1, 1))
    found = box_targets(instances, labels)
    assert found["boxes"].tolist() == [[0, 7, 3, 9], [3, 2, 9, 5]]
    assert found["labels"].tolist() == [1, 2]
    np.testing.assert_array_equal(found["masks"].numpy(), np.stack([instances == 8, instances == 70]))


def test_no_object_gives_empty_targets() -> None:
    found = box_targets(np.zeros((5, 6), np.int32), np.zeros((5, 6), int))
    assert [tuple(found[k].shape) for k in ("boxes", "labels", "masks")] == [(0, 4), (0,), (0, 5, 6)]


class Finder(torch.nn.Module):
    """Stands for torchvision's network: what it was given, as its losses or as what it found."""

    def forward(self, images: list[torch.Tensor], targets: list[dict[str, torch.Tensor]] | None = None) -> object:
        if self.training:
            assert targets is not None
            return {"boxes": sum(t["boxes"].sum() for t in targets), "images": torch.stack(images).sum()}
        empty = {"labels": torch.zeros(0), "scores": torch.zeros(0), "masks": torch.zeros(0, 1, 32, 32)}
        return [empty for _ in images]


def test_boxes_learn_torchvisions_losses(brief: Recipe, everything: Make) -> None:
    data = everything(2)
    assert data.instances is not None
    objective = objective_for(Finder(), brief.with_changes(model="mask-rcnn"), CLASSES, no_weights(brief))
    assert isinstance(objective, Boxes)
    known = objective.prepared(
        Known(labels=torch.ones(2, 32, 32, dtype=torch.uint8), instances=torch.from_numpy(data.instances))
    )
    inputs = Inputs(normalised(torch.from_numpy(data.images)), known)
    (term,) = objective.terms(objective.forward(inputs), inputs, objective.amounts(inputs)).values()
    boxes = sum(box_targets(i, np.ones_like(i))["boxes"].sum() for i in data.instances)
    assert term.item() == pytest.approx(float(boxes) + data.images.sum() / 255, rel=1e-4)
    objective.net.eval()
    found = objective.forward(inputs)
    assert objective.terms(found, inputs, objective.amounts(inputs)) == {}
    meter = objective.meter()
    assert isinstance(meter, BoxMeter)
    meter.add(found, inputs)
    assert meter.metrics()["bpq"] == 0


def test_painted_objects_keep_to_the_surer_one() -> None:
    masks = torch.zeros(3, 1, 4, 4)
    masks[0, 0, :3], masks[1, 0, 2:], masks[2] = 0.9, 0.9, 0.9
    found = {"masks": masks, "scores": torch.tensor([0.6, 0.8, 0.4]), "labels": torch.tensor([1, 2, 1])}
    painted, classes = painted_objects(found, (4, 4))
    assert painted[:, 0].tolist() == [2, 2, 1, 1]
    assert classes == {1: 2, 2: 1}


def test_bare_images_are_what_was_normalised() -> None:
    images = torch.randint(0, 256, (2, 5, 4, 3), dtype=torch.uint8)
    (first, _) = bare(normalised(images))
    torch.testing.assert_close(first.permute(1, 2, 0), images[0] / 255, atol=1e-5, rtol=0)


def test_classes_of_nothing() -> None:
    kinds, scores = classes_of(np.zeros((4, 4), np.int32), np.ones((2, 4, 4), np.float32))
    assert len(kinds) == len(scores) == 0
