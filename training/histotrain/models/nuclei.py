"""What all networks for nuclei share: several maps at once, a loss on them, and a way to single nuclei.

PanNuke (Gamper et al. 2020, section "Benchmarking") compares networks that were made to tell nuclei apart, each with a
branch that classifies pixels. Here that branch is what ``forward`` gives, so every one of them also works as an
ordinary segmenter of C classes, in trainings and previews that know nothing of nuclei. `NucleusNetwork.maps` gives
everything; `NucleusNetwork.targets` makes what the maps should be, and `NucleusNetwork.separate` makes nuclei of them.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from histotrain.models.convolutions import pad_around
from histotrain.models.resnet_unet import DECODER_WIDTHS, LAYOUTS, ResNetEncoder, UnetDecoder, initialise_unet
from histotrain.models.separation import classes_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

CLASSES = "classes"
VALID = "valid"


@dataclass(frozen=True, slots=True)
class Nuclei:
    """Nuclei found in an image.

    Parameters
    ----------
    instances : int32, shape (H, W)
        1, 2 … n, 0 for none.
    classes : int64, shape (n,)
        Channel of each nucleus.
    scores : float64, shape (n,)
        Mean probability of that class over the nucleus.
    """

    instances: NDArray[np.int32]
    classes: NDArray[np.int64]
    scores: NDArray[np.float64]


class NucleusNetwork(nn.Module):
    """Float images (N, 3, H, W) of any size in; class logits (N, C, H, W) out, and more maps from `maps`.

    A network fills in `branches`, `branch_targets`, `branch_loss` and `separate`.
    """

    divisor = 32
    """Images are padded to multiples of this before `branches` sees them."""

    needed: tuple[tuple[str, int], ...] = ()
    """Names and channels of the maps that `separate` takes."""

    vectors: tuple[str, ...] = ()
    """Those of them that are vectors (x, y), which turn with the image."""

    def forward(self, images: Tensor) -> Tensor:
        return self.maps(images)[CLASSES]

    def maps(self, images: Tensor) -> dict[str, Tensor]:
        """All maps (N, ·, H, W) by name, as the network gives them: "classes" are logits of the C classes."""
        height, width = images.shape[-2:]
        padded, top, left = pad_around(images, self.divisor)
        return {k: m[..., top : top + height, left : left + width] for k, m in self.branches(padded).items()}

    def targets(
        self, instances: NDArray[np.int32], labels: NDArray[np.integer], valid: NDArray[np.bool_] | None = None
    ) -> dict[str, NDArray[np.generic]]:
        """What the maps of one image should be.

        Parameters
        ----------
        instances : int32, shape (H, W)
            Number of each pixel's nucleus, 0 for none.
        labels : int, shape (H, W)
            Channel + 1 of each pixel's class; 0 is unlabelled.
        valid : bool, shape (H, W)
            Where nuclei are annotated exhaustively; by default everywhere.

        Returns
        -------
        dict
            "classes" int64 (H, W), "valid" bool (H, W) and the branch's own.
        """
        if valid is None:
            valid = np.ones(instances.shape, bool)
        own = self.branch_targets(instances, labels)
        return {CLASSES: labels.astype(np.int64), VALID: valid, **own}

    def loss(self, maps: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        """Scalar from `maps` and stacked `targets`: cross-entropy of the labelled pixels, and the branch's own loss."""
        labels = targets[CLASSES]
        entropy = F.cross_entropy(maps[CLASSES].float(), labels - 1, ignore_index=-1, reduction="sum")
        return entropy / (labels != 0).sum().clamp(min=1) + self.branch_loss(maps, targets)

    @torch.no_grad()
    def nuclei(self, images: Tensor) -> list[Nuclei]:
        """The nuclei in each of float images (N, 3, H, W); the network must be in evaluation mode."""
        arrays = {name: maps.float().cpu() for name, maps in self.maps(images).items()}
        probabilities = arrays[CLASSES].softmax(1).numpy()
        found: list[Nuclei] = []
        for index in range(len(images)):
            instances = self.separate({name: maps[index].numpy() for name, maps in arrays.items()})
            found.append(Nuclei(instances, *classes_of(instances, probabilities[index])))
        return found

    @torch.no_grad()
    def shown(self, images: Tensor) -> Tensor:
        """Class probabilities float32 (N, C, H, W) of images (N, 3, H, W), 0 where there is no nucleus."""
        arrays = {name: maps.float().cpu() for name, maps in self.maps(images).items()}
        single = [{name: maps[i].numpy() for name, maps in arrays.items()} for i in range(len(images))]
        nuclei = torch.from_numpy(np.stack([self.separate(maps) > 0 for maps in single]))
        return arrays[CLASSES].softmax(1) * nuclei[:, None]

    @abstractmethod
    def branches(self, images: Tensor) -> dict[str, Tensor]:
        """Maps by name, for images whose sides are multiples of the divisor."""

    @abstractmethod
    def branch_targets(
        self, instances: NDArray[np.int32], labels: NDArray[np.integer]
    ) -> dict[str, NDArray[np.generic]]:
        """The targets of every map but the classes."""

    @abstractmethod
    def branch_loss(self, maps: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        """The loss of every map but the classes."""

    @abstractmethod
    def separate(self, maps: Mapping[str, NDArray[np.float32]]) -> NDArray[np.int32]:
        """Object numbers (H, W), without gaps, from the maps (·, H, W) of one image."""


class NucleusUnet(NucleusNetwork):
    """U-Net over ResNet-18 with one 3x3 convolution for each branch.

    Parameters
    ----------
    **channels : int
        Channels of each branch, by name.
    """

    def __init__(self, **channels: int) -> None:
        super().__init__()
        self.encoder = ResNetEncoder(LAYOUTS["resnet18"])
        self.decoder = UnetDecoder()
        self.heads = nn.ModuleDict({n: nn.Conv2d(DECODER_WIDTHS[-1], c, 3, padding=1) for n, c in channels.items()})
        initialise_unet(self.encoder, self.decoder, self.heads)

    def branches(self, images: Tensor) -> dict[str, Tensor]:
        features = self.decoder(self.encoder(images))
        return {name: head(features) for name, head in self.heads.items()}


def mean_over(values: Tensor, valid: Tensor) -> Tensor:
    """Mean of values (N, H, W) over the valid pixels; 0 if there are none."""
    return (values * valid).sum() / valid.sum().clamp(min=1)


def dice_loss(probabilities: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """1 - Dice of maps (N, H, W) over all valid pixels together."""
    probabilities, truth = probabilities * valid, truth * valid
    return 1 - (2 * (probabilities * truth).sum() + 1) / (probabilities.sum() + truth.sum() + 1)
