"""The recipe model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Balance = Literal["none", "instance", "mini-batch"]


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


class Recipe(BaseModel):
    """Every choice of a training.

    Examples
    --------
    >>> Recipe.named("default").model
    'unet/resnet18'
    >>> Recipe(name="mine", steps=20, patch_size=64).steps
    20
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(default="custom", description="What the recipe is called.")
    model: str = Field(
        default="unet/resnet18", description="Network, decoder/encoder; see histotrain.models.list_models()."
    )
    encoder_weights: str | None = Field(
        default=None,
        description='Encoder\'s first weights: nothing, "imagenet" (downloaded once), or a .safetensors file.',
    )
    mpp: float = Field(default=0.5, gt=0.0, description="Size of a pixel the network sees, µm.")
    patch_size: int = Field(default=192, ge=16, le=4096, description="Side of a training patch, pixels.")
    batch_size: int = Field(default=6, ge=1, description="Patches in one step.")
    steps: int = Field(default=600, ge=1, description="Steps of the whole training.")
    optimizer: Literal["adamw", "adam", "sgd"] = Field(default="adamw", description="Update rule.")
    learning_rate: float = Field(default=1e-3, gt=0.0, description="Largest step size.")
    weight_decay: float = Field(default=1e-2, ge=0.0, description="Pull of the weights towards 0.")
    momentum: float = Field(default=0.9, ge=0.0, lt=1.0, description="Momentum, for sgd.")
    schedule: Literal["constant", "cosine", "plateau"] = Field(
        default="cosine",
        description="Course of the learning rate; plateau multiplies it when validation stops gaining.",
    )
    warmup: int = Field(default=10, ge=0, description="Steps in which the learning rate rises from almost 0.")
    plateau_patience: int = Field(default=10, ge=1, description="Validations without gain before a plateau.")
    plateau_factor: float = Field(default=0.5, gt=0.0, lt=1.0, description="What a plateau multiplies the rate with.")
    loss: Literal["cross-entropy", "cross-entropy+dice"] = Field(
        default="cross-entropy", description="What is minimised."
    )
    balancing: Balance = Field(default="mini-batch", description="How the classes share the loss.")
    gradient_clip: float = Field(default=5.0, ge=0.0, description="Largest norm of a gradient; 0 does not clip.")
    augment: AugmentSettings = Field(default_factory=AugmentSettings, description="Variation of the patches.")
    validate_every: int = Field(default=50, ge=1, description="Steps between two validations.")
    patience: int = Field(default=0, ge=0, description="Validations without gain after which training ends; 0 never.")
    precision: Literal["auto", "float32", "bf16"] = Field(default="auto", description="Arithmetic of the network.")
    seed: int = Field(default=0, ge=0, description="Start of all random choices.")

    @classmethod
    def named(cls, name: str) -> Recipe:
        """One of the recipes that ship; see `list_recipes`.

        Raises
        ------
        TrainingError
            If there is none of that name.
        """
        from histotrain.recipes.named import named_recipe

        return named_recipe(name)

    def with_changes(self, **changes: object) -> Recipe:
        """Validated copy with other values."""
        return type(self).model_validate(self.model_dump() | changes)
