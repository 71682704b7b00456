"""Small slides of many laboratories: ``python -m sample_data.generator.varied OUTPUT --slides 16 --first-seed 1000``.

What networks are pre-trained on. A slide NAME gives ``images/NAME.png``, ``labels/NAME.tif`` (numbers of the nuclei),
``regions/NAME.png`` and ``kinds/NAME.png`` (of each pixel the region class and the class of its nucleus, 0 for none).
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from .slide import make_slide
from .stain import HARBOUR, MEADOW, StainStyle


def other_laboratory(rng: np.random.Generator) -> StainStyle:
    """A laboratory somewhere around the two that have names."""
    between = rng.uniform(-0.4, 1.4)

    def mixed(name: str, spread: float, low: float, high: float) -> tuple[float, ...]:
        ours, theirs = (np.atleast_1d(getattr(style, name)).astype(float) for style in (HARBOUR, MEADOW))
        values = (ours + between * (theirs - ours)) * rng.normal(1, spread, ours.shape)
        return tuple(np.clip(values, low, high).tolist())

    red, green, blue = (round(v) for v in mixed("glass", 0.015, 215, 254))
    return replace(
        HARBOUR,
        name="varied",
        haematoxylin=mixed("haematoxylin", 0.07, 0.05, 1.2),
        eosin=mixed("eosin", 0.12, 0.03, 1.2),
        haematoxylin_strength=mixed("haematoxylin_strength", 0.15, 0.7, 2.2)[0],
        eosin_strength=mixed("eosin_strength", 0.15, 0.6, 2.0)[0],
        glass=(red, green, blue),
        cleft=mixed("cleft", 0.2, 0.0, 1.0)[0],
        sigma=float(rng.uniform(0.3, 1.1)),
        sharpening=float(rng.uniform(0.2, 1.3)),
        defocus=float(rng.uniform(0.4, 1.5)),
    )


def write_varied(folder: Path, slides: int, side: int, first_seed: int) -> None:
    """Write so many slides of ``side`` x ``side`` pixels, of the seeds from ``first_seed`` on."""
    for part in ("images", "labels", "regions", "kinds"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for seed in range(first_seed, first_seed + slides):
        slide = make_slide(seed, (side, side), other_laboratory(np.random.default_rng([seed, 1])))
        kinds = np.zeros(int(slide.instances.max()) + 1, np.uint8)
        kinds[list(slide.nucleus_classes)] = list(slide.nucleus_classes.values())
        name = f"varied-{seed}"
        Image.fromarray(slide.image).save(folder / "images" / f"{name}.png")
        tifffile.imwrite(folder / "labels" / f"{name}.tif", slide.instances, compression="zlib")
        Image.fromarray(slide.regions).save(folder / "regions" / f"{name}.png")
        Image.fromarray(kinds[slide.instances]).save(folder / "kinds" / f"{name}.png")


def main() -> None:
    """Write what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m sample_data.generator.varied", description=__doc__)
    parser.add_argument("output", type=Path, help="folder to write to")
    parser.add_argument("--slides", type=int, default=16)
    parser.add_argument("--side", type=int, default=1536, help="pixels")
    parser.add_argument("--first-seed", type=int, default=1000, help="the slides that ship have seeds below 100")
    given = parser.parse_args()
    write_varied(given.output, given.slides, given.side, given.first_seed)


if __name__ == "__main__":
    main()
