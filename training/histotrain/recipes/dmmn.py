"""Ho et al. (2021), "Deep multi-magnification networks for multi-class breast cancer image segmentation".

From sections 2.2 to 2.5: target patches of 256 px at 20x (0.5 µm), with 10x and 5x around the same centre; kept where
more than 1 % is annotated; windows side by side; patches of rare classes multiplied by elastic deformation (17 x 17
nodes, σ = 4 px), a patch counting for its highest class; cross-entropy weighted by 1 - share of the class (equation 2);
SGD at 5e-5, momentum 0.99, decay 1e-4; 20 epochs; the weights of the best mean IoU are kept; rotation, flips,
brightness, contrast and colour are varied.

The paper has 115,844 patches after balancing (table 1) and does not say how many are in a batch: 8 here, so an epoch is
14,481 steps and ends in a validation. It says neither how strongly the augmentation varies nor whether the rate falls
(no) or gradients are clipped (no).
"""

from __future__ import annotations

from histotrain.recipes.recipe import Recipe
from histotrain.recipes.settings import AugmentSettings, SamplingSettings
from histotrain.recipes.shipped import Group, Shipped

EPOCHS, PATCHES, BATCH = 20, 115_844, 8
EPOCH = -(-PATCHES // BATCH)
"""Steps of an epoch, rounded up."""

_M3 = Recipe(
    name="dmmn-m3",
    model="dmmn-m3",
    mpp=0.5,
    patch_size=256,
    batch_size=BATCH,
    steps=EPOCHS * EPOCH,
    validate_every=EPOCH,
    optimizer="sgd",
    learning_rate=5e-5,
    momentum=0.99,
    weight_decay=1e-4,
    warmup=0,
    schedule="constant",
    gradient_clip=0.0,
    loss="cross-entropy",
    class_weights="share",
    balancing="none",
    sampling=SamplingSettings(places="grid", stride=1.0, min_annotated=0.01, multiply=True),
    augment=AugmentSettings(
        dihedral=True,
        affine=0.5,
        rotation=180.0,
        scale=0.0,
        elastic=0.0,
        elastic_sigma=4.0,
        elastic_grid=17,
        gamma=0.0,
        blur=0.0,
    ),
)

_LINES = {
    "dmmn-segnet": "Ho 2021, SegNet at 20x alone, for comparison",
    "dmmn-unet": "Ho 2021, U-Net at 20x alone, for comparison",
    "dmmn-s2": "Ho 2021, single encoder and decoder on stacked magnifications",
    "dmmn-ms": "Ho 2021, an encoder for each magnification, one decoder",
    "dmmn-m2s": "Ho 2021, an encoder and a decoder for each magnification, joined at the end",
    "dmmn-m3": "Ho 2021, encoders and decoders joined at every level: the best of the study",
}

GROUP = Group(
    "Several magnifications (Ho 2021)",
    tuple(Shipped(line, _M3.with_changes(name=name, model=name)) for name, line in _LINES.items()),
)
