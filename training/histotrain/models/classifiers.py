"""Patch classifiers ``classify/resnet18``, ``classify/vgg16``, ``classify/mobilenet``, and any other of timm.

The three are those of the study on granularity (section "Model selection and training"): ResNet18, VGG16 and
MobileNet on patches resized to 128 px. Its MobileNet is the one of 2017, depthwise separable convolutions in 28 layers:
timm's ``mobilenetv1_100``. Decided where the paper is silent: VGG16 has the dropout of its authors (0.5 in the fully
connected layers) and no batch norm.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from histotrain._torchvision import ensure_torchvision
from histotrain.errors import TrainingError
from histotrain.models.convolutions import pad_up_to

if TYPE_CHECKING:
    from collections.abc import Mapping

PAPER = {"resnet18": "resnet18", "vgg16": "vgg16", "mobilenet": "mobilenetv1_100"}
"""The study's names and timm's."""

_OPTIONS: dict[str, dict[str, float]] = {"vgg16": {"drop_rate": 0.5}}

SMALLEST = 32
"""Sides that five halvings leave a pixel of; smaller images are padded."""


class PatchClassifier(nn.Module):
    """A network of timm: float images (N, 3, H, W) of any size in, logits (N, C) out.

    Parameters
    ----------
    architecture : str
        "resnet18", "vgg16", "mobilenet", or a name of timm's.
    classes : int
        C.

    Raises
    ------
    TrainingError
        If timm is missing or has no such network.
    """

    def __init__(self, architecture: str, classes: int) -> None:
        super().__init__()
        self.net = _create(architecture, num_classes=classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.net(pad_up_to(images, SMALLEST))
        return logits


def imagenet_state(architecture: str) -> Mapping[str, Tensor]:
    """Parameters trained on ImageNet, from timm's cache or its hub; raises what that raises without a connection."""
    state: Mapping[str, Tensor] = _create(architecture, pretrained=True).state_dict()
    return state


def _create(architecture: str, **options: Any) -> nn.Module:
    ensure_torchvision()
    try:
        import timm
    except ImportError as error:
        raise TrainingError(
            f"the network classify/{architecture} is not available",
            "timm is not installed",
            'Install "napari-histoanno[train]".',
        ) from error
    name = PAPER.get(architecture, architecture)
    if not timm.is_model(name):
        raise TrainingError(
            f"there is no network classify/{architecture}", hint=f"Try {', '.join(PAPER)}, or a name of timm's."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net: nn.Module = timm.create_model(name, **_OPTIONS.get(architecture, {}), **options)
    return net
