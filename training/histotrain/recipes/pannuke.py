"""Gamper et al. (2020), "PanNuke dataset extension, insights and baselines".

From the paper: pictures of 256 px at 40x (0.25 µm), and the baselines of section III A: DIST, Mask R-CNN, U-Net,
Micro-Net and HoVer-Net, which find nuclei one by one and classify them, and a U-Net that learns a Gaussian at each
centroid. NuClick turned verified dots into masks (section II A).

The paper says nothing of how they were trained: no optimiser, rate, batch, epochs or augmentation. Here: Adam at 1e-4,
8 pictures in a batch, 50 epochs of 325 batches (the published folds have about 2,600 pictures each, which is not in the
paper), the rate along half a cosine, eight flips and turns and changed stain.
"""

from __future__ import annotations

from histotrain.recipes.recipe import Recipe
from histotrain.recipes.settings import AugmentSettings
from histotrain.recipes.shipped import Group, Shipped

EPOCHS, EPOCH = 50, 325

_HOVERNET = Recipe(
    name="pannuke-hovernet",
    model="hovernet",
    mpp=0.25,
    patch_size=256,
    batch_size=8,
    steps=EPOCHS * EPOCH,
    validate_every=EPOCH,
    optimizer="adam",
    learning_rate=1e-4,
    weight_decay=0.0,
    schedule="cosine",
    balancing="none",
    monitor="mpq",
    augment=AugmentSettings(),
)


def _other(name: str, model: str, monitor: str = "mpq") -> Recipe:
    return _HOVERNET.with_changes(name=f"pannuke-{name}", model=model, monitor=monitor)


GROUP = Group(
    "Nuclei (PanNuke 2020)",
    (
        Shipped("Gamper 2020, HoVer-Net outlines and classifies nuclei: the best of the baselines", _HOVERNET),
        Shipped("Gamper 2020, Micro-Net outlines and classifies nuclei", _other("micronet", "micronet")),
        Shipped("Gamper 2020, DIST outlines nuclei by their distance map", _other("dist", "dist")),
        Shipped("Gamper 2020, U-Net outlines and classifies nuclei", _other("unet", "instance-unet")),
        Shipped(
            "Gamper 2020, U-Net finds nuclei as dots, one Gaussian each",
            _other("detection", "detection-unet", "detection_f1"),
        ),
        Shipped(
            "Gamper 2020, Mask R-CNN outlines nuclei; needs torchvision's compiled operators",
            _other("mask-rcnn", "mask-rcnn"),
        ),
        Shipped("Gamper 2020, NuClick makes a mask of every clicked nucleus", _other("nuclick", "nuclick", "iou")),
    ),
)
