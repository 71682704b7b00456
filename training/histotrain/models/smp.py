"""Networks of segmentation-models-pytorch."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from histotrain._torchvision import ensure_torchvision
from histotrain.errors import TrainingError

if TYPE_CHECKING:
    from torch import nn

_DIVISORS = {"pan": 128}  # its attention halves the deepest map three times more


def build_smp(decoder: str, encoder: str, classes: int) -> tuple[nn.Module, int]:
    """Network with random weights, and the number its input's sides must be multiples of.

    Raises
    ------
    TrainingError
        If the package is missing or does not know the encoder.
    """
    ensure_torchvision()
    try:
        import segmentation_models_pytorch as smp
    except ImportError as error:
        raise TrainingError(
            f"the network {decoder}/{encoder} is not available",
            "segmentation-models-pytorch is not installed",
            'Install "napari-histoanno[train]", or use unet/resnet18.',
        ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecated spellings of encoders the user did not choose
            net = smp.create_model(decoder, encoder_name=encoder, encoder_weights=None, classes=classes)
    except (KeyError, ValueError, RuntimeError, NotImplementedError) as error:
        raise TrainingError(
            f"the network {decoder}/{encoder} cannot be built", str(error), "Choose another encoder, such as resnet18."
        ) from error
    return net, _DIVISORS.get(decoder, 32)
