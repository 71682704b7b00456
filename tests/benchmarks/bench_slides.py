"""Reading speed of slides beside OpenSlide and tifffile + dask: ``python tests/benchmarks/bench_slides.py --slide
slide.svs``.

The readers take turns within each round, so that whatever else the machine does hits all of them, and every round
reads other places. What counts is the ratio of the medians: 1.0 is ours, 4 means four times slower than ours.
``scattered`` reads random places (few tiles are met twice), ``grid`` overlapping patches in order, as an export does.
Caches are as each reader ships them, emptied between rounds where it is ours; ``ours, no cache`` shows decoding
alone.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import tifffile

from napari_histoanno.slides import open_slide, tile_cache

Place = tuple[int, int]
Read = Callable[[int, int, int], object]


def main(arguments: list[str] | None = None) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slide", type=Path, help="a TIFF-based slide; generated if not given")
    parser.add_argument("--reads", type=int, default=150, help="regions per reader and round")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--side", type=int, default=256, help="pixels along each side of a region")
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        path = options.slide
        if path is None:
            path = generate(Path(stack.enter_context(tempfile.TemporaryDirectory())) / "generated.tif")
        with open_slide(path) as slide:
            dimensions = slide.dimensions
        readers = {name: stack.enter_context(opening(path)) for name, opening in READERS.items()}
        sys.stdout.write(f"{path.name}, {dimensions[0]} x {dimensions[1]} px, {options.side} px regions at level 0\n\n")
        for job, places in (("scattered", scattered), ("grid", grid)):
            times = measure(readers, lambda rng, p=places: p(rng, dimensions, options), options)
            sys.stdout.write(table(job, times))


def measure(
    readers: dict[str, Read], places: Callable[[np.random.Generator], list[Place]], options: argparse.Namespace
) -> dict[str, float]:
    """Median milliseconds per region of each reader; the first round warms up and does not count."""
    times: dict[str, list[float]] = {name: [] for name in readers}
    capacity = tile_cache().max_bytes
    for turn in range(options.rounds + 1):
        wanted = places(np.random.default_rng(turn))
        for name, read in readers.items():
            tile_cache().clear()
            tile_cache().resize(0 if name == "ours, no cache" else capacity)
            started = time.perf_counter()
            for x, y in wanted:
                read(x, y, options.side)
            if turn:
                times[name].append((time.perf_counter() - started) / len(wanted) * 1e3)
    tile_cache().resize(capacity)
    return {name: median(values) for name, values in times.items()}


def table(job: str, times: dict[str, float]) -> str:
    """Milliseconds per region and the ratio to ours."""
    ours = times["ours"]
    rows = "".join(f"| {name:<18} | {value:9.3f} | {value / ours:6.2f} |\n" for name, value in times.items())
    return f"| {job:<18} | ms/region |  ratio |\n|{'-' * 20}|{'-' * 10}:|{'-' * 7}:|\n{rows}\n"


def scattered(rng: np.random.Generator, size: Place, options: argparse.Namespace) -> list[Place]:
    """Random corners."""
    return [tuple(int(rng.integers(max(1, side - options.side))) for side in size) for _ in range(options.reads)]  # type: ignore[misc]


def grid(rng: np.random.Generator, size: Place, options: argparse.Namespace) -> list[Place]:
    """Neighbouring corners half a region apart, row by row, from a random start."""
    step, columns = options.side // 2, 12
    rows = options.reads // columns
    x0, y0 = (
        int(rng.integers(max(1, side - n * step - options.side))) for side, n in zip(size, (columns, rows), strict=True)
    )
    return [(x0 + step * i, y0 + step * j) for j in range(rows) for i in range(columns)]


@contextmanager
def _ours(path: Path) -> Iterator[Read]:
    with open_slide(path) as slide:
        yield lambda x, y, side: slide.read_region((x, y), 0, (side, side))


@contextmanager
def _openslide(path: Path) -> Iterator[Read]:
    import openslide

    with openslide.OpenSlide(str(path)) as slide:
        yield lambda x, y, side: np.asarray(slide.read_region((x, y), 0, (side, side)))[..., :3]


@contextmanager
def _tifffile_dask(path: Path) -> Iterator[Read]:
    import dask.array as da
    import zarr

    with tifffile.TiffFile(path) as tiff:
        store: Any = tiff.series[0].aszarr(level=0)
        array = da.from_array(zarr.open(store, mode="r"))
        yield lambda x, y, side: array[y : y + side, x : x + side].compute()


READERS: dict[str, Callable[[Path], Any]] = {
    "ours": _ours,
    "ours, no cache": _ours,
    "openslide-python": _openslide,
    "tifffile + dask": _tifffile_dask,
}


def generate(path: Path, side: int = 8192) -> Path:
    """A JPEG pyramid with enough texture that tiles weigh what real ones do."""
    rng = np.random.default_rng(0)
    block = rng.normal(0, 25, (1024, 1024, 3))
    y, x = np.mgrid[:1024, :1024]
    block += 170 + 40 * np.sin(x / 37)[..., None] * np.cos(y / 23)[..., None]
    image = np.tile(np.clip(block, 0, 255).astype(np.uint8), (side // 1024, side // 1024, 1))
    with tifffile.TiffWriter(path) as tiff:
        for i, step in enumerate((1, 4)):
            tiff.write(
                image[::step, ::step],
                tile=(256, 256),
                photometric="rgb",
                compression="jpeg",
                compressionargs={"level": 80},
                subfiletype=int(i > 0),
                metadata=None,
            )
    return path


if __name__ == "__main__":
    main()
