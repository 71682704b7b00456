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

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from histotrain.card import CARD_FILE, WEIGHTS_FILE, ModelCard
from histotrain.devices import Device, choose_device
from histotrain.errors import TrainingError
from histotrain.fusion import for_prediction
from histotrain.inference import CLASSES, by_windows, maps_of, predict_image
from histotrain.models import build_model, magnifications_of, task_of
from histotrain.models.separation import peaks
from histotrain.uncertainty import dropout_active

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from histotrain.models import Task
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
        """Size of a pixel the network sees, µm."""
        return self.card.mpp * self.recipe.sampling.pixel_scale(self.recipe.patch_size)

    @property
    def metrics(self) -> Mapping[str, float | None]:
        return self.card.metrics

    @property
    def lineage(self) -> Mapping[str, Any]:
        return self.card.lineage

    @property
    def task(self) -> Task:
        """What the network is for."""
        return task_of(self.recipe.model)

    @property
    def magnifications(self) -> tuple[float, ...]:
        """Sizes of a pixel in each patch the network takes, relative to the target's 1."""
        return magnifications_of(self.recipe.model)

    @property
    def background(self) -> int | None:
        """Id of the class that stands for background; None if the model has none."""
        known = (entry["id"] for entry in self.card.scheme.get("classes", ()) if entry.get("background"))
        return next((key for key in known if key in self.class_ids), None)

    @property
    def window(self) -> int | None:
        """Side of what a classifier judges at once, pixels; None for networks that segment."""
        return self.recipe.patch_size if self.task == "patches" else None

    @property
    def layout(self) -> tuple[tuple[str, int], ...]:
        """Names and channels of the maps that single objects are made from; none for other networks."""
        return tuple(getattr(self.net, "needed", ()))

    @property
    def vectors(self) -> tuple[int, ...]:
        """Channels of `predict_maps` at which a vector (x, y) begins."""
        names = getattr(self.net, "vectors", ())
        starts = np.cumsum([len(self.classes), *(channels for _, channels in self.layout)]).tolist()
        return tuple(start for start, (name, _) in zip(starts, self.layout, strict=False) if name in names)

    def predict_batch(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Class probabilities float32 (N, H, W, C) of images uint8 (N, H, W, 3), or (N, M, H, W, 3)."""
        if self.window is not None:
            return by_windows(self.classify_batch, images, window=self.window, channels=len(self.classes))
        return self._probabilities(self.net, images)

    def classify_batch(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Class probabilities float32 (N, C) of whole patches uint8 (N, H, W, 3).

        Raises
        ------
        TrainingError
            If the network does not classify patches.
        """
        if "patches" not in self.task:
            raise TrainingError(f"{self.recipe.model} does not classify patches", hint="Choose a classifier.")
        return self._probabilities(getattr(self.net, "classify", self.net), images)

    def _probabilities(
        self, call: Callable[[Tensor], Tensor | dict[str, Tensor]], images: NDArray[np.uint8]
    ) -> NDArray[np.float32]:
        array: NDArray[np.float32] = self._maps(call, images)[CLASSES].softmax(-1).cpu().numpy()
        return array

    def _maps(
        self, call: Callable[[Tensor], Tensor | dict[str, Tensor]], images: NDArray[np.uint8]
    ) -> dict[str, Tensor]:
        return maps_of(self.net, call, torch.from_numpy(images), self.device, self.card.mean, self.card.std)

    def predict_maps(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Class probabilities and, behind them, the maps of the `layout`, float32 (N, H, W, C + E)."""
        if not self.layout:
            return self.predict_batch(images)
        maps = self._maps(self.net.maps, images)  # type: ignore[arg-type]
        parts = [maps[CLASSES].softmax(-1), *(maps[name] for name, _ in self.layout)]
        array: NDArray[np.float32] = torch.cat(parts, -1).cpu().numpy()
        return array

    def separate(self, maps: NDArray[np.float32]) -> NDArray[np.int32]:
        """Object numbers int32 (H, W), 0 for none, from maps float32 (E, H, W) of the `layout`."""
        named: dict[str, NDArray[np.float32]] = {}
        start = 0
        for name, channels in self.layout:
            named[name] = maps[start : start + channels]
            start += channels
        return self.net.separate(named)  # type: ignore[operator,no-any-return]

    def points(self, maps: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
        """Points (n, 2) as (x, y), pixel centres; channels (n,) and heights (n,) from maps of a network for points."""
        return peaks(torch.from_numpy(maps).sigmoid().numpy())

    def dropping(self, seed: int) -> AbstractContextManager[None]:
        """Context in which predictions are random draws, see `histotrain.uncertainty.dropout_active`."""
        return dropout_active(self.net, len(self.classes), seed)

    def predict_array(self, image: NDArray[np.uint8], contexts: NDArray[np.uint8] | None = None) -> NDArray[np.float32]:
        """Class probabilities float32 (H, W, C) of one image uint8 (H, W, 3) of any size.

        ``contexts`` uint8 (M - 1, H, W, 3) are the same centre at the lower magnifications of the network.
        """
        return predict_image(self.predict_batch, image, channels=len(self.classes), contexts=contexts)


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
