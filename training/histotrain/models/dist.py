"""Nuclei by regression of the distance map: DIST (Naylor et al. 2018), with PanNuke's branch for the classes.

PanNuke: "DIST which utilizes the distance map of instances as the target and we add another branch for semantic
pixel-wise classification". Decided here: a U-Net over ResNet-18 in place of the authors' own; distances in pixels,
not scaled per nucleus, so that a peak's height can be judged, divided by 5 within the network so that they are of the
order of 1; mean squared error; a peak counts if it rises a pixel above the pass to a higher one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from histotrain.models.nuclei import VALID, NucleusUnet, mean_over
from histotrain.models.separation import by_distance
from histotrain.models.targets import distances

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

SCALE = 5.0
PROMINENCE = 1.0


class Dist(NucleusUnet):
    """Maps "classes" (N, C, H, W), logits, and "distance" (N, 1, H, W), in units of 5 px."""

    needed = (("distance", 1),)

    def __init__(self, classes: int) -> None:
        super().__init__(classes=classes, distance=1)

    def branch_targets(
        self, instances: NDArray[np.int32], labels: NDArray[np.integer]
    ) -> dict[str, NDArray[np.generic]]:
        return {"distance": distances(instances) / SCALE}

    def branch_loss(self, maps: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        return mean_over((maps["distance"][:, 0].float() - targets["distance"]).square(), targets[VALID])

    def separate(self, maps: Mapping[str, NDArray[np.float32]]) -> NDArray[np.int32]:
        return by_distance(maps["distance"][0] * SCALE, height=PROMINENCE)
