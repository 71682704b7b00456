"""Ciga and Martel (2021), "Learning to segment images with classification labels".

From section 2.3: patches of 128 px, 20 in a batch, Adam (0.9, 0.999) at 1e-4, weighted cross-entropy per pixel and per
patch, minimised as the sum of both, Macenko's stain normalisation, 100 epochs. From appendix B: one patch centred on
each connected region, larger ones split by K-means; at least 75 % of a patch must be foreground by saturation; slides
at 1.25x (8 µm). From section 3.3: where a patch is covered by one class to 90 % or more, it stands for that class as a
whole. The paper trains 1015 images for 100 epochs; at 20 in a batch that is 51 steps, and a validation, for each epoch.

Settings: S uses masks only, S+C masks for a part of the patches and classes for the rest, S+C* every class there is.
How large the part is lies in what is annotated, not in the recipe. ``seg-from-cls`` takes every annotation in the role
in which it was drawn, as the paper does with BACH: masks as masks, cut centred, and labels of whole patches as labels.
``seg-from-cls-all`` needs no such labels: as with Gleason2019 and DigestPath2019 (section 3.3, figure 4) all tiles of
dense masks are used, those that one class covers as labelled patches, those with two classes as masks.

The weights are "proportional to the pixelwise class distributions", which read literally would favour frequent classes;
1 - share of the class here, as Ho (2021) defines it. The paper uses no augmentation that it names (none here), and does
not speak of a falling rate or of decay (none here). The reference picture of the stain is the packaged one.
"""

from __future__ import annotations

from histotrain.recipes.recipe import Recipe
from histotrain.recipes.settings import AugmentSettings, SamplingSettings, SupervisionSettings
from histotrain.recipes.shipped import Group, Shipped

EPOCHS, IMAGES, BATCH = 100, 1015, 20
EPOCH = -(-IMAGES // BATCH)
"""Steps of an epoch, rounded up."""

_SAMPLING = SamplingSettings(places="centred", patch_label="drawn", dominant=0.9, tissue="hsv", min_tissue=0.75)

_BOTH = Recipe(
    name="seg-from-cls",
    model="ciga-martel",
    encoder_weights="imagenet",
    mpp=8.0,
    patch_size=128,
    batch_size=BATCH,
    steps=EPOCHS * EPOCH,
    validate_every=EPOCH,
    optimizer="adam",
    learning_rate=1e-4,
    weight_decay=0.0,
    warmup=0,
    schedule="constant",
    gradient_clip=0.0,
    loss="cross-entropy",
    class_weights="share",
    supervision=SupervisionSettings(),
    balancing="none",
    stain="macenko",
    sampling=_SAMPLING,
    augment=AugmentSettings.off(),
)

GROUP = Group(
    "Segmentation from patch labels (Ciga 2021)",
    (
        Shipped("Ciga and Martel 2021, S+C: masks, and labels of whole patches, each as drawn", _BOTH),
        Shipped(
            "Ciga and Martel 2021, S: masks only, for comparison",
            _BOTH.with_changes(name="seg-from-cls-s", supervision=SupervisionSettings(patch=0.0)),
        ),
        Shipped(
            "Ciga and Martel 2021, S+C*: every tile of dense masks, as a labelled patch where one class covers it",
            _BOTH.with_changes(
                name="seg-from-cls-all", **{"sampling.places": "grid", "sampling.patch_label": "dominant"}
            ),
        ),
    ),
)
