"""First weights of an encoder or a classifier: from a file, or those trained on ImageNet where they can be had.

A training must not depend on the network being reachable: where the weights cannot be had it starts from random ones
and says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from histotrain.errors import TrainingError
from histotrain.models.catalogue import ENCODER_ALIASES

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
    try:
        encoder = _encoder_of(model, name)
        state = _imagenet(name) if str(weights) == "imagenet" else _from_file(Path(weights))
        _fill(encoder, state)
    except (OSError, TrainingError, RuntimeError, KeyError, ValueError, ImportError) as error:
        return f"The encoder starts from random weights: {weights} could not be loaded ({_first_line(error)})."
    return f"The encoder starts from {weights}."


def _imagenet(name: str) -> dict[str, Tensor]:
    from histotrain._torchvision import ensure_torchvision

    kind, _, detail = name.lower().partition("/")
    if kind == "classify":
        from histotrain.models.classifiers import imagenet_state

        return dict(imagenet_state(detail or "resnet18"))
    ensure_torchvision()
    from segmentation_models_pytorch.encoders import get_encoder

    encoder_name = ENCODER_ALIASES.get(detail, detail or "resnet18")
    state: dict[str, Tensor] = get_encoder(encoder_name, weights="imagenet").state_dict()
    return state


def _encoder_of(model: nn.Module, name: str) -> nn.Module:
    """The part that pretrained weights fill: of a classifier, all of it but the layer that gives the classes."""
    for path in ("net",) if name.lower().startswith("classify") else ("net.encoder", "encoder"):
        try:
            return model.get_submodule(path)
        except AttributeError:
            continue
    raise TrainingError(f"{name} has no encoder with pretrained weights")


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
    own = {k: v for k, v in encoder.state_dict().items() if k not in _head_of(encoder)}
    fitting = {k: v for k, v in state.items() if k in own and own[k].shape == v.shape}
    missing = [k for k in own if k not in fitting and not k.endswith("num_batches_tracked")]
    if missing:
        raise TrainingError(f"{len(missing)} of {len(own)} parameters are not in it, {missing[0]} for one")
    encoder.load_state_dict(fitting, strict=False)


def _head_of(encoder: nn.Module) -> set[str]:
    """Parameters of a classifier's last layer, which knows the classes it was trained on."""
    last = getattr(encoder, "get_classifier", None)
    if last is None:
        return set()
    head = last()
    names = [name for name, module in encoder.named_modules() if module is head]
    return {f"{name}.{parameter}" for name in names for parameter in head.state_dict()}


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
