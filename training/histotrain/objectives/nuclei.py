"""Nuclei one by one, and nuclei as points: networks with several maps, see `histotrain.models.nuclei`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from histotrain.errors import TrainingError
from histotrain.models.nuclei import CLASSES, NucleusNetwork
from histotrain.models.separation import classes_of, peaks
from histotrain.models.targets import centres
from histotrain.objectives.base import Meter, Objective
from histotrain.objectives.regions import RegionMeter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from histotrain.batches import Batch, Inputs, Known
    from histotrain.chance import Chance
    from histotrain.classes import ClassList
    from histotrain.metrics.detection import Detection
    from histotrain.metrics.nuclei import ImageQuality
    from histotrain.objectives.weighting import ClassWeights
    from histotrain.recipes import Recipe

TERM = "nuclei"
RADIUS = 3.0
"""Distance within which a detected point counts, µm: the 12 px at 0.25 µm of Gamper et al. (2020)."""


class NucleiObjective(Objective):
    """The maps of a `NucleusNetwork`, from object numbers, classes of pixels and where objects are all annotated.

    Targets are made from moved patches, in the feed's thread. The loss is the network's own, a mean over a batch;
    where a step has several parts, each counts by its patches. The recipe's loss, balancing and class weights have no
    part in it. Without labels, the objects of a single class are of that class.

    "mpq" and "bpq" are means over patches (and "…_plus" pooled), as in `histotrain.metrics.panoptic_summary`;
    "mean_iou" is that of the labelled pixels' classes.
    """

    uses = ("instances",)
    monitors = ("mpq",)
    in_feed = True
    missing = "no patch has objects"

    def __init__(self, net: nn.Module, recipe: Recipe, classes: ClassList, weights: ClassWeights) -> None:
        super().__init__(net, recipe, classes, weights)
        if not isinstance(net, NucleusNetwork):
            raise TrainingError(f"{recipe.model} has no maps of nuclei")
        self._network = net
        self.refuse_supervision()

    def usable(self, batch: Batch) -> Tensor:
        return torch.full((len(batch),), batch.known.instances is not None)

    def prepared(self, known: Known) -> Known:
        return with_objects(known, len(self.classes))

    def complete(self, inputs: Inputs, chance: Chance) -> Inputs:
        known = inputs.known
        arrays = zip(*(_array(t) for t in (known.instances, known.labels, known.valid)), strict=True)
        each = [self._network.targets(*one) for one in arrays]
        return replace(inputs, targets={k: torch.from_numpy(np.stack([t[k] for t in each])) for k in each[0]})

    def amounts(self, inputs: Inputs) -> dict[str, Tensor]:
        return {TERM: torch.tensor([len(inputs)], device=inputs.pixels.device)}

    def forward(self, inputs: Inputs) -> dict[str, Tensor]:
        return self._network.maps(inputs.pixels)

    def terms(self, outputs: dict[str, Tensor], inputs: Inputs, totals: Mapping[str, Tensor]) -> dict[str, Tensor]:
        value = self._network.loss({k: m.float() for k, m in outputs.items()}, inputs.targets)
        return {TERM: value * (len(inputs) / totals[TERM].sum())}

    def meter(self) -> Meter:
        return NucleiMeter(self._network, self.classes)


class PointsObjective(NucleiObjective):
    """As `NucleiObjective`, measured by detection within 3 µm: "detection_f1", precision and recall whatever the class,
    "f1/<class>" and their mean "mean_f1", counted over all patches together."""

    monitors = ("detection_f1",)

    def meter(self) -> Meter:
        return PointsMeter(self.classes, RADIUS / self.recipe.mpp)


class NucleiMeter(Meter):
    """Panoptic quality of each patch, and IoU of the classes of pixels."""

    def __init__(self, net: NucleusNetwork, classes: ClassList) -> None:
        self._net = net
        self._classes = classes
        self._images: list[ImageQuality] = []
        self._regions = RegionMeter(classes)

    def add(self, outputs: dict[str, Tensor], inputs: Inputs) -> None:
        from histotrain.metrics import image_quality

        self._regions.add(outputs[CLASSES], inputs)
        arrays = {name: maps.float().cpu() for name, maps in outputs.items()}
        probabilities = arrays[CLASSES].softmax(1).numpy()
        for index, (instances, labels, valid) in enumerate(truths_of(inputs.known)):
            found = self._net.separate({name: maps[index].numpy() for name, maps in arrays.items()})
            kinds, _ = classes_of(found, probabilities[index])
            self._images.append(
                image_quality(
                    instances,
                    found,
                    true_classes=true_classes(instances, labels),
                    predicted_classes={n: int(k) + 1 for n, k in enumerate(kinds, 1)},
                    classes=len(self._classes),
                    valid=valid,
                )
            )

    def metrics(self) -> dict[str, float]:
        return named_summary(self._images, self._classes.names) | self._regions.metrics()


class PointsMeter(Meter):
    """Detection and classification of points, pooled over patches."""

    def __init__(self, classes: ClassList, radius: float) -> None:
        self._classes = classes
        self._radius = radius
        self._found: list[Detection] = []

    def add(self, outputs: dict[str, Tensor], inputs: Inputs) -> None:
        from histotrain.metrics import detection_f1

        maps = outputs[CLASSES].float().sigmoid().cpu().numpy()
        for one, (instances, labels, valid) in zip(maps, truths_of(inputs.known), strict=True):
            points, classes, _ = peaks(one)
            true_points, kinds = centres(instances, labels)
            inside, known = (valid[tuple(p.round().astype(int).T[::-1])] for p in (points, true_points))
            self._found.append(
                detection_f1(
                    true_points[known],
                    points[inside],
                    radius=self._radius,
                    true_classes=kinds[known],
                    predicted_classes=classes[inside],
                )
            )

    def metrics(self) -> dict[str, float]:
        from histotrain.metrics import Detection

        def pooled(parts: list[Detection]) -> Detection:
            return Detection(sum(p.tp for p in parts), sum(p.fp for p in parts), sum(p.fn for p in parts))

        every = pooled(self._found)
        result = {f"detection_{n}": getattr(every, n) for n in ("f1", "precision", "recall")}
        scores = [
            pooled([d.per_class[channel] for d in self._found if channel in d.per_class])
            for channel in range(len(self._classes))
        ]
        known = [s.f1 for s in scores if s.tp + s.fn]
        result["mean_f1"] = float(np.mean(known)) if known else float("nan")
        for name, score in zip(self._classes.names, scores, strict=True):
            result[f"f1/{name}"] = score.f1 if score.tp + score.fn else float("nan")
        return result


def named_summary(images: Sequence[ImageQuality], names: Sequence[str]) -> dict[str, float]:
    """`histotrain.metrics.panoptic_summary` with the names of the classes in place of their numbers."""
    from histotrain.metrics import panoptic_summary

    result: dict[str, float] = {}
    for key, value in panoptic_summary(images).items():
        kind, _, number = key.partition("/")
        result[f"{kind}/{names[int(number) - 1]}" if number else key] = value
    return result


def with_objects(known: Known, classes: int) -> Known:
    """Labels and valid parts filled in where only objects are known; raises TrainingError if not even they are."""
    if known.instances is None:
        raise TrainingError(
            "these patches have no objects",
            "nuclei are learnt from object numbers",
            "Outline nuclei, or choose a network for regions.",
        )
    labels = known.labels
    if labels is None:
        labels = (known.instances > 0).to(torch.uint8) * int(classes == 1)
    valid = torch.ones_like(known.instances, dtype=torch.bool) if known.valid is None else known.valid
    return replace(known, labels=labels, valid=valid)


def true_classes(instances: NDArray[np.int32], labels: NDArray[np.integer]) -> dict[int, int]:
    """Class 1 … C of each object number; objects without one are left out."""
    numbers = np.unique(instances)
    _, kinds = centres(instances, labels)
    return {int(n): int(k) + 1 for n, k in zip(numbers[numbers != 0], kinds, strict=True) if k >= 0}


def truths_of(known: Known) -> list[tuple[NDArray[np.int32], NDArray[np.uint8], NDArray[np.bool_]]]:
    """Instances, labels and valid pixels (H, W) of each patch; known as `with_objects` leaves it."""
    return list(zip(*(_array(t) for t in (known.instances, known.labels, known.valid)), strict=True))


def _array(tensor: Tensor | None) -> NDArray[np.generic]:
    assert tensor is not None  # `with_objects` has filled it in
    array: NDArray[np.generic] = tensor.cpu().numpy()
    return array
