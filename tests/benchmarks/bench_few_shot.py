"""Dice over steps and seconds from few marks: ``python tests/benchmarks/bench_few_shot.py NUCLEI --network …``.

Real images of nuclei (a folder with ``images/NAME.png`` and ``labels/NAME*.tif``), of which every fourth by name is
taken: none of them has been used for pre-training. So many of them are marked sparsely, twelve outlined nuclei and six
short strokes between them each; the network is trained on these as a recipe without a name says and measured on all
others. Seconds are those of the processor, training alone.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
import torch
from rich.console import Console
from safetensors.torch import load_file

from histotrain import Recipe
from histotrain.data import PatchSet
from histotrain.events import Progressed
from histotrain.loop import Trainer
from histotrain.pretraining.scenes import load_scenes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from histotrain.pretraining.scenes import Scene

LOOKS = (5, 10, 14, 20, 28, 40, 56, 80, 110, 150, 200, 300)
WANTED = (0.60, 0.65, 0.70, 0.75, 0.80)
SIDE = 192
NUCLEUS, OTHER = 1, 2
ENOUGH = 8  # nuclei that an image needs to be marked


class Look(NamedTuple):
    """What a training had come to: steps, seconds of the processor, Dice coefficient of the nuclei."""

    step: int
    seconds: float
    dice: float


def stroke(free: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """The longest of twelve random lines of at most 40 pixels, 3 pixels wide, that stays where it is free."""
    rows, columns = np.nonzero(cv2.erode(free.astype(np.uint8), np.ones((5, 5), np.uint8)))
    inner = np.zeros(free.shape, bool)
    inner[rows, columns] = True
    best = np.zeros((0, 2), int)
    for _ in range(12):
        start, angle = rng.integers(len(rows)), rng.uniform(0, 2 * np.pi)
        way = np.arange(40)[:, None] * [np.sin(angle), np.cos(angle)] + [rows[start], columns[start]]
        way = way.astype(int)
        good = ((way >= 0) & (way < free.shape)).all(1)
        good[good] = inner[tuple(way[good].T)]
        length = len(way) if good.all() else int(good.argmin())
        best = way[:length] if length > len(best) else best
    painted = np.zeros(free.shape, np.uint8)
    cv2.polylines(painted, [best[:, ::-1].astype(np.int32)], isClosed=False, color=1, thickness=3)
    return (painted > 0) & free


def marked(scene: Scene, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Labels (H, W) as a person might give them in a minute."""
    labels = np.zeros(scene.objects.shape, np.uint8)
    ids = np.unique(scene.objects[scene.objects > 0])
    labels[np.isin(scene.objects, rng.permutation(ids)[:12])] = NUCLEUS
    free = cv2.dilate((scene.objects > 0).astype(np.uint8), np.ones((3, 3), np.uint8)) == 0
    for _ in range(6):
        labels[stroke(free, rng)] = OTHER
    return labels


def patches(scenes: list[Scene], rng: np.random.Generator) -> PatchSet:
    """Sixty windows of each image, on marks of either class equally often."""
    labels = [marked(scene, rng) for scene in scenes]
    images, masks = [], []
    for _ in range(60 * len(scenes)):
        n = int(rng.integers(len(scenes)))
        rows, columns = np.nonzero(labels[n] == rng.choice([NUCLEUS, OTHER]))
        pick = rng.integers(len(rows))
        last = np.array(labels[n].shape) - SIDE
        y, x = np.clip([rows[pick], columns[pick]] - rng.integers(SIDE, size=2), 0, last)
        images.append(scenes[n].image[y : y + SIDE, x : x + SIDE])
        masks.append(labels[n][y : y + SIDE, x : x + SIDE])
    return PatchSet(images=np.stack(images), labels=np.stack(masks), classes=("nucleus", "other"), class_ids=(1, 2))


def curve(recipe: Recipe, steps: int, scenes: tuple[list[Scene], list[Scene]], weights: Path | None) -> list[Look]:
    """What the first steps of a training on the first scenes come to on the second ones."""
    learnt, others = scenes
    trainer = Trainer(recipe, patches(learnt, np.random.default_rng(recipe.seed)))
    if weights is not None:
        trainer._net.get_submodule("net").load_state_dict(load_file(weights), strict=False)
    looks, seconds, since = [], 0.0, time.process_time()
    for event in trainer.run():
        if not isinstance(event, Progressed):
            continue
        seconds += time.process_time() - since
        if event.step in LOOKS:
            both = total = 0
            for scene in others:
                found, true = trainer.predict_array(scene.image).argmax(-1) == 0, scene.objects > 0
                both, total = both + 2 * int((found & true).sum()), total + int(found.sum() + true.sum())
            looks.append(Look(event.step, seconds, both / total))
        if event.step >= steps:
            break
        since = time.process_time()
    return looks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nuclei", type=Path)
    parser.add_argument("--network", default="unet/resnet18")
    parser.add_argument("--weights", type=Path, help="from histotrain.pretraining.segmenter")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--images", type=int, default=2, help="that are marked")
    parser.add_argument("--rounds", type=int, default=5, help="seeds")
    parser.add_argument("--steps", type=int, default=80)
    given = parser.parse_args()
    torch.set_num_threads(1)
    held = [scene for n, scene in enumerate(load_scenes(given.nuclei)) if n % 4 == 3]
    good = [n for n, scene in enumerate(held) if len(np.unique(scene.objects)) > ENOUGH]
    curves = []
    for seed in range(given.rounds):
        recipe = Recipe(model=given.network, learning_rate=given.rate, seed=seed)
        chosen = np.random.default_rng([seed, given.images]).permutation(good)[: given.images].tolist()
        learnt, others = [held[n] for n in chosen], [scene for n, scene in enumerate(held) if n not in chosen]
        curves.append(curve(recipe, given.steps, (learnt, others), given.weights))
    console = Console()
    for looks in zip(*curves, strict=True):
        dice = [look.dice for look in looks]
        seconds = median(look.seconds for look in looks)
        console.print(
            f"step {looks[0].step:4}, {seconds:5.1f} s: Dice {median(dice):.2f} ({min(dice):.2f} … {max(dice):.2f})"
        )
    for wanted in WANTED:
        steps = [next((look.step for look in looks if look.dice >= wanted), float("inf")) for looks in curves]
        reached = sum(step < float("inf") for step in steps)
        console.print(f"Dice {wanted:.2f}: after {median(steps)} steps, reached {reached} of {len(steps)} times")


if __name__ == "__main__":
    main()
