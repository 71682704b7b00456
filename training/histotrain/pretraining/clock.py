"""Training for a given time: the learning rate follows the clock, not a number of steps.

So a machine of any speed uses the time it is given to the end. What comes out is the moving average of the weights.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

if TYPE_CHECKING:
    from collections.abc import Callable

_KEEP = 0.998
_WARMUP = 100
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Clock:
    """How long and how fast.

    Parameters
    ----------
    minutes : float
        Until the learning rate has fallen to 0.
    steps : int, optional
        At most so many; the learning rate falls with whichever comes first.
    rate : float
        Highest learning rate of AdamW.
    weight_decay : float
        Of AdamW.
    """

    minutes: float
    steps: int | None
    rate: float
    weight_decay: float


def train_by_clock(net: nn.Module, draw: Callable[[], Any], loss_of: Callable[[Any], Tensor], clock: Clock) -> int:
    """Train a network and leave it with its averaged weights, in evaluation mode.

    Parameters
    ----------
    net : nn.Module
        Changed in place.
    draw : callable
        Gives the next batch.
    loss_of : callable
        The loss of a batch, from the network in training mode.
    clock : Clock
        How long and how fast.

    Returns
    -------
    int
        How many steps were taken.
    """
    average = AveragedModel(net, multi_avg_fn=_average, use_buffers=True)
    optimizer = torch.optim.AdamW(net.parameters(), lr=clock.rate, weight_decay=clock.weight_decay)
    began, step, progress, running = time.monotonic(), 0, 0.0, math.nan
    net.train()
    while progress < 1:
        for group in optimizer.param_groups:
            group["lr"] = clock.rate * min(1, (step + 1) / _WARMUP) * (0.5 + 0.5 * math.cos(math.pi * progress))
        loss = loss_of(draw())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
        average.update_parameters(net)
        step += 1
        running = loss.item() if math.isnan(running) else 0.99 * running + 0.01 * loss.item()
        progress = (time.monotonic() - began) / (60 * clock.minutes)
        if clock.steps:
            progress = max(progress, step / clock.steps)
        if step % 100 == 0:
            _log.info("step %d, %.0f %%, loss %.4f", step, 100 * progress, running)
    net.load_state_dict(average.module.state_dict())
    net.eval()
    return step


def _average(averaged: Any, current: Any, count: Any) -> None:
    """A short memory at first, so that the random start is soon forgotten."""
    steps = int(count) + 1
    get_ema_multi_avg_fn(min(_KEEP, steps / (steps + 10)))(averaged, current, count)
