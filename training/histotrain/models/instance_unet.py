"""U-Net with a boundary class, and a watershed between the insides: PanNuke's U-Net baseline (Gamper et al. 2020).

The paper adapts the U-Net of Ronneberger et al. (2015) so that it "additionally classif[ies] each nucleus" and says
no more. Decided here: a U-Net over ResNet-18; one branch for the classes, one for outside, inside and boundary (one
pixel wide, within the nucleus), in whose cross-entropy a boundary pixel counts three times; connected insides are
grown over the boundaries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from histotrain.models.nuclei import VALID, NucleusUnet, mean_over
from histotrain.models.separation import by_boundary
from histotrain.models.targets import BOUNDARY, INSIDE, parts

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

WEIGHTS = (1.0, 1.0, 3.0)


class InstanceUnet(NucleusUnet):
    """Maps "classes" (N, C, H, W) and "parts" (N, 3, H, W), both logits."""

    needed = (("parts", 3),)

    def __init__(self, classes: int) -> None:
        super().__init__(classes=classes, parts=3)

    def branch_targets(
        self, instances: NDArray[np.int32], labels: NDArray[np.integer]
    ) -> dict[str, NDArray[np.generic]]:
        return {"parts": parts(instances)}

    def branch_loss(self, maps: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        weight = torch.tensor(WEIGHTS, device=maps["parts"].device)
        entropy = F.cross_entropy(maps["parts"].float(), targets["parts"], weight, reduction="none")
        return mean_over(entropy, targets[VALID])

    def separate(self, maps: Mapping[str, NDArray[np.float32]]) -> NDArray[np.int32]:
        probabilities = torch.from_numpy(maps["parts"]).softmax(0).numpy()
        return by_boundary(probabilities[INSIDE], probabilities[BOUNDARY])
