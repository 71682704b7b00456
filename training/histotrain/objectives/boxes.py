"""Nuclei as boxes with masks: torchvision's Mask R-CNN, which brings its own losses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from histotrain.objectives.base import Meter, Objective
from histotrain.objectives.nuclei import TERM, true_classes, truths_of, with_objects
from histotrain.pixels import MEAN, STD

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from histotrain.batches import Batch, Inputs, Known
    from histotrain.classes import ClassList
    from histotrain.metrics.nuclei import ImageQuality
    from histotrain.objectives.weighting import ClassWeights
    from histotrain.recipes import Recipe

THRESHOLD = 0.5
"""Score from which an object counts, and probability from which a pixel is its."""

SMALLEST = 2
"""Sides of the smallest box that can be learnt, pixels."""


class Boxes(Objective):
    """The sum of Mask R-CNN's own losses; measured as nuclei are.

    An object without a class is not learnt. What is not annotated exhaustively counts as empty, because the region
    proposals cannot leave out parts of an image: use patches that are wholly valid. The network gives losses in
    training and objects otherwise, so a validation has no loss, which is then NaN.
    """

    uses = ("instances",)
    monitors = ("mpq",)
    missing = "no patch has objects"

    def __init__(self, net: nn.Module, recipe: Recipe, classes: ClassList, weights: ClassWeights) -> None:
        super().__init__(net, recipe, classes, weights)
        self.refuse_supervision()

    def usable(self, batch: Batch) -> Tensor:
        return torch.full((len(batch),), batch.known.instances is not None)

    def prepared(self, known: Known) -> Known:
        return with_objects(known, len(self.classes))

    def amounts(self, inputs: Inputs) -> dict[str, Tensor]:
        return {TERM: torch.tensor([len(inputs)], device=inputs.pixels.device)}

    def forward(self, inputs: Inputs) -> Any:
        images = bare(inputs.pixels)
        if not self.net.training:
            return self.net(images)
        truths = truths_of(inputs.known)
        targets = [box_targets(instances, labels) for instances, labels, _ in truths]
        device = inputs.pixels.device
        return self.net(images, [{k: v.to(device) for k, v in target.items()} for target in targets])

    def terms(self, outputs: Any, inputs: Inputs, totals: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if not isinstance(outputs, dict):
            return {}
        return {TERM: torch.stack(list(outputs.values())).sum() * (len(inputs) / totals[TERM].sum())}

    def meter(self) -> Meter:
        return BoxMeter(self.classes)

    def touch(self, pixels: Tensor) -> None:
        self.net(bare(pixels))


class BoxMeter(Meter):
    """Panoptic quality of each patch."""

    def __init__(self, classes: ClassList) -> None:
        self._classes = classes
        self._images: list[ImageQuality] = []

    def add(self, outputs: list[dict[str, Tensor]], inputs: Inputs) -> None:
        from histotrain.metrics import image_quality

        for found, (instances, labels, valid) in zip(outputs, truths_of(inputs.known), strict=True):
            painted, classes = painted_objects(found, instances.shape)
            self._images.append(
                image_quality(
                    instances,
                    painted,
                    true_classes=true_classes(instances, labels),
                    predicted_classes=classes,
                    classes=len(self._classes),
                    valid=valid,
                )
            )

    def metrics(self) -> dict[str, float]:
        from histotrain.objectives.nuclei import named_summary

        return named_summary(self._images, self._classes.names)


def bare(pixels: Tensor) -> list[Tensor]:
    """Images (3, H, W) in 0 … 1, which the network normalises itself, of normalised pixels (N, 3, H, W)."""
    mean, std = (torch.tensor(v, device=pixels.device)[:, None, None] for v in (MEAN, STD))
    return list((pixels.float() * std + mean).unbind(0))


def box_targets(instances: NDArray[np.int32], labels: NDArray[np.integer]) -> dict[str, Tensor]:
    """What torchvision's detectors learn of one image.

    Parameters
    ----------
    instances : int32, shape (H, W)
        Object numbers, 0 for none.
    labels : int, shape (H, W)
        Channel + 1 of each pixel's class, 0 is unlabelled.

    Returns
    -------
    dict
        "boxes" float32 (n, 4) as (x0, y0, x1, y1) with the far corner outside of the last pixel, "labels" int64 (n,),
        channel + 1, and "masks" uint8 (n, H, W). Objects without a class, and slivers, are left out.
    """
    kinds = true_classes(instances, labels)
    boxes: list[tuple[int, int, int, int]] = []
    chosen: list[int] = []
    for number in kinds:
        rows, columns = np.nonzero(instances == number)
        box = int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1
        if min(box[2] - box[0], box[3] - box[1]) >= SMALLEST:
            boxes.append(box)
            chosen.append(number)
    masks = instances[None] == np.array(chosen, np.int32)[:, None, None]
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "labels": torch.tensor([kinds[n] for n in chosen], dtype=torch.int64),
        "masks": torch.from_numpy(masks.astype(np.uint8)),
    }


def painted_objects(found: Mapping[str, Tensor], shape: tuple[int, ...]) -> tuple[NDArray[np.int32], dict[int, int]]:
    """Object numbers int32 (H, W) and the class 1 … C of each; where objects overlap, the one of the higher score."""
    order = found["scores"].argsort(descending=True).tolist()
    painted = np.zeros(shape, np.int32)
    classes: dict[int, int] = {}
    for index in order:
        free = (found["masks"][index, 0].float().cpu().numpy() > THRESHOLD) & (painted == 0)
        if float(found["scores"][index]) >= THRESHOLD and free.any():
            classes[len(classes) + 1] = int(found["labels"][index])
            painted[free] = len(classes)
    return painted, classes
