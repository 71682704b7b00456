"""Bokhorst et al. (2019), "Learning from sparsely annotated data for semantic segmentation in histopathology images".

From section 3: five-level U-Net, patches of 384 px at 1 µm, 8 in a mini-batch, at most 300 epochs of 750 iterations,
learning rate 1e-5 halved after every 10 epochs without a gain in validation, categorical cross-entropy over the
annotated pixels, flips, rotation, elastic deformation, blurring, random gamma, colour and contrast. An epoch became 750
steps and a validation. Sparsely and densely annotated patches are mixed 4:1, as in the paper's combined training; where
a project has only one kind, that makes no difference and the paper's "sparse" or "dense" training is what runs.

The paper does not say which optimiser has this learning rate (Adam here), how a gain is measured (mean Dice here, the
measure of its results), how patches are drawn (a class, then one of its pixels, here), how strong the augmentation is
and whether gradients are clipped or weights decay (no).
"""

from __future__ import annotations

from histotrain.recipes.recipe import Recipe
from histotrain.recipes.settings import AugmentSettings, SamplingSettings
from histotrain.recipes.shipped import Group, Shipped

EPOCHS, ITERATIONS = 300, 750

_SPARSE = Recipe(
    name="sparse",
    model="bokhorst-unet",
    mpp=1.0,
    patch_size=384,
    batch_size=8,
    steps=EPOCHS * ITERATIONS,
    validate_every=ITERATIONS,
    optimizer="adam",
    learning_rate=1e-5,
    weight_decay=0.0,
    warmup=0,
    schedule="plateau",
    plateau_patience=10,
    plateau_factor=0.5,
    gradient_clip=0.0,
    balancing="mini-batch",
    monitor="mean_dice",
    sampling=SamplingSettings(sparse_per_dense=4.0),
    augment=AugmentSettings(
        affine=0.5, rotation=180.0, scale=0.0, elastic=0.5, blur=0.25, gamma=0.25, brightness=0.0, contrast=0.2
    ),
)

GROUP = Group(
    "Sparse annotation (Bokhorst 2019)",
    (
        Shipped("Bokhorst 2019, sparse annotation, mini-batch balancing (equation 2)", _SPARSE),
        Shipped(
            "Bokhorst 2019, instance balancing (equation 1): best for sparse with some dense annotation",
            _SPARSE.with_changes(name="sparse-instance", balancing="instance"),
        ),
        Shipped(
            "Bokhorst 2019, mask of valid pixels only, no balancing",
            _SPARSE.with_changes(name="sparse-none", balancing="none"),
        ),
    ),
)
