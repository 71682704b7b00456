"""First weights of an encoder: from a file, or those trained on ImageNet where they can be had.

A training must not depend on the network being reachable: where the weights cannot be had it starts from random ones
and says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from histotrain.errors import TrainingError

if TYPE_CHECKING:
    from torch import Tensor, nn


def load_encoder_weights(model: nn.Module, name: str, weights: str | Path) -> str:
    """Fill the encoder of a network in place.

    Parameters
    ----------
    model : nn.Module
        From `build_model`.
    name : str
        The name it was built by.
    weights : str or Path
        "imagenet", or a .safetensors file with the encoder's parameters (prefixes such as "encoder." are understood).

    Returns
    -------
    str
        What happened, for the user: loaded, or why the encoder starts from random weights.
    """
    encoder = model.get_submodule("net.encoder")
    try:
        state = _imagenet(name) if str(weights) == "imagenet" else _from_file(Path(weights))
        _fill(encoder, state)
    except (OSError, TrainingError, RuntimeError, KeyError, ValueError, ImportError) as error:
        return f"The encoder starts from random weights: {weights} could not be loaded ({_first_line(error)})."
    return f"The encoder starts from {weights}."


def _imagenet(name: str) -> dict[str, Tensor]:
    from histotrain._torchvision import ensure_torchvision

    ensure_torchvision()
    from segmentation_models_pytorch.encoders import get_encoder

    encoder_name = name.lower().partition("/")[2] or "resnet18"
    state: dict[str, Tensor] = get_encoder(encoder_name, weights="imagenet").state_dict()
    return state


def _from_file(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    if path.suffix != ".safetensors":
        raise TrainingError("only .safetensors files are read, since other weight files can run code")
    state: dict[str, Tensor] = load_file(path)
    return state


def _fill(encoder: nn.Module, state: dict[str, Tensor]) -> None:
    for prefix in ("net.encoder.", "encoder.", "backbone.", "module."):
        if any(key.startswith(prefix) for key in state):
            state = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    own = encoder.state_dict()
    fitting = {k: v for k, v in state.items() if k in own and own[k].shape == v.shape}
    missing = [k for k in own if k not in fitting and not k.endswith("num_batches_tracked")]
    if missing:
        raise TrainingError(f"{len(missing)} of {len(own)} parameters are not in it, {missing[0]} for one")
    encoder.load_state_dict(fitting, strict=False)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
