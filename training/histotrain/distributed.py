"""Training on several devices at once: ``torchrun -m histotrain.distributed RECIPE.json PATCHES.zarr OUTPUT``.

For example, two processes on one machine:

    python -m torch.distributed.run --nproc-per-node 2 -m histotrain.distributed recipe.json patches.zarr run

Every process has the whole network and its own part of each batch, drawn from the same (seed, step). Label counts are
added up over all processes before losses are divided by them, gradients afterwards; so class balancing is that of the
whole batch and the result that of a single process, up to rounding. What is not shared are the statistics of batch
norms: each process normalises by its own patches, as is usual, so networks with batch norm differ a little. The first
process measures, reports and writes; the run can be resumed by any number of processes.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from histotrain.data import PatchSet
from histotrain.errors import TrainingError
from histotrain.events import Event, Finished
from histotrain.loop import Trainer
from histotrain.ranks import rank, ranks
from histotrain.recipes import Recipe

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def join() -> str:
    """Join the processes that torchrun has started; returns this one's device.

    A GPU for each process where there are as many, with NCCL between them; otherwise the CPU, with Gloo.

    Raises
    ------
    TrainingError
        If this process was not started by torchrun.
    """
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        raise TrainingError(
            "this process belongs to no group",
            "RANK and WORLD_SIZE are not set",
            "Start it by python -m torch.distributed.run.",
        )
    local = int(os.environ.get("LOCAL_RANK", "0"))
    on_gpus = torch.cuda.is_available() and torch.cuda.device_count() >= int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if on_gpus:
        torch.cuda.set_device(local)
    torch.distributed.init_process_group("nccl" if on_gpus else "gloo")
    return f"cuda:{local}" if on_gpus else "cpu"


def run_together(
    recipe: Recipe,
    data: PatchSet,
    output: str | Path,
    *,
    validation: PatchSet | None = None,
    resume: str | Path | None = None,
) -> Iterator[Event]:
    """Train with the processes of the group; every process must call it alike, and gets the same events.

    Parameters
    ----------
    recipe : Recipe
        Its batch is that of all processes together.
    data, validation : PatchSet
        From what to learn, and on what to measure.
    output : path
        Where the first process writes the model.
    resume : path, optional
        Folder of an interrupted training.

    Raises
    ------
    TrainingError
        If there are more processes than patches in a batch, or the training cannot start.
    """
    device = join()
    try:
        if ranks() > recipe.batch_size:
            raise TrainingError(
                "a batch cannot be divided", f"{recipe.batch_size} patches among {ranks()} processes", "Enlarge it."
            )
        yield from Trainer(recipe, data, validation=validation, output=output, resume=resume, device=device).run()
    finally:
        torch.distributed.destroy_process_group()


def main(arguments: Sequence[str] | None = None) -> int:
    """Train as the command line says; one line of JSON for each event. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m histotrain.distributed", description="Train on several devices.")
    parser.add_argument("recipe", type=Path, help="JSON file of a recipe, or the name of one that ships")
    parser.add_argument("patches", type=Path, help=".zarr folder of an exported patch set")
    parser.add_argument("output", type=Path, help="folder for the model")
    parser.add_argument("--validation", type=Path, help=".zarr folder of the patches to measure on")
    parser.add_argument("--resume", type=Path, help="folder of an interrupted training of the same recipe")
    asked = parser.parse_args(arguments)
    try:
        events = run_together(
            _recipe(asked.recipe),
            PatchSet.load(asked.patches),
            asked.output,
            validation=None if asked.validation is None else PatchSet.load(asked.validation),
            resume=asked.resume,
        )
        failed = False
        for event in events:
            failed = isinstance(event, Finished) and event.reason == "failed"
            if rank() == 0 or failed:
                _say(event)
    except TrainingError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return int(failed)


def _recipe(path: Path) -> Recipe:
    if not path.exists():
        return Recipe.named(str(path))
    try:
        return Recipe.model_validate_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TrainingError(f"{path} is not a recipe", str(error).splitlines()[0]) from error


def _say(event: Event) -> None:
    sys.stdout.write(json.dumps(event.to_dict()) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
