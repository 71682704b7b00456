"""What is known of a saved model beside its weights: readable without torch."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from histotrain.classes import ClassList
from histotrain.errors import TrainingError
from histotrain.recipes import Recipe

CARD_FILE = "model.json"
WEIGHTS_FILE = "model.safetensors"
VERSION = 1


class ModelCard(BaseModel):
    """The JSON beside the weights. Channel c stands for ``classes[c]``, which is ``class_ids[c]`` in masks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = VERSION
    recipe: Recipe
    classes: tuple[str, ...]
    class_ids: tuple[int, ...]
    mpp: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    step: int = 0
    metrics: dict[str, float | None] = Field(default_factory=dict)
    scheme: dict[str, Any] = Field(default_factory=dict)
    lineage: dict[str, Any] = Field(default_factory=dict)
    stain: dict[str, Any] | None = Field(
        default=None, description="Stain normalisation of what the network sees: its method and target look."
    )

    @property
    def class_list(self) -> ClassList:
        return ClassList(self.classes, self.class_ids)

    def to_json(self) -> str:
        values = self.model_dump(mode="json")
        values["metrics"] = {k: None if v is None or math.isnan(v) else v for k, v in self.metrics.items()}
        return json.dumps(values, indent=1, sort_keys=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str, *, origin: str) -> ModelCard:
        """Card written by `to_json`; raises TrainingError naming the origin."""
        hint = "Choose another model, or train it again."
        try:
            entries = json.loads(text)
            if int(entries.get("version", 0)) > VERSION:
                raise TrainingError(
                    f"cannot use the model {origin}", "a newer version wrote it", "Update this software."
                )
            card = cls.model_validate(entries)
        except (ValueError, AttributeError, TypeError) as error:
            why = (
                f"{error.error_count()} of its entries are wrong"
                if isinstance(error, ValidationError)
                else "not a model card"
            )
            raise TrainingError(f"cannot use the model {origin}", why, hint) from error
        metrics = {k: math.nan if v is None else v for k, v in card.metrics.items()}
        return card.model_copy(update={"metrics": metrics})


def read_card(folder: str | Path) -> ModelCard:
    """Card of the model in a folder; raises TrainingError if there is none."""
    path = Path(folder) / CARD_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise TrainingError(
            f"there is no model in {folder}", str(error), "Choose the folder of a model run."
        ) from error
    return ModelCard.from_json(text, origin=str(folder))
