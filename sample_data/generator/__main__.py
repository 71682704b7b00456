"""Write synthetic slides from the command line: ``python -m sample_data.generator OUTPUT [options]``."""

from __future__ import annotations

import argparse
from pathlib import Path

from .shipped import write_shipped
from .slide import make_slide
from .stain import STYLES
from .write import write_mosaic, write_slide, write_truth

LARGEST = 70_000_000
UNIT = 4096


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sample_data.generator", description=__doc__)
    parser.add_argument("output", type=Path, help="folder to write to")
    parser.add_argument("--shipped", action="store_true", help="rebuild the two slides that ship with the project")
    parser.add_argument("--name", default="slide", help="name of the files (default: slide)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--style", choices=sorted(STYLES), default="harbour", help="laboratory")
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        metavar=("WIDTH", "HEIGHT"),
        default=(4096, 3072),
        help="pixels; above 70 megapixels a mosaic of one mirrored slide without truth, for benchmarks",
    )
    return parser.parse_args()


def main() -> None:
    """Write what the command line asks for."""
    arguments = _arguments()
    folder: Path = arguments.output
    folder.mkdir(parents=True, exist_ok=True)
    if arguments.shipped:
        write_shipped(folder)
        return
    width, height = arguments.size
    path = folder / f"{arguments.name}.ome.tif"
    if width * height > LARGEST:
        unit = make_slide(arguments.seed, (UNIT, UNIT), arguments.style)
        write_mosaic(path, unit.image, (width, height))
        return
    slide = make_slide(arguments.seed, (width, height), arguments.style)
    write_slide(path, slide.image)
    write_truth(folder, arguments.name, slide)


if __name__ == "__main__":
    main()
