"""Training of weights that a quick recipe could start from.

``python -m histotrain.pretraining.segmenter --nuclei FOLDER --synthetic FOLDER --minutes M --out FILE`` trains
``unet/resnet18-half`` on real images of nuclei, every fourth by name left out, and on synthetic slides, and writes all
but its last layer as float16 safetensors, with a JSON card beside it. See `histotrain.pretraining.scenes` for the
folders.

One decoder has to tell apart, pixel by pixel, nuclei and their borders, the kinds of nuclei and the kinds of tissue, in
colours and magnifications much more various than any laboratory's: a new last layer then finds most of what a user may
ask for ready made. None ship so far: ``tests/benchmarks/RESULTS.md`` says what they were worth. See
`histotrain.pretraining.clock` for how long it trains.
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

from histotrain.models import build_model
from histotrain.pixels import normalised
from histotrain.pretraining.clock import Clock, train_by_clock
from histotrain.pretraining.pairs import without_held_out
from histotrain.pretraining.scenes import UNKNOWN, draw_scene_crop, load_scenes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from histotrain.pretraining.scenes import Scene

MODEL = "unet/resnet18-half"

HEADS = {"nuclei": 3, "regions": 6, "kinds": 4}
"""Channels of each question, in the order of the last layer's channels."""

_SMOOTHING = 0.02  # synthetic borders are known more exactly than they can be seen


@dataclass(frozen=True, slots=True)
class SegmenterTraining:
    """How the weights are trained.

    Parameters
    ----------
    minutes : float
        Until the learning rate has fallen to 0.
    steps : int, optional
        At most so many; the learning rate falls with whichever comes first.
    batch : int
        Crops in a step.
    side : int
        Height and width of a crop, pixels.
    rate : float
        Highest learning rate of AdamW.
    real : float
        Share of the crops that come from real images, where there are synthetic ones.
    seed : int
        Of all chance.
    """

    minutes: float = 26.0
    steps: int | None = None
    batch: int = 8
    side: int = 128
    rate: float = 2e-3
    real: float = 0.4
    seed: int = 0


def train_segmenter(
    real: Sequence[Scene], synthetic: Sequence[Scene], settings: SegmenterTraining
) -> tuple[nn.Module, int]:
    """The network of averaged weights, in evaluation mode, and how many steps were taken."""
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    net = build_model(MODEL, sum(HEADS.values())).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def loss_of(batch: tuple[Tensor, dict[str, Tensor]]) -> Tensor:
        pixels, targets = batch
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(pixels)
        return scene_loss(logits.float(), targets)

    clock = Clock(settings.minutes, settings.steps, settings.rate, weight_decay=1e-2)
    steps = train_by_clock(net, lambda: draw_batch(real, synthetic, settings, rng), loss_of, clock)
    return net, steps


def draw_batch(
    real: Sequence[Scene], synthetic: Sequence[Scene], settings: SegmenterTraining, rng: np.random.Generator
) -> tuple[Tensor, dict[str, Tensor]]:
    """Pixels float (N, 3, S, S) and the targets uint8 (N, S, S) of each of `HEADS`."""
    crops = []
    for _ in range(settings.batch):
        scenes = real if not synthetic or (real and rng.random() < settings.real) else synthetic
        crops.append(draw_scene_crop(scenes[int(rng.integers(len(scenes)))], settings.side, rng))
    images = torch.from_numpy(np.stack([crop.image for crop in crops]))
    targets = {name: torch.from_numpy(np.stack([getattr(crop, name) for crop in crops])) for name in HEADS}
    return normalised(images), targets


def scene_loss(logits: Tensor, targets: dict[str, Tensor]) -> Tensor:
    """Sum over the heads of the cross-entropy, classes weighted by the root of their rarity; unknown pixels are out.

    Parameters
    ----------
    logits : Tensor, float, shape (N, 13, H, W)
        Channels in the order of `HEADS`.
    targets : dict of str to Tensor, uint8, shape (N, H, W)
        By the names of `HEADS`.
    """
    total = logits.new_zeros(())
    for (name, count), part in zip(HEADS.items(), logits.split(list(HEADS.values()), dim=1), strict=True):
        truth = targets[name].long()
        counts = torch.bincount(truth[truth != UNKNOWN].flatten(), minlength=count).float()
        if not counts.any():
            continue
        weights = (counts.sum() / counts.clamp(min=1)).sqrt().clamp(max=8.0)
        total = total + F.cross_entropy(part, truth, weight=weights, ignore_index=UNKNOWN, label_smoothing=_SMOOTHING)
    return total


def write_weights(net: nn.Module, file: Path, card: dict[str, Any]) -> None:
    """All but the last layer, float16, and beside it ``NAME.json``: the card with the network and the file's hash."""
    from safetensors.torch import save_file

    file.parent.mkdir(parents=True, exist_ok=True)
    state = {k.removeprefix("net."): v for k, v in net.state_dict().items()}
    kept = {k: v for k, v in state.items() if k.startswith(("encoder.", "decoder."))}
    save_file({k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in kept.items()}, file)
    known = {"network": MODEL, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    file.with_suffix(".json").write_text(json.dumps(known | card, indent=2, ensure_ascii=False) + "\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line; see the module."""
    parser = argparse.ArgumentParser(description="Train and write weights that a quick recipe could start from.")
    parser.add_argument("--nuclei", type=Path, required=True, help="folder of real images; every fourth is left out")
    parser.add_argument("--synthetic", type=Path, required=True, help="folder of synthetic slides; all are used")
    parser.add_argument("--minutes", type=float, default=26.0)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="the safetensors file")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    real = without_held_out(load_scenes(given.nuclei))
    synthetic = load_scenes(given.synthetic)
    settings = SegmenterTraining(given.minutes, given.steps, seed=given.seed)
    net, steps = train_segmenter(real, synthetic, settings)
    card = {
        "real_images": len(real),
        "held_out": "every fourth image by name",
        "synthetic_slides": len(synthetic),
        "seed": settings.seed,
        "minutes": settings.minutes,
        "steps": steps,
        "batch": settings.batch,
        "side": settings.side,
        "date": date.today().isoformat(),
    }
    write_weights(net, given.out, card)


if __name__ == "__main__":
    main()
