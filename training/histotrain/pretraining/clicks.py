"""Training of the network that turns clicks into masks, and its file.

``python -m histotrain.pretraining.clicks --nuclei FOLDER --synthetic FOLDER --minutes M --out FILE`` trains NuClick
(`histotrain.models.nuclick`) on real images, every fourth by name left out, and on synthetic ones, and writes it as
ONNX with a JSON card beside it. Both folders hold ``images/NAME.png`` and ``labels/NAME.tif``.
See `histotrain.pretraining.clock` for how long it trains.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from histotrain.models.export import export_onnx
from histotrain.models.nuclick import NuClick
from histotrain.pretraining.clock import Clock, train_by_clock
from histotrain.pretraining.crops import CLICK_RADIUS, SIDE, UNKNOWN, draw_crop
from histotrain.pretraining.pairs import load_pairs, without_held_out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from histotrain.pretraining.pairs import Pair

MEAN, STD = (176.0, 150.0, 190.0), (50.0, 55.0, 45.0)
"""What is taken from, and divides, the RGB values 0 … 255 before the network."""

WIDTHS = (16, 32, 64, 128)
"""Channels of the network: fewer than NuClick has by default, for twice as many clicks per second and twice as many
examples in the same time of training."""


@dataclass(frozen=True, slots=True)
class ClickTraining:
    """How the click network is trained.

    Parameters
    ----------
    minutes : float
        Until the learning rate has fallen to 0.
    steps : int, optional
        At most so many; the learning rate falls with whichever comes first.
    batch : int
        Crops in a step.
    rate : float
        Highest learning rate of AdamW.
    real : float
        Share of the crops that come from real images, where there are synthetic ones.
    seed : int
        Of all chance.
    """

    minutes: float = 30.0
    steps: int | None = None
    batch: int = 32
    rate: float = 2e-3
    real: float = 0.75
    seed: int = 0


def train_clicks(real: Sequence[Pair], synthetic: Sequence[Pair], settings: ClickTraining) -> tuple[NuClick, int]:
    """The network of averaged weights, in evaluation mode, and how many steps were taken."""
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    net = NuClick(1, WIDTHS).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def loss_of(batch: tuple[Tensor, Tensor]) -> Tensor:
        images, target = batch
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(images)
        return click_loss(logits.float(), target)

    clock = Clock(settings.minutes, settings.steps, settings.rate, weight_decay=1e-3)
    steps = train_by_clock(net, lambda: _batch(real, synthetic, settings, rng), loss_of, clock)
    return net, steps


def click_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy plus soft Dice of each crop, logits and target (N, 1, H, W); `UNKNOWN` pixels do not count."""
    known = (target != UNKNOWN).float()
    truth = (target == 1).float()
    entropy = (F.binary_cross_entropy_with_logits(logits, truth, reduction="none") * known).sum() / known.sum()
    found = logits.sigmoid() * known
    shared, total = (found * truth).sum((1, 2, 3)), (found + truth).sum((1, 2, 3))
    return entropy + (1 - (2 * shared + 1) / (total + 1)).mean()


def network_input(images: Tensor, clicks: Tensor) -> Tensor:
    """Float (N, 5, SIDE, SIDE) of uint8 images (N, SIDE, SIDE, 3) and click maps (N, 2, SIDE, SIDE)."""
    pixels = (images.float() - torch.tensor(MEAN)) / torch.tensor(STD)
    whole = torch.cat([pixels.permute(0, 3, 1, 2), clicks.float()], dim=1)
    return whole.contiguous(memory_format=torch.channels_last)


def write_click_network(net: NuClick, file: Path, card: dict[str, Any]) -> None:
    """The network as ONNX, and beside it ``NAME.json``: the card with what a program must know to use the file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    export_onnx(net.cpu(), file, (1, 5, SIDE, SIDE))
    use = {
        "side": SIDE,
        "click_radius": CLICK_RADIUS,
        "mean": MEAN,
        "std": STD,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }
    file.with_suffix(".json").write_text(json.dumps({**use, **card}, indent=2, ensure_ascii=False) + "\n")


def _batch(
    real: Sequence[Pair], synthetic: Sequence[Pair], settings: ClickTraining, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    crops = []
    for _ in range(settings.batch):
        pairs = real if not synthetic or rng.random() < settings.real else synthetic
        weights = np.sqrt([len(pair.ids) for pair in pairs])
        crops.append(draw_crop(pairs[rng.choice(len(pairs), p=weights / weights.sum())], rng))
    images, clicks, target = (torch.from_numpy(np.stack(part)) for part in zip(*crops, strict=True))
    return network_input(images, clicks), target[:, None]


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line; see the module."""
    parser = argparse.ArgumentParser(description="Train and write the click network.")
    parser.add_argument("--nuclei", type=Path, required=True, help="folder of real images; every fourth is left out")
    parser.add_argument("--synthetic", type=Path, help="folder of synthetic images; all are used")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--source", action="append", default=[], help="where images come from, for the card")
    parser.add_argument("--out", type=Path, required=True, help="the ONNX file")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    real = without_held_out(load_pairs(given.nuclei))
    synthetic = load_pairs(given.synthetic) if given.synthetic else []
    settings = ClickTraining(given.minutes, given.steps, seed=given.seed)
    net, steps = train_clicks(real, synthetic, settings)
    card = {
        "network": "nuclick",
        "sources": given.source,
        "widths": WIDTHS,
        "real_images": len(real),
        "real_objects": sum(len(pair.ids) for pair in real),
        "held_out": "every fourth image by name",
        "synthetic_images": len(synthetic),
        "synthetic_objects": sum(len(pair.ids) for pair in synthetic),
        "seed": settings.seed,
        "minutes": settings.minutes,
        "steps": steps,
        "batch": settings.batch,
        "date": date.today().isoformat(),
    }
    write_click_network(net, given.out, card)


if __name__ == "__main__":
    main()
