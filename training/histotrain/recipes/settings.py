"""The parts of a recipe that have several choices of their own."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Weight = Annotated[float, Field(ge=0.0)]


class AugmentSettings(BaseModel):
    """How a patch is varied before the network sees it.

    Geometry is applied to images and labels alike; colour to images only. Ranges are half-widths: ``brightness=0.1``
    draws from -0.1 … 0.1. A probability or range of 0 turns the variation off.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dihedral: bool = Field(default=True, description="The eight flips and quarter turns.")
    affine: Fraction = Field(default=0.0, description="Probability of a small rotation and scaling.")
    rotation: float = Field(default=15.0, ge=0.0, le=180.0, description="Largest angle of that rotation, degrees.")
    scale: float = Field(default=0.15, ge=0.0, lt=1.0, description="Largest relative change of size.")
    elastic: Fraction = Field(default=0.0, description="Probability of an elastic deformation.")
    elastic_sigma: float = Field(
        default=4.0, ge=0.0, description="Standard deviation of its grid displacements, pixels."
    )
    elastic_grid: int = Field(default=17, ge=4, description="Nodes of its grid along each side.")
    stain: float = Field(
        default=0.15, ge=0.0, le=1.0, description="Change of each stain's amount, relative, in optical density."
    )
    gamma: float = Field(default=0.15, ge=0.0, lt=1.0, description="Change of the exponent.")
    brightness: float = Field(default=0.08, ge=0.0, lt=1.0, description="Change of brightness, in optical density.")
    contrast: float = Field(default=0.1, ge=0.0, lt=1.0, description="Relative change of contrast.")
    blur: Fraction = Field(default=0.1, description="Probability of a Gaussian blur.")
    blur_sigma: float = Field(
        default=1.2, gt=0.0, le=5.0, description="Largest standard deviation of the blur, pixels."
    )

    @classmethod
    def off(cls) -> AugmentSettings:
        """No variation at all."""
        return cls(dihedral=False, affine=0, elastic=0, stain=0, gamma=0, brightness=0, contrast=0, blur=0)


class SamplingSettings(BaseModel):
    """Which patches are cut for training, and what they say as a whole.

    ``places`` "annotated" draws a class and then one of its labelled pixels, anywhere; "grid" takes the windows of a
    regular grid (Ho et al. 2021; with a ``stride`` of a half, the granularity study); "centred" puts one patch on each
    connected region and splits those larger than a patch by K-means (Ciga and Martel 2021, appendix B.2).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    places: Literal["annotated", "grid", "centred"] = Field(default="annotated", description="Where patches lie.")
    stride: float = Field(default=1.0, gt=0.0, le=1.0, description="Step of the grid, in patches.")
    window: int | None = Field(
        default=None, ge=8, le=4096, description="Side that is cut, pixels; resampled to the patch size."
    )
    min_annotated: Fraction = Field(default=0.0, description="Share of labelled pixels that a patch must exceed.")
    patch_label: Literal["drawn", "single-or-highest", "dominant"] = Field(
        default="drawn",
        description="A patch's class: as annotated; the only one in it, else the last in the class order; the one that "
        "covers at least the dominant share.",
    )
    dominant: Fraction = Field(default=0.9, description="Share of a patch that makes a class dominant.")
    whole_object: bool = Field(default=False, description="Leave out patches without one whole object.")
    sparse_per_dense: float | None = Field(
        default=None, gt=0.0, description="Sparsely annotated patches for each dense one; nothing: as they come."
    )
    multiply: bool = Field(
        default=False,
        description="Elastic copies that even out the classes; a patch counts for its last in the class order.",
    )
    tissue: Literal["none", "otsu", "hsv"] = Field(default="none", description="How patches of glass are recognised.")
    min_tissue: Fraction = Field(default=0.75, description="Share of tissue that a patch needs where that is asked.")
    disagreement: Literal["unlabelled", "shares"] = Field(
        default="unlabelled",
        description="Where annotators name different classes: nothing is learnt, or the share of each.",
    )

    def pixel_scale(self, patch_size: int) -> float:
        """Size of a pixel that the network sees, relative to the recipe's ``mpp``: a window is resampled to a patch."""
        return 1.0 if self.window is None else self.window / patch_size


class SupervisionSettings(BaseModel):
    """Weight of each kind of annotation's own term in the loss; 0 leaves it out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pixel: Weight = Field(default=1.0, description="Outlines and painted masks, and the rest of exhaustive regions.")
    sparse: Weight = Field(default=1.0, description="Scribbles.")
    ellipse: Weight = Field(default=1.0, description="Ellipses.")
    box: Weight = Field(default=1.0, description="Boxes.")
    point: Weight = Field(default=1.0, description="Clicks.")
    patch: Weight = Field(default=1.0, description="Classes of whole patches.")
