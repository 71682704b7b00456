"""Networks by name: ``decoder/encoder``, such as ``unet/resnet18`` or ``fpn/mobilenet_v2``.

Every network takes float images (N, 3, H, W) of any height and width and gives logits (N, C, H, W). ``unet/resnet18``
and ``unet/resnet34`` are built here, layer for layer like those of segmentation-models-pytorch and with the same
parameter names (a test holds them together); everything else comes from that package, whose import alone takes longer
than a first useful preview should.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from histotrain.errors import TrainingError
from histotrain.models.anysize import AnySize
from histotrain.models.resnet_unet import LAYOUTS, ResNetUnet

if TYPE_CHECKING:
    from torch import nn

__all__ = ["AnySize", "build_model", "list_models"]

DECODERS = {
    "unet": "U-Net",
    "unetplusplus": "U-Net++, nested skip connections",
    "fpn": "feature pyramid network",
    "linknet": "LinkNet, skips by addition: the fastest here",
    "manet": "MA-Net, attention over scales",
    "pan": "pyramid attention network",
    "pspnet": "PSPNet, pooled context",
    "deeplabv3": "DeepLabV3, dilated context",
    "deeplabv3plus": "DeepLabV3+, dilated context with a decoder",
    "upernet": "UPerNet, pooled context and a pyramid",
}
ENCODERS = (
    "resnet18",
    "resnet34",
    "resnet50",
    "vgg16",
    "vgg16_bn",
    "mobilenet_v2",
    "efficientnet-b0",
    "densenet121",
    "mit_b0",
)
"""The encoders that are listed; any other of segmentation-models-pytorch ("tu-…" for timm's) can be named too."""

_DEEP_ONLY = {"vgg16", "vgg16_bn", "densenet121", "mit_b0"}
_NEEDS_DILATION = {"pan", "deeplabv3", "deeplabv3plus"}


def list_models() -> dict[str, str]:
    """Names for `build_model`, each with one line."""
    return {
        f"{decoder}/{encoder}": f"{line}, {encoder} encoder"
        for decoder, line in DECODERS.items()
        for encoder in ENCODERS
        if combines(decoder, encoder)
    }


def combines(decoder: str, encoder: str) -> bool:
    """Whether segmentation-models-pytorch can join the two."""
    if decoder in _NEEDS_DILATION:
        return encoder not in _DEEP_ONLY
    return not (encoder == "mit_b0" and decoder in {"linknet", "unetplusplus"})


def build_model(name: str, classes: int) -> nn.Module:
    """Network with random weights.

    Parameters
    ----------
    name : str
        ``decoder/encoder``; `list_models` has the usual ones. A decoder alone gets the resnet18 encoder.
    classes : int
        Number of output channels C, at least 1.

    Returns
    -------
    nn.Module
        Float (N, 3, H, W) in, float logits (N, C, H, W) out, any H and W.

    Raises
    ------
    TrainingError
        If there is no such network.
    """
    if classes < 1:
        raise TrainingError("a network needs at least one class")
    decoder, _, encoder = name.lower().partition("/")
    encoder = encoder or "resnet18"
    if decoder not in DECODERS or not combines(decoder, encoder):
        raise TrainingError(
            f"there is no network {name!r}", hint=f"Try unet/resnet18, or another decoder: {', '.join(DECODERS)}."
        )
    if decoder == "unet" and encoder in LAYOUTS:
        return AnySize(ResNetUnet(LAYOUTS[encoder], classes), divisor=32)
    from histotrain.models.smp import build_smp

    net, divisor = build_smp(decoder, encoder, classes)
    return AnySize(net, divisor=divisor)
