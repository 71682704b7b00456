"""Several processes together take the steps that one process takes alone."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from histotrain import Finished, PatchSet, Progressed, Recipe, TrainingError, load_model, train
from histotrain.distributed import join, main
from histotrain.events import Event

LIMIT = 200


@pytest.fixture
def apart() -> PatchSet:
    """Patches that one rank alone would balance quite differently: most of them know one class only."""
    rng = np.random.default_rng(0)
    labels = np.ones((6, 32, 32), np.uint8)
    labels[1::3, :, :5] = 2
    labels[2::3] *= rng.random((2, 32, 32)) < 0.2
    images = np.where(labels[..., None] == 2, 90, 200) + rng.integers(-20, 20, (6, 32, 32, 3))
    return PatchSet(images.astype(np.uint8), labels, classes=("a", "b"))


def recipe_without_batch_norm(quick: Recipe) -> Recipe:
    return quick.with_changes(
        model="dmmn-unet",
        patch_size=32,
        batch_size=3,
        accumulate=2,
        steps=2,
        validate_every=2,
        class_weights="share",
        optimizer="sgd",
        learning_rate=1e-3,
        augment={"affine": 0.5, "elastic": 0.5},
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run_ranks(arguments: list[str], count: int) -> list[Event]:
    """The events of the first of several processes, started with what torchrun tells them."""
    shared = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    shared |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path), "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "histotrain.distributed", *arguments]
    processes = [
        subprocess.Popen(
            command,
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]
    try:
        said = [process.communicate(timeout=LIMIT) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * count, said[0][1][-2000:]
    return [Event.from_dict(json.loads(line)) for line in said[0][0].splitlines() if line.startswith("{")]


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(quick: Recipe, apart: PatchSet, tmp_path: Path) -> None:
    recipe = recipe_without_batch_norm(quick)
    (tmp_path / "recipe.json").write_text(recipe.model_dump_json())
    apart.save(tmp_path / "patches.zarr")
    arguments = [str(tmp_path / name) for name in ("recipe.json", "patches.zarr", "together")]
    together = run_ranks([*arguments, "--validation", arguments[1]], 2)
    alone = list(train(recipe, apart, validation=apart, output=tmp_path / "alone", device="cpu"))

    losses = [[e.loss for e in events if isinstance(e, Progressed)] for events in (together, alone)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    ends = [events[-1] for events in (together, alone)]
    assert all(isinstance(end, Finished) and end.reason == "completed" for end in ends)
    first, second = (load_model(tmp_path / name, device="cpu") for name in ("together", "alone"))
    weights = first.net.state_dict()
    for name, expected in second.net.state_dict().items():
        assert (weights[name] - expected).abs().max() < 1e-5


def test_a_process_by_itself_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(TrainingError, match=r"torch\.distributed\.run"):
        join()


def test_the_command_line_says_what_is_wrong(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, patches: Callable[..., PatchSet]
) -> None:
    patches(2).save(tmp_path / "patches.zarr")
    (tmp_path / "recipe.json").write_text('{"steps": "many"}')
    status = main([str(tmp_path / "recipe.json"), str(tmp_path / "patches.zarr"), str(tmp_path / "run")])
    assert status == 1
    assert "is not a recipe" in capsys.readouterr().err
