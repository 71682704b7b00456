"""Networks by name.

- ``decoder/encoder``, such as ``unet/resnet18`` or ``fpn/mobilenet``: ``unet/resnet18`` and ``unet/resnet34`` are
  built here, layer for layer like those of segmentation-models-pytorch and with the same parameter names (a test holds
  them together); everything else comes from that package, whose import alone takes longer than a first useful preview
  should.
- ``classify/…``: patch classifiers, through timm.
- the networks of single papers, one module for each family, such as ``dmmn-m3`` or ``bokhorst-unet``.

Every network takes float images (N, 3, H, W) of any height and width and gives logits (N, C, H, W); classifiers give
(N, C). What it takes or gives beside that, its class says. Names can be listed without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from histotrain.errors import TrainingError
from histotrain.models.catalogue import (
    DECODERS,
    ENCODER_ALIASES,
    ENCODERS,
    FAMILIES,
    OWN_UNETS,
    Task,
    combines,
    list_models,
    task_of,
    unknown_network,
)
from histotrain.models.magnifications import magnifications_of, width_of

if TYPE_CHECKING:
    from torch import nn

__all__ = ["DECODERS", "ENCODERS", "Task", "build_model", "list_models", "magnifications_of", "task_of", "width_of"]


def build_model(name: str, classes: int) -> nn.Module:
    """Network with random weights.

    Parameters
    ----------
    name : str
        `list_models` has the usual ones. A decoder alone gets the resnet18 encoder; ``dmmn-…`` may be followed by its
        magnifications and its width, see `magnifications_of` and `width_of`.
    classes : int
        Number of output channels C, at least 1.

    Returns
    -------
    nn.Module
        Float (N, 3, H, W) in, any H and W; float logits out, (N, C, H, W), or (N, C) from classifiers.

    Raises
    ------
    TrainingError
        If there is no such network, or a package it needs is missing.
    """
    if classes < 1:
        raise TrainingError("a network needs at least one class")
    name = name.lower()
    if name in FAMILIES:
        return _of_family(name, classes)
    kind, _, detail = name.partition("/")
    if kind == "classify":
        from histotrain.models.classifiers import PatchClassifier

        return PatchClassifier(detail or "resnet18", classes)
    if kind.startswith("dmmn-") and kind in FAMILIES:
        return _of_family(kind, classes, magnifications_of(name), width_of(name))
    return _segmenter(name, kind, ENCODER_ALIASES.get(detail, detail or "resnet18"), classes)


def _of_family(name: str, classes: int, *options: object) -> nn.Module:
    family = FAMILIES[name]
    builder = getattr(importlib.import_module(f"histotrain.models.{family.module}"), family.builder)
    net: nn.Module = builder(*family.first, classes, *options)
    return net


def _segmenter(name: str, decoder: str, encoder: str, classes: int) -> nn.Module:
    from histotrain.models.anysize import AnySize

    if decoder not in DECODERS or not combines(decoder, encoder):
        raise unknown_network(name)
    if decoder == "unet" and encoder in OWN_UNETS:
        from histotrain.models.resnet_unet import LAYOUTS, STEMS, ResNetUnet

        return AnySize(ResNetUnet(LAYOUTS[encoder], classes, STEMS.get(encoder, 64)), divisor=32)
    from histotrain.models.smp import build_smp

    net, divisor = build_smp(decoder, encoder, classes)
    return AnySize(net, divisor=divisor)
