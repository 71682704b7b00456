"""What training and slide prediction add to the bare network: ``python tests/benchmarks/bench_training.py``.

Training: steps per second of `Trainer` (sampling, augmentation, balancing, events) beside a bare loop of the same
network with cross-entropy and AdamW on one batch that lies ready in memory, normalised. Prediction: finished pixels per
second of `predict` on an image in memory (overlaps count once) beside those of bare forward passes over tiles. The two
sides take turns, so that whatever else the machine does slows both; what counts is the ratio of the medians.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.nn import functional as F

from histotrain import PatchSet, PredictOptions, Progressed, Recipe, Trainer, load_model, predict, save_model
from histotrain.card import ModelCard
from histotrain.devices import Device, choose_device
from histotrain.models import build_model
from histotrain.pixels import MEAN, STD, normalised

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from histotrain.checkpoint import LoadedModel

CLASSES = 5


def patches(count: int, size: int) -> PatchSet:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    labels = rng.integers(0, CLASSES + 1, (count, size, size), dtype=np.uint8)
    return PatchSet(images, labels, classes=tuple("abcde"))


def trainer_steps(recipe: Recipe, data: PatchSet, device: str) -> Iterator[None]:
    """One step of the trainer for each item taken."""
    endless = recipe.with_changes(steps=10**6, validate_every=10**6)
    for event in Trainer(endless, data, device=device).run():
        if isinstance(event, Progressed):
            yield


def bare_steps(recipe: Recipe, data: PatchSet, device_name: str) -> Iterator[None]:
    """One step of a plain loop on tensors in memory for each item taken."""
    device = choose_device(device_name, recipe.precision)
    torch.manual_seed(0)
    net = build_model(recipe.model, CLASSES).to(device.torch_device).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=recipe.learning_rate)
    assert data.labels is not None
    images = normalised(torch.from_numpy(data.images[: recipe.batch_size]).to(device.torch_device))
    labels = torch.from_numpy(data.labels[: recipe.batch_size]).to(device.torch_device).long() - 1
    while True:
        with device.autocast():
            logits = net(images)
        loss = F.cross_entropy(logits.float(), labels, ignore_index=-1)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
        yield


def saved_model(recipe: Recipe, folder: Path) -> Path:
    ids = tuple(range(1, CLASSES + 1))
    card = ModelCard(recipe=recipe, classes=tuple("abcde"), class_ids=ids, mpp=recipe.mpp, mean=MEAN, std=STD)
    return save_model(folder, build_model(recipe.model, CLASSES), card)


def slide_prediction(loaded: LoadedModel, image: np.ndarray, options: PredictOptions) -> None:
    height, width = image.shape[:2]
    for _ in predict(loaded, lambda x, y, w, h: image[y : y + h, x : x + w], (width, height), options=options):
        pass


@torch.inference_mode()
def bare_forward(net: nn.Module, device: Device, tiles: int, options: PredictOptions) -> None:
    """The network as it was trained, on tiles that lie ready and normalised."""
    batch = torch.randn(options.batch, options.tile, options.tile, 3).permute(0, 3, 1, 2).to(device.torch_device)
    for _ in range(tiles // options.batch):
        with device.autocast():
            net(batch)
    if device.torch_device.type == "cuda":
        torch.cuda.synchronize()


def seconds(job: Callable[[], object]) -> float:
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def alternating(ours: Callable[[], object], bare: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Median seconds of both, taken in turns after one unmeasured round."""
    ours()
    bare()
    times = [(seconds(ours), seconds(bare)) for _ in range(rounds)]
    return statistics.median(t for t, _ in times), statistics.median(t for _, t in times)


def bench_steps(recipe: Recipe, args: argparse.Namespace) -> tuple[str, ...]:
    data = patches(32, recipe.patch_size)
    ours, bare = trainer_steps(recipe, data, args.device), bare_steps(recipe, data, args.device)
    for steps in (ours, bare):
        for _ in range(3):
            next(steps)
    mine, plain = alternating(lambda: next(ours), lambda: next(bare), args.steps)
    ours.close()  # type: ignore[attr-defined]
    shape = f"{recipe.batch_size} x {recipe.patch_size}²"
    return (
        f"training {recipe.model} {shape}",
        f"{1 / mine:.2f} steps/s",
        f"{1 / plain:.2f} steps/s",
        f"{plain / mine:.2f}",
    )


def bench_prediction(recipe: Recipe, args: argparse.Namespace, side: int) -> tuple[str, ...]:
    options = PredictOptions(tile=args.tile, overlap=args.overlap, batch=args.batch)
    tiles = side * side * options.batch
    length = side * options.batch * (options.tile - options.overlap) + options.overlap
    height = side * (options.tile - options.overlap) + options.overlap
    image = np.random.default_rng(0).integers(0, 256, (height, length, 3), dtype=np.uint8)
    with TemporaryDirectory() as folder:
        loaded = load_model(saved_model(recipe, Path(folder)), device=args.device)
    net = build_model(recipe.model, CLASSES).to(loaded.device.torch_device).to(memory_format=torch.channels_last).eval()
    mine, plain = alternating(
        lambda: slide_prediction(loaded, image, options),
        lambda: bare_forward(net, loaded.device, tiles, options),
        args.rounds,
    )
    ours, bare = height * length / 1e6 / mine, tiles * options.tile**2 / 1e6 / plain
    name = f"slide prediction {recipe.model}, tiles {options.tile} - {options.overlap}"
    return name, f"{ours:.2f} Mpx/s", f"{bare:.2f} Mpx/s", f"{ours / bare:.2f}"


def main() -> None:
    """Measure and print a table."""
    options = PredictOptions()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--recipe", default="default")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=0, help="threads of torch; 0 leaves them")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tile", type=int, default=options.tile)
    parser.add_argument("--overlap", type=int, default=options.overlap)
    parser.add_argument("--batch", type=int, default=options.batch)
    parser.add_argument("--side", type=int, default=1, help="rows of tiles in the predicted image")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    recipe = Recipe.named(args.recipe)
    table = Table("job", "ours", "bare network", "ratio", title="Overhead of training and prediction")
    table.add_row(*bench_steps(recipe, args))
    table.add_row(*bench_prediction(recipe, args, args.side))
    Console().print(table)


if __name__ == "__main__":
    main()
