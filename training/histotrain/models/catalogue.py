"""What networks there are and what each is for; without torch, for forms and listings."""

from __future__ import annotations

from typing import Literal, NamedTuple

from histotrain.errors import TrainingError

Task = Literal["regions", "patches", "regions and patches", "points", "nuclei", "clicks"]
"""What a network is trained on and predicts: tissue regions, whole patches, both; centres of nuclei, nuclei one by
one; the object under a click."""

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
    "mobilenet",
    "mobilenet_v2",
    "efficientnet-b0",
    "densenet121",
    "mit_b0",
)
"""The encoders that are listed; any other of segmentation-models-pytorch ("tu-…" for timm's) can be named too."""

ENCODER_ALIASES = {"mobilenet": "tu-mobilenetv1_100"}
"""MobileNet without a version is the first one, as for the classifiers."""

OWN_UNETS = frozenset({"resnet18", "resnet34", "resnet18-half"})

CLASSIFIERS = {
    "resnet18": "ResNet-18",
    "vgg16": "VGG-16 (134 million parameters)",
    "mobilenet": "MobileNet (2017), the smallest",
}

_DEEP_ONLY = {"vgg16", "vgg16_bn", "densenet121", "mit_b0"}
_NEEDS_DILATION = {"pan", "deeplabv3", "deeplabv3plus"}


class Family(NamedTuple):
    """Where a network of a paper is built: ``builder(*first, classes)`` in a module of this package."""

    line: str
    task: Task
    module: str
    builder: str
    first: tuple[str, ...] = ()


FAMILIES = {
    "bokhorst-unet": Family(
        "five-level U-Net for sparse annotation, Bokhorst 2019", "regions", "bokhorst", "build_bokhorst"
    ),
    "ciga-martel": Family(
        "ResNet-18 that learns from masks and from whole-patch labels, Ciga and Martel 2021",
        "regions and patches",
        "ciga_martel",
        "CigaMartel",
    ),
    "dmmn-segnet": Family(
        "SegNet of the multi-magnification study, Ho 2021", "regions", "dmmn", "build_dmmn", ("segnet",)
    ),
    "dmmn-unet": Family("U-Net of the multi-magnification study, Ho 2021", "regions", "dmmn", "build_dmmn", ("unet",)),
    "dmmn-s2": Family("U-Net on stacked magnifications, Ho 2021", "regions", "dmmn", "build_dmmn", ("s2",)),
    "dmmn-ms": Family("an encoder per magnification, one decoder, Ho 2021", "regions", "dmmn", "build_dmmn", ("ms",)),
    "dmmn-m2s": Family(
        "a U-Net per magnification, joined at the end, Ho 2021", "regions", "dmmn", "build_dmmn", ("m2s",)
    ),
    "dmmn-m3": Family(
        "a U-Net per magnification, joined at every level, Ho 2021", "regions", "dmmn", "build_dmmn", ("m3",)
    ),
    "detection-unet": Family(
        "U-Net with a Gaussian at each nucleus, PanNuke 2020", "points", "detection_unet", "DetectionUnet"
    ),
    "instance-unet": Family("U-Net with boundaries and a watershed", "nuclei", "instance_unet", "InstanceUnet"),
    "dist": Family("regression of the distance to the border, Naylor 2018", "nuclei", "dist", "Dist"),
    "hovernet": Family("horizontal and vertical offsets, HoVer-Net 2019", "nuclei", "hovernet", "HoverNet"),
    "micronet": Family("sees the image again at every level, Micro-Net 2019", "nuclei", "micronet", "MicroNet"),
    "mask-rcnn": Family(
        "boxes and masks; needs torchvision's compiled operators, Mask R-CNN 2017",
        "nuclei",
        "mask_rcnn",
        "build_mask_rcnn",
    ),
    "nuclick": Family("image, click and other clicks, after NuClick 2019", "clicks", "nuclick", "NuClick"),
}

_PURPOSES: dict[Task, str] = {
    "regions": "segments regions",
    "patches": "classifies patches",
    "regions and patches": "segments regions and classifies patches",
    "points": "finds and classifies nuclei as points",
    "nuclei": "segments and classifies nuclei one by one",
    "clicks": "segments the object under a click",
}


def list_models() -> dict[str, str]:
    """Names for `build_model`, each with one line that ends in what it is for."""
    lines = {
        f"{decoder}/{encoder}": f"{line}, {encoder} encoder"
        for decoder, line in DECODERS.items()
        for encoder in ENCODERS
        if combines(decoder, encoder)
    }
    lines["unet/resnet18-half"] = "U-Net, resnet18 encoder of half the width: a third of the time"
    lines |= {f"classify/{name}": line for name, line in CLASSIFIERS.items()}
    lines |= {name: family.line for name, family in FAMILIES.items()}
    return {name: f"{line}: {_PURPOSES[task_of(name)]}" for name, line in lines.items()}


def task_of(name: str) -> Task:
    """What a network is for.

    Parameters
    ----------
    name : str
        As for `build_model`.

    Raises
    ------
    TrainingError
        If there is no such network.
    """
    kind = name.lower().partition("/")[0]
    if kind in FAMILIES:
        return FAMILIES[kind].task
    if kind == "classify":
        return "patches"
    if kind in DECODERS:
        return "regions"
    raise unknown_network(name)


def unknown_network(name: str) -> TrainingError:
    """The error that names the networks there are."""
    hint = f"Try unet/resnet18, another decoder ({', '.join(DECODERS)}), or one of: {', '.join(FAMILIES)}."
    return TrainingError(f"there is no network {name!r}", hint=hint)


def combines(decoder: str, encoder: str) -> bool:
    """Whether segmentation-models-pytorch can join the two."""
    if decoder in _NEEDS_DILATION:
        return encoder not in _DEEP_ONLY
    return not (encoder == "mit_b0" and decoder in {"linknet", "unetplusplus"})
