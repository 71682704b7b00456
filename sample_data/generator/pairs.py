"""Write small synthetic images and their object numbers, to train nuclei on.

``python -m sample_data.generator.pairs FOLDER`` makes ``images/NAME.png`` and ``labels/NAME.tif``, in all stain styles
by turns. The click network that ships with the package was trained on the images of the default arguments.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from .slide import make_slide
from .stain import STYLES


def write_pairs(folder: Path, number: int, side: int, seed: int) -> None:
    """Images ``seed`` … ``seed + number - 1``, ``side`` pixels wide and high."""
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    styles = list(STYLES)
    for n in range(number):
        slide = make_slide(seed + n, (side, side), styles[n % len(styles)])
        Image.fromarray(slide.image).save(folder / "images" / f"{n:03d}.png")
        labels = slide.instances.astype(np.uint16)
        tifffile.imwrite(folder / "labels" / f"{n:03d}.tif", labels, compression="zlib")


def main() -> None:
    """Write what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m sample_data.generator.pairs", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--number", type=int, default=24)
    parser.add_argument("--side", type=int, default=768, help="pixels")
    parser.add_argument("--seed", type=int, default=1000, help="of the first image")
    given = parser.parse_args()
    write_pairs(given.folder, given.number, given.side, given.seed)


if __name__ == "__main__":
    main()
