"""From clicks to masks by each method: ``python -m tests.benchmarks.bench_clicks FOLDER`` (of the real nuclei).

One click on any pixel of every nucleus of the images that were held out of the training. The other clicks are shown as
exclusion or, in the row "alone", hidden (every fifth nucleus then). Most looks lie beyond the range of the random looks
of the training; grey images are among those. They are seen on every fourth of the images. Times are processor time of
one core, all clicks of an image in one call, the best of the rounds.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from napari_histoanno.annotation import ClickMethod, click_masks
from napari_histoanno.annotation.click_network import WEIGHTS
from tests.annotation.nuclei_report import held_out, instance_ious, load_nuclei, random_points_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Picture = tuple[NDArray[np.uint8], NDArray[np.int32]]

_PLAIN = "as they are"
_ALONE = "as they are, each click alone"
_STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
_BROWN = np.array([[0.45, 0.62, 0.64], [0.25, 0.75, 0.61], [0.27, 0.57, 0.78]])


def main(arguments: list[str] | None = None) -> None:
    """Measure and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--card", action="store_true", help="write the network's figures into its card")
    parser.add_argument("--methods", nargs="+", type=ClickMethod, default=list(ClickMethod))
    parser.add_argument("--rounds", type=int, default=3, help="of the timing")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    nuclei = [picture for n, picture in enumerate(load_nuclei(options.folder)) if held_out(n)]
    methods = options.methods
    sys.stdout.write(f"{sum(len(np.unique(t)) - 1 for _, t in nuclei)} nuclei of {len(nuclei)} held-out images\n\n")
    sys.stdout.write(_row("mean IoU", [method.value for method in methods]) + _row("---", ["---"] * len(methods)))
    figures: dict[str, list[float]] = {}
    for name, look in LOOKS.items():
        seen = [look(*picture) for picture in (nuclei if name == _PLAIN else nuclei[::4])]
        figures[name] = [round(_quality(seen, method), 3) for method in methods]
        sys.stdout.write(_row(name, [f"{value:.3f}" for value in figures[name]]))
    figures[_ALONE] = [round(_quality(nuclei, method, alone=True), 3) for method in methods]
    sys.stdout.write(_row(_ALONE, [f"{value:.3f}" for value in figures[_ALONE]]))
    if options.card and ClickMethod.NETWORK in methods:
        _note({name: values[methods.index(ClickMethod.NETWORK)] for name, values in figures.items()})
    milliseconds = [_best_time(nuclei, method, options.rounds) for method in methods]
    sys.stdout.write(_row("ms per click", [f"{value:.1f}" for value in milliseconds]))
    sys.stdout.write(_row("clicks per second", [f"{1000 / value:.0f}" for value in milliseconds]))


def _note(figures: dict[str, float]) -> None:
    path = WEIGHTS.with_suffix(".json")
    card = json.loads(path.read_text()) | {"figures": {"mean IoU on held-out real nuclei": figures}}
    path.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n")


def _row(name: str, cells: list[str]) -> str:
    return f"| {name} | {' | '.join(cells)} |\n"


def _quality(nuclei: list[Picture], method: ClickMethod, *, alone: bool = False) -> float:
    rng = np.random.default_rng(0)
    ious: list[float] = []
    for image, truth in nuclei:
        ids, points = random_points_of(truth, rng)
        if not alone:
            labels = click_masks(image, points, method=method).labels
            ious += instance_ious(truth, np.concatenate([[0], ids]).astype(np.int32)[labels]).tolist()
            continue
        for value, point in zip(ids[::5], points[::5], strict=True):
            found, own = click_masks(image, [point], method=method).labels > 0, truth == value
            ious.append(float((found & own).sum() / (found | own).sum()))
    return float(np.mean(ious))


def _best_time(nuclei: list[Picture], method: ClickMethod, rounds: int) -> float:
    """Milliseconds of one core per click."""
    times = []
    for _ in range(rounds):
        number, began = 0, time.process_time()
        for image, truth in nuclei[:5]:
            points = random_points_of(truth, np.random.default_rng(0))[1]
            click_masks(image, points, method=method)
            number += len(points)
        times.append(1000 * (time.process_time() - began) / number)
    return min(times)


def _scaled(factor: float) -> Callable[..., Picture]:
    def look(image: NDArray[np.uint8], truth: NDArray[np.int32]) -> Picture:
        size = (round(image.shape[1] * factor), round(image.shape[0] * factor))
        way = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
        larger = cv2.resize(truth.astype(np.float32), size, interpolation=cv2.INTER_NEAREST).astype(np.int32)
        return np.asarray(cv2.resize(image, size, interpolation=way), np.uint8), larger

    return look


def _changed(change: Callable[[NDArray[np.uint8]], Any]) -> Callable[..., Picture]:
    return lambda image, truth: (np.clip(change(image), 0, 255).astype(np.uint8), truth)


def _restained(haematoxylin: float, eosin: float, dyes: NDArray[np.float64] = _STAINS) -> Callable[..., Picture]:
    mixing = np.linalg.inv(_STAINS) @ (np.array([haematoxylin, eosin, 1.0])[:, None] * dyes)

    def change(image: NDArray[np.uint8]) -> NDArray[np.float64]:
        density = -np.log((image.astype(np.float64) + 1) / 256)
        return 255 * np.exp(-np.clip(density @ mixing, 0, None))

    return _changed(change)


def _compressed(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 15])[1], cv2.IMREAD_COLOR))


LOOKS: dict[str, Callable[..., Picture]] = {
    _PLAIN: lambda image, truth: (image, truth),
    "as they are, every fourth": lambda image, truth: (image, truth),
    "half the size": _scaled(0.5),
    "1.7 times the size": _scaled(1.7),
    "half the haematoxylin, twice the eosin": _restained(0.5, 2.0),
    "twice the haematoxylin": _restained(2.0, 1.0),
    "brown instead of blue": _restained(1.0, 1.0, _BROWN),
    "faded to a third": _changed(lambda image: 245 - (245 - image.astype(np.float64)) / 3),
    "grey": _changed(lambda image: np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2)),
    "out of focus, sigma 2.5": _changed(lambda image: cv2.GaussianBlur(image, (0, 0), 2.5)),
    "JPEG of quality 15": _changed(_compressed),
}


if __name__ == "__main__":
    main()
