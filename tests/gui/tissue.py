"""A small synthetic slide in a project, and places on it of which it is known what they show."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_histoanno.annotation import LabelScheme
from napari_histoanno.project import Project
from sample_data.generator import SyntheticSlide, make_slide
from sample_data.generator.write import write_slide

if TYPE_CHECKING:
    from pathlib import Path

SIZE = (1024, 768)
STROMA_TRUTH, GLAND_TRUTH = 3, 1
GLAND, STROMA, BACKGROUND = 1, 2, 3


@lru_cache(maxsize=2)
def synthetic(seed: int = 3) -> SyntheticSlide:
    return make_slide(seed, SIZE)


def slide_file(folder: Path, seed: int = 3, name: str = "tissue.tif") -> Path:
    """The slide as a pyramidal TIFF of 0.5 µm per pixel."""
    folder.mkdir(parents=True, exist_ok=True)
    write_slide(folder / name, synthetic(seed).image)
    return folder / name


def scheme() -> LabelScheme:
    return LabelScheme.from_names(["Gland", "Stroma", "Background"], background="Background")


def project_folder(folder: Path, *, slides: int = 1) -> Path:
    """A project with slides and classes, and nothing drawn."""
    with Project.create(folder / "study", scheme=scheme(), annotator="Ada") as project:
        for number in range(slides):
            project.add_slide(slide_file(folder / f"slides{number}", 3 + number, f"tissue{number}.tif"))
    return folder / "study"


@dataclass(frozen=True)
class Place:
    """Centre of a square of one tissue, level-0 pixels, and half of its side."""

    x: float
    y: float
    reach: float


def roomiest(truth_class: int, count: int, seed: int = 3) -> list[Place]:
    """Places deep inside one kind of tissue, the roomiest first and apart from each other."""
    inside = np.pad(synthetic(seed).regions == truth_class, 1)[1:-1, 1:-1]
    inside[:40] = inside[-40:] = False
    inside[:, :40] = inside[:, -40:] = False
    depth = ndimage.distance_transform_cdt(inside, metric="chessboard").astype(float)
    places = []
    for _ in range(count):
        y, x = np.unravel_index(int(np.argmax(depth)), depth.shape)
        reach = float(depth[y, x])
        assert reach > 4, "no room for so many places"
        places.append(Place(float(x), float(y), min(reach, 40.0)))
        rows, columns = np.indices(depth.shape)
        depth[(abs(rows - y) < 60) & (abs(columns - x) < 60)] = 0
    return places


def nuclei(count: int, seed: int = 3) -> list[tuple[float, float]]:
    """Points (x, y) in the largest nuclei, well inside the slide and apart from each other."""
    table, chosen = synthetic(seed).nuclei(), []
    for number in np.argsort(-table.areas):
        x, y = (float(value) for value in table.points[number])
        inside = 60 < x < SIZE[0] - 60 and 60 < y < SIZE[1] - 60
        if inside and all(abs(x - a) + abs(y - b) > 60 for a, b in chosen):
            chosen.append((x, y))
        if len(chosen) == count:
            break
    return chosen
