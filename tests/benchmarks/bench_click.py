"""From the click on "Train & preview" to the first preview: ``python tests/benchmarks/bench_click.py``.

On the sample project with the default recipe, as a user meets it: cold (no worker runs yet) and warm (it does). The
seconds are those of a person who waits; they hang on the machine and on what else it does.
"""

from __future__ import annotations

import argparse
import threading
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from rich.console import Console

from histotrain import Recipe
from napari_histoanno.session import Session

VIEW = (1500.0, 700.0, 2500.0, 1400.0)


def seconds_to_preview(session: Session, recipe: Recipe) -> tuple[float, int]:
    """Seconds from the click to the first preview, and its training step."""
    arrived = threading.Event()
    steps: list[int] = []

    def hear(result: object) -> None:
        steps.append(result.step)
        arrived.set()

    session.preview.connect(hear)
    session.request_preview(VIEW)
    clicked = time.perf_counter()
    job = session.start_training(recipe)
    if not arrived.wait(300):
        raise TimeoutError(f"no preview came: {job.message}")
    seconds = time.perf_counter() - clicked
    session.preview.disconnect(hear)
    session.stop_training()
    job.wait(60)
    return seconds, steps[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--recipe", default="default")
    arguments = parser.parse_args()
    console = Console()
    cold, warm = [], []
    for _ in range(arguments.rounds):
        with TemporaryDirectory() as folder:
            session = Session()
            try:
                session.open_sample(Path(folder) / "sample")
                cold.append(seconds_to_preview(session, Recipe.named(arguments.recipe)))
                warm.append(seconds_to_preview(session, Recipe.named(arguments.recipe)))
            finally:
                session.close()
    for name, found in (("cold click", cold), ("warm click", warm)):
        seconds = [each for each, _ in found]
        console.print(
            f"{name} → first preview: median {median(seconds):.1f} s "
            f"({min(seconds):.1f} … {max(seconds):.1f}), at step {found[0][1]}"
        )


if __name__ == "__main__":
    main()
