"""Shi et al. (2019), "Effects of annotation granularity in deep learning models for histopathological images".

Classifiers, from section III B: ResNet-18, VGG-16 and MobileNet from ImageNet weights; windows of 32, 64 and 128 px at
20x, moved by half a window, resized to 128 px; a window's class is the only one in it, else the highest grade; a window
without one complete nucleus is left out; eight dihedral variants, each also with its colour changed; as many windows of
every grade; Adam with Nesterov momentum 0.9 (Dozat's NAdam) from 1e-3; categorical cross-entropy. The recipes cut 64
px, where the paper finds grades 1 and 2 best; ``sampling.window`` 32 and 128 are the other two. The split of 80/10/10
is the project's.

Segmenters, from section III C: U-Net, FPN and LinkNet on the picture with its mask, augmented in the same way. The
pictures are of 800 px; here they are patches of 256 px.

The paper does not say how long it trains, how large a batch is, how much the colour changes, or whether the rate falls
or weights decay: 40 epochs of 100 batches of 32 windows, the default's colour, a constant rate and no decay here. Of
the segmenters it gives no encoder, optimiser or loss either: ResNet-18 from ImageNet weights and the classifiers' rule
here, 8 patches in a batch.
"""

from __future__ import annotations

from histotrain.recipes.recipe import Recipe
from histotrain.recipes.settings import AugmentSettings, SamplingSettings
from histotrain.recipes.shipped import Group, Shipped

MPP = 0.5
"""20x."""

_AUGMENT = AugmentSettings(dihedral=True, affine=0.0, elastic=0.0, blur=0.0)

_CLASSIFIER = Recipe(
    name="granularity-resnet18",
    model="classify/resnet18",
    encoder_weights="imagenet",
    mpp=MPP,
    patch_size=128,
    batch_size=32,
    steps=4_000,
    validate_every=100,
    optimizer="nadam",
    learning_rate=1e-3,
    weight_decay=0.0,
    warmup=0,
    schedule="constant",
    gradient_clip=0.0,
    loss="cross-entropy",
    balancing="none",
    sampling=SamplingSettings(places="grid", stride=0.5, window=64, patch_label="single-or-highest", whole_object=True),
    augment=_AUGMENT,
    monitor="accuracy",
)

_SEGMENTER = _CLASSIFIER.with_changes(
    name="granularity-unet",
    model="unet/resnet18",
    patch_size=256,
    batch_size=8,
    sampling=SamplingSettings(places="grid", stride=0.5),
    monitor="mean_dice",
)

GROUP = Group(
    "Annotation granularity (Shi 2019)",
    (
        Shipped("Shi 2019, ResNet-18 classifies windows of 64 px by their highest grade", _CLASSIFIER),
        Shipped(
            "Shi 2019, VGG-16 classifies windows of 64 px by their highest grade",
            _CLASSIFIER.with_changes(name="granularity-vgg16", model="classify/vgg16"),
        ),
        Shipped(
            "Shi 2019, MobileNet classifies windows of 64 px by their highest grade: the smallest",
            _CLASSIFIER.with_changes(name="granularity-mobilenet", model="classify/mobilenet"),
        ),
        Shipped("Shi 2019, U-Net segments nuclei by grade: the best of the study", _SEGMENTER),
        Shipped(
            "Shi 2019, FPN segments nuclei by grade",
            _SEGMENTER.with_changes(name="granularity-fpn", model="fpn/resnet18"),
        ),
        Shipped(
            "Shi 2019, LinkNet segments nuclei by grade",
            _SEGMENTER.with_changes(name="granularity-linknet", model="linknet/resnet18"),
        ),
    ),
)
