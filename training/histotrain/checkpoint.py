"""Models and interrupted trainings on disk.

A model is ``model.safetensors`` with ``model.json`` beside it. The card is kept inside the weights file as well, and
that copy counts when a model is loaded: one file is replaced atomically, two are not. Nothing is ever unpickled, so a
model from a stranger can be wrong but cannot run code.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from histotrain.card import CARD_FILE, WEIGHTS_FILE, ModelCard
from histotrain.devices import Device, choose_device
from histotrain.errors import TrainingError
from histotrain.fusion import for_prediction
from histotrain.inference import predict_image, probabilities_of
from histotrain.models import build_model

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from histotrain.recipes import Recipe

STATE_FILE = "training.safetensors"


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model ready to predict, its layers folded for speed; see `load_model`."""

    net: nn.Module
    device: Device
    card: ModelCard

    @property
    def recipe(self) -> Recipe:
        return self.card.recipe

    @property
    def classes(self) -> tuple[str, ...]:
        return self.card.classes

    @property
    def class_ids(self) -> tuple[int, ...]:
        return self.card.class_ids

    @property
    def mpp(self) -> float:
        return self.card.mpp

    @property
    def metrics(self) -> Mapping[str, float | None]:
        return self.card.metrics

    @property
    def lineage(self) -> Mapping[str, Any]:
        return self.card.lineage

    def predict_batch(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Class probabilities float32 (N, H, W, C) of images uint8 (N, H, W, 3)."""
        tensor = torch.from_numpy(images)
        result = probabilities_of(self.net, tensor, self.device, self.card.mean, self.card.std)
        array: NDArray[np.float32] = result.cpu().numpy()
        return array

    def predict_array(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Class probabilities float32 (H, W, C) of one image uint8 (H, W, 3) of any size."""
        return predict_image(self.predict_batch, image, channels=len(self.classes))


def save_model(folder: str | Path, net: nn.Module, card: ModelCard) -> Path:
    """Write a model; one that is there is replaced as a whole.

    Parameters
    ----------
    folder : path
        Made if need be.
    net : nn.Module
        From `histotrain.models.build_model`, of the card's recipe.
    card : ModelCard
        What it is.

    Returns
    -------
    Path
        The folder.
    """
    return save_weights(folder, net.state_dict(), card)


def save_weights(folder: str | Path, state: Mapping[str, Tensor], card: ModelCard) -> Path:
    """`save_model` for a state dictionary."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    text = card.to_json()
    _write_tensors(folder / WEIGHTS_FILE, state, {"card": text})
    scratch = folder / f".{CARD_FILE}.{os.getpid()}"
    scratch.write_text(text, encoding="utf-8")
    scratch.replace(folder / CARD_FILE)
    return folder


def load_model(folder: str | Path, device: str = "auto") -> LoadedModel:
    """A saved model on a device, in evaluation mode.

    Raises
    ------
    TrainingError
        If the folder holds no model, or a broken one.
    """
    card, state = read_model(folder)
    chosen = choose_device(device, card.recipe.precision)
    net = build_model(card.recipe.model, len(card.classes))
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        raise TrainingError(f"cannot use the model {folder}", "its weights are for another network", _BROKEN) from error
    net = net.to(chosen.torch_device).eval()
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return LoadedModel(for_prediction(net, chosen), chosen, card)


_BROKEN = "Choose another model, or train it again."


def read_model(folder: str | Path) -> tuple[ModelCard, dict[str, Tensor]]:
    """Card and weights (on the CPU) of a saved model; raises TrainingError."""
    metadata, state = _read_tensors(Path(folder) / WEIGHTS_FILE, f"the model {folder}")
    return ModelCard.from_json(metadata.get("card", ""), origin=str(folder)), state


def save_training(folder: str | Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write what an interrupted training needs to go on exactly: tensors (weights, moments) and JSON-able facts."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    _write_tensors(Path(folder) / STATE_FILE, tensors, {"facts": json.dumps(facts)})


def read_training(folder: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and facts written by `save_training`; raises TrainingError."""
    what = f"the interrupted training in {folder}"
    metadata, tensors = _read_tensors(Path(folder) / STATE_FILE, what)
    try:
        facts = json.loads(metadata["facts"])
    except (KeyError, ValueError) as error:
        raise TrainingError(f"cannot use {what}", "it is not one", _BROKEN) from error
    return tensors, facts


def _write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, scratch, metadata)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def _read_tensors(path: Path, what: str) -> tuple[dict[str, str], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
            return file.metadata() or {}, tensors
    except (OSError, SafetensorError) as error:
        why = "the file is not there" if isinstance(error, FileNotFoundError) else str(error)
        raise TrainingError(f"cannot read {what}", why, _BROKEN) from error
