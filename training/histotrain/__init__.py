"""Learning from annotated histology: patches in, a model and its predictions out.

The package knows numpy and torch and nothing of slide files, projects or screens. Training and prediction are
generators: they yield what happened, and whoever drives them prints it, plots it or stops.

``import histotrain`` must stay free of torch, because the process that draws the screen imports it for `Recipe`, the
events and `PatchSet`; the names that need torch or a compiler are therefore resolved on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from histotrain.data import PatchSet, PatchSource
from histotrain.errors import TrainingError
from histotrain.events import Event, Finished, Notice, Progressed, Saved, Started, Status, Validated, reduce
from histotrain.recipes import AugmentSettings, Recipe, list_recipes

if TYPE_CHECKING:
    from histotrain.checkpoint import LoadedModel, load_model, save_model
    from histotrain.loop import Trainer, train
    from histotrain.prediction import PredictedBlock, PredictOptions, predict, predict_instances
    from histotrain.stain import StainLook, StainNormaliser

_LAZY = {
    "LoadedModel": "histotrain.checkpoint",
    "load_model": "histotrain.checkpoint",
    "save_model": "histotrain.checkpoint",
    "Trainer": "histotrain.loop",
    "train": "histotrain.loop",
    "PredictedBlock": "histotrain.prediction",
    "PredictOptions": "histotrain.prediction",
    "predict": "histotrain.prediction",
    "predict_instances": "histotrain.prediction",
    "StainLook": "histotrain.stain",
    "StainNormaliser": "histotrain.stain",
}

__all__ = [
    "AugmentSettings",
    "Event",
    "Finished",
    "LoadedModel",
    "Notice",
    "PatchSet",
    "PatchSource",
    "PredictOptions",
    "PredictedBlock",
    "Progressed",
    "Recipe",
    "Saved",
    "StainLook",
    "StainNormaliser",
    "Started",
    "Status",
    "Trainer",
    "TrainingError",
    "Validated",
    "list_recipes",
    "load_model",
    "predict",
    "predict_instances",
    "reduce",
    "save_model",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
