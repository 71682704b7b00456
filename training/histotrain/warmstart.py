"""Weights a training starts from: a pretrained encoder, an earlier model, or its own interrupted self."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from histotrain.checkpoint import read_model, read_training
from histotrain.classes import ClassList, match_classes
from histotrain.errors import TrainingError
from histotrain.models import build_model
from histotrain.models.weights import load_encoder_weights

if TYPE_CHECKING:
    from pathlib import Path

    from histotrain.optim import Optimizer
    from histotrain.recipes import Recipe


def start_from(net: nn.Module, recipe: Recipe, classes: ClassList, init: str | Path | None) -> list[str]:
    """Fill a network with earlier weights, or its encoder with pretrained ones; returns notices for the user.

    Raises
    ------
    TrainingError
        If the earlier model cannot be read or is another network.
    """
    if init is None:
        return [load_encoder_weights(net, recipe.model, recipe.encoder_weights)] if recipe.encoder_weights else []
    card, state = read_model(init)
    if card.recipe.model != recipe.model:
        raise TrainingError(
            f"cannot continue from {init}",
            f"it is a {card.recipe.model}, the recipe asks for a {recipe.model}",
            "Choose the same network, or start anew.",
        )
    known = match_classes(card.class_list, classes)
    _transfer(net, state, known, class_axes(recipe.model))
    fresh = [name for channel, name in enumerate(classes.names) if channel not in known]
    return [f"New to the model, learnt from scratch: {', '.join(fresh)}."] if fresh else []


def class_axes(model: str) -> dict[str, int]:
    """The parameters with a dimension for the classes, and which it is."""
    with torch.device("meta"):
        few, many = (build_model(model, classes).state_dict() for classes in (2, 3))
    return {
        name: next(
            axis for axis, sides in enumerate(zip(tensor.shape, many[name].shape, strict=True)) if len({*sides}) > 1
        )
        for name, tensor in few.items()
        if tensor.shape != many[name].shape
    }


@torch.no_grad()
def _transfer(net: nn.Module, state: dict[str, Tensor], known: dict[int, int], axes: dict[str, int]) -> None:
    own = net.state_dict()
    if missing := own.keys() - state.keys():
        raise TrainingError("the earlier model lacks weights", f"{len(missing)} of them, {min(missing)} for one")
    for name, tensor in own.items():
        if name in axes:
            for channel, old in known.items():
                tensor.select(axes[name], channel).copy_(state[name].select(axes[name], old))
        elif tensor.shape == state[name].shape:
            tensor.copy_(state[name])
        else:
            raise TrainingError("the earlier model does not fit", f"{name} is {tuple(state[name].shape)} there")


def restore_training(
    folder: Path, recipe: Recipe, classes: ClassList, net: nn.Module, optimizer: Optimizer
) -> tuple[dict[str, Any], dict[str, Tensor] | None, dict[str, Tensor]]:
    """Put an interrupted training back; returns its facts, the best weights, and the state of the classes' weights.

    Raises
    ------
    TrainingError
        If there is none in the folder, or it was of another recipe or other classes. The number of steps may differ.
    """
    tensors, facts = read_training(folder)
    theirs, ours = dict(facts["recipe"]), recipe.model_dump(mode="json")
    different = sorted(k for k in ours if k not in ("steps", "name") and theirs.get(k) != ours[k])
    if different or facts["class_ids"] != list(classes.ids):
        raise TrainingError(
            f"cannot resume {folder}",
            f"it differs in {', '.join(different) or 'its classes'}",
            "Use the same recipe and classes, or continue from its model instead.",
        )
    parts = {part: _under(tensors, part) for part in ("net", "optimizer", "best")}
    net.load_state_dict(parts["net"])
    optimizer.restore(parts["optimizer"])
    torch.set_rng_state(tensors["random"])
    if not facts["best_metrics"]:
        facts["best_metrics"] = {}
    facts["factor"] = float(facts["factor"]) if math.isfinite(facts["factor"]) else 1.0
    return facts, parts["best"] or None, _under(tensors, "weights")


def _under(tensors: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    return {k.removeprefix(f"{part}."): v for k, v in tensors.items() if k.startswith(f"{part}.")}
