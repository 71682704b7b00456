"""Mask R-CNN (He et al. 2017) as a baseline of PanNuke: torchvision's, over ResNet-50 with a feature pyramid.

It is trained and called as torchvision documents, by lists of images and of boxes, labels and masks; its labels are the
channel + 1, 0 is none. It needs torchvision's compiled operators (non-maximum suppression, region pooling), so it is
refused where torchvision was built for another torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from histotrain._torchvision import ensure_torchvision
from histotrain.errors import TrainingError

if TYPE_CHECKING:
    from torch import nn


def build_mask_rcnn(classes: int) -> nn.Module:
    """Network with random weights.

    Parameters
    ----------
    classes : int
        Kinds of objects, without background.

    Returns
    -------
    nn.Module
        torchvision's ``MaskRCNN``.

    Raises
    ------
    TrainingError
        If torchvision's compiled operators do not work here.
    """
    ensure_torchvision()
    from torchvision.models.detection import maskrcnn_resnet50_fpn
    from torchvision.ops import nms

    try:
        nms(torch.zeros(1, 4, device="cpu"), torch.zeros(1, device="cpu"), 0.5)
    except (RuntimeError, NotImplementedError) as error:
        raise TrainingError(
            "mask-rcnn is not available here",
            "torchvision's compiled operators do not fit the installed torch",
            "Install torchvision for this torch, or use hovernet or instance-unet.",
        ) from error
    net: nn.Module = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=classes + 1)
    return net
