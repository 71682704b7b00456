"""How unsure a model is, of each pixel or patch: between 0, certain, and 1, as unsure as can be.

The entropy and the margin need one prediction. What several predictions of the same pixel disagree on, be they of one
network with random dropout (Gal and Ghahramani 2016) or of several networks (Lakshminarayanan et al. 2017), is what
more annotation can teach: the mutual information between prediction and weights, BALD (Houlsby et al. 2011), the
entropy of the mean less the mean of the entropies.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import numpy as np

from histotrain.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from histotrain.checkpoint import LoadedModel

    UInt8 = NDArray[np.uint8]
    Floats = NDArray[np.float32]

Uncertainty = Literal["none", "entropy", "margin", "mc-dropout", "ensemble"]

DROPOUT = 0.2
"""Probability of the dropout that is put into networks without any."""


def entropy(probabilities: Floats) -> Floats:
    """Entropy of probabilities (..., C), divided by that of C equal ones.

    Examples
    --------
    >>> entropy(np.array([[0.5, 0.5], [1.0, 0.0]], np.float32)).tolist()
    [1.0, 0.0]
    """
    channels = probabilities.shape[-1]
    if channels < 2:
        return np.zeros(probabilities.shape[:-1], np.float32)
    logs = np.log(np.maximum(probabilities, np.float32(1e-12)))
    result: Floats = -(probabilities * logs).sum(-1) / np.float32(math.log(channels))
    return np.maximum(result, np.float32(0))


def margin(probabilities: Floats) -> Floats:
    """1 less the lead of the likeliest class over the second, for probabilities (..., C).

    Examples
    --------
    >>> margin(np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]], np.float32)).tolist()
    [1.0, 0.0]
    """
    if probabilities.shape[-1] < 2:
        return np.zeros(probabilities.shape[:-1], np.float32)
    best = np.partition(probabilities, -2, axis=-1)[..., -2:]
    result: Floats = 1 - (best[..., 1] - best[..., 0])
    return result


def mean_and_disagreement(samples: Iterable[Floats], channels: int) -> tuple[Floats, Floats]:
    """Mean of several predictions, and their mutual information.

    Parameters
    ----------
    samples : iterable of float32, shape (..., K)
        At least one; the first channels are class probabilities.
    channels : int
        C, how many of the K are.

    Returns
    -------
    mean : float32, shape (..., K)
    disagreement : float32, shape (...)
        BALD, divided by the entropy of C equal classes: 0 where all agree, 1 where each is sure of another class.

    Raises
    ------
    ValueError
        If there are no samples.
    """
    total: Floats | None = None
    entropies: Floats | None = None
    count = 0
    for sample in samples:
        inner = entropy(sample[..., :channels])
        total = sample.astype(np.float32) if total is None or entropies is None else total + sample
        entropies = inner if entropies is None else entropies + inner
        count += 1
    if total is None or entropies is None:
        raise ValueError("there is nothing to average")
    mean: Floats = total / np.float32(count)
    gain: Floats = entropy(mean[..., :channels]) - entropies / np.float32(count)
    return mean, np.maximum(gain, np.float32(0))


class Ensemble:
    """Several models of the same classes as one; it predicts their mean.

    Parameters
    ----------
    models : sequence of LoadedModel
        At least two.

    Raises
    ------
    TrainingError
        If their classes, pixel sizes or ways of finding objects differ.
    """

    def __init__(self, models: Sequence[LoadedModel]) -> None:
        if len(models) < 2:
            raise TrainingError("an ensemble needs at least two models", hint="Choose more, trained alike.")
        first = models[0]
        for model in models[1:]:
            for what in ("class_ids", "mpp", "magnifications", "layout", "window"):
                if getattr(model, what) != getattr(first, what):
                    raise TrainingError(
                        "these models do not make an ensemble",
                        f"their {what.replace('_', ' ')} differ: {getattr(first, what)}, {getattr(model, what)}",
                        "Choose models of the same classes and resolution.",
                    )
        self.models = tuple(models)

    @property
    def first(self) -> LoadedModel:
        """The model whose card speaks for all."""
        return self.models[0]


@contextmanager
def dropout_active(net: nn.Module, channels: int, seed: int) -> Iterator[None]:
    """Within, a network in evaluation mode drops activations at random, in the same way for the same seed.

    A network without dropout gets some on the input of its last convolution (or fully connected layer) with as many
    outputs as there are classes. The state of torch's generator is as before afterwards.

    Parameters
    ----------
    net : nn.Module
        In evaluation mode.
    channels : int
        How many classes it has.
    seed : int
        Of this draw.
    """
    import torch
    from torch import nn
    from torch.nn import functional as F

    own = [m for m in net.modules() if isinstance(m, nn.Dropout | nn.Dropout1d | nn.Dropout2d | nn.Dropout3d) and m.p]
    hook = None
    if not own:

        def drop(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return (F.dropout(inputs[0], DROPOUT, training=True), *inputs[1:])

        hook = _deciding_layer(net, channels).register_forward_pre_hook(drop)
    for module in own:
        module.train()
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            yield
    finally:
        for module in own:
            module.eval()
        if hook is not None:
            hook.remove()


def _deciding_layer(net: nn.Module, channels: int) -> nn.Module:
    from torch import nn

    layers = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    fitting = [m for m in layers if (m.out_channels if isinstance(m, nn.Conv2d) else m.out_features) == channels]
    return (fitting or layers)[-1]
