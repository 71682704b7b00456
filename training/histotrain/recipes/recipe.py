"""The recipe model."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from histotrain.recipes.settings import AugmentSettings, SamplingSettings, SupervisionSettings

Balance = Literal["none", "instance", "mini-batch"]
Loss = Literal["cross-entropy", "cross-entropy+dice", "focal", "dice", "tversky", "lovasz"]
Stain = Literal["none", "macenko", "reinhard", "ruifrok", "vahadane"]


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
    optimizer: Literal["adamw", "adam", "nadam", "sgd"] = Field(default="adamw", description="Update rule.")
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
    loss: Loss = Field(default="cross-entropy", description="What is minimised.")
    focal_gamma: float = Field(default=2.0, ge=0.0, description="How little easy pixels count, for focal.")
    tversky_alpha: float = Field(
        default=0.5, ge=0.0, le=1.0, description="What a false positive costs, for tversky; a miss costs the rest."
    )
    class_weights: Literal["none", "share"] = Field(
        default="none", description="share: 1 - share of the class among the labelled pixels (Ho 2021, equation 2)."
    )
    supervision: SupervisionSettings | None = Field(
        default=None, description="A loss term for each kind of annotation; nothing: one term for all pixels."
    )
    balancing: Balance = Field(default="mini-batch", description="How the classes share the loss.")
    gradient_clip: float = Field(default=5.0, ge=0.0, description="Largest norm of a gradient; 0 does not clip.")
    accumulate: int = Field(default=1, ge=1, description="Batches whose gradients make one step.")
    stain: Stain = Field(default="none", description="Stain normalisation, fitted once for each slide.")
    sampling: SamplingSettings = Field(default_factory=SamplingSettings, description="Which patches are cut.")
    augment: AugmentSettings = Field(default_factory=AugmentSettings, description="Variation of the patches.")
    validate_every: int = Field(default=50, ge=1, description="Steps between two validations.")
    monitor: str = Field(default="mean_iou", description="Validation metric by which weights are better than others.")
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
        """Validated copy with other values; ``**{"sampling.window": 32}`` changes one value of a part.

        Raises
        ------
        pydantic.ValidationError
            If a value does not fit, or there is no such value.

        Examples
        --------
        >>> Recipe().with_changes(steps=20, **{"sampling.window": 32}).sampling.window
        32
        """
        values = self.model_dump()
        for name, value in changes.items():
            part, dot, inner = name.partition(".")
            if dot:
                values[part] = {**_as_dict(values.get(part)), inner: value}
            else:
                values[name] = value
        return type(self).model_validate(values)


def _as_dict(part: object) -> dict[str, object]:
    """Values of a part, which may have been replaced as a whole; none if it has not been chosen."""
    if isinstance(part, BaseModel):
        return part.model_dump()
    return part if isinstance(part, dict) else {}
