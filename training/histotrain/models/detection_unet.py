"""Nuclei as points: the detection U-Net of PanNuke (Gamper et al. 2020, section "Benchmarking").

"The detection maps for each class were used as the target ... the detection map for each nucleus was converted to a 2D
Gaussian centered at the true nucleus centroid", after the structured regression of Xie et al. (2018).

Decided where the paper is silent: a U-Net over ResNet-18, which learns on a CPU; Gaussians of 3 px, a quarter of the
12 px within which a detection counts; the sigmoid of each logit is its class's map, learnt by cross-entropy with the
Gaussian as a soft label, in which a pixel weighs up to ten times as much the nearer it is to a centre, because nearly
all of an image is no centre; a nucleus is a local maximum of at least 0.3 in the highest of the maps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from histotrain.models.nuclei import CLASSES, VALID, Nuclei, NucleusUnet
from histotrain.models.separation import peaks
from histotrain.models.targets import bumps, centres

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

SIGMA = 3.0
CENTRE_WEIGHT = 9.0
RADIUS = 3
"""Of the disc that stands for a detected nucleus among object numbers, pixels."""


class DetectionUnet(NucleusUnet):
    """Logits (N, C, H, W) whose sigmoids are detection maps."""

    def __init__(self, classes: int) -> None:
        super().__init__(classes=classes)
        self.channels = classes
        self.needed = ((CLASSES, classes),)
        for parameter in self.heads[CLASSES].parameters():
            if parameter.ndim == 1:
                torch.nn.init.constant_(parameter, -3.0)  # maps start near 0, as they are nearly everywhere

    def targets(
        self, instances: NDArray[np.int32], labels: NDArray[np.integer], valid: NDArray[np.bool_] | None = None
    ) -> dict[str, NDArray[np.generic]]:
        result = super().targets(instances, labels, valid)
        del result[CLASSES]
        return result

    def branch_targets(
        self, instances: NDArray[np.int32], labels: NDArray[np.integer]
    ) -> dict[str, NDArray[np.generic]]:
        points, classes = centres(instances, labels)
        return {"bumps": bumps(points, classes, (self.channels, instances.shape[0], instances.shape[1]), sigma=SIGMA)}

    def loss(self, maps: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        return self.branch_loss(maps, targets)

    def branch_loss(self, maps: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        truth = targets["bumps"]
        entropy = F.binary_cross_entropy_with_logits(maps[CLASSES].float(), truth, reduction="none")
        weight = (1 + CENTRE_WEIGHT * truth) * targets[VALID][:, None]
        return (weight * entropy).sum() / weight.sum().clamp(min=1)

    @torch.no_grad()
    def points(self, images: Tensor) -> list[tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]]:
        """Points (n, 2) as (x, y), classes (n,) and scores (n,) in each of float images (N, 3, H, W)."""
        return [peaks(one.numpy()) for one in self(images).float().sigmoid().cpu()]

    def nuclei(self, images: Tensor) -> list[Nuclei]:
        found: list[Nuclei] = []
        for points, classes, scores in self.points(images):
            instances = _discs(points, (images.shape[-2], images.shape[-1]))
            found.append(Nuclei(instances, classes, scores))
        return found

    def separate(self, maps: Mapping[str, NDArray[np.float32]]) -> NDArray[np.int32]:
        points, _, _ = peaks(torch.from_numpy(maps[CLASSES]).sigmoid().numpy())
        return _discs(points, (maps[CLASSES].shape[1], maps[CLASSES].shape[2]))


def _discs(points: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.int32]:
    result = np.zeros(shape, np.int32)
    reach = np.arange(-RADIUS, RADIUS + 1)
    dy, dx = (a[(reach[:, None] ** 2 + reach**2) <= RADIUS**2] for a in np.meshgrid(reach, reach, indexing="ij"))
    for number, (x, y) in reversed(list(enumerate(points, 1))):  # the highest peak is drawn last
        rows, columns = round(y) + dy, round(x) + dx
        inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
        result[rows[inside], columns[inside]] = number
    return result
