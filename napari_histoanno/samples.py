"""The two synthetic slides that ship with the project, what is true of them, and a project that is already begun.

The files lie in ``sample_data/`` of a checkout and inside an installed package; either place is found. Everything in
them was computed from random numbers and is in the public domain (CC0). The generator that made them is there as well;
:func:`make_slide` makes more.
"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import imagecodecs
import numpy as np
import tifffile

from napari_histoanno.annotation import LabelClass, LabelScheme
from napari_histoanno.project import Project
from napari_histoanno.simulated import SimulatedAnnotator

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray

REGION_CLASSES = {
    1: "Tumour gland",
    2: "Benign gland",
    3: "Stroma",
    4: "Lymphoid aggregate",
    5: "Fat",
    6: "Background",
}
NUCLEUS_CLASSES = {1: "Neoplastic epithelial", 2: "Benign epithelial", 3: "Lymphocyte", 4: "Stromal"}

COLORS = {
    1: (228, 26, 28),
    2: (55, 126, 184),
    3: (255, 127, 0),
    4: (152, 78, 163),
    5: (255, 217, 47),
    6: (150, 150, 150),
}
PATIENTS = {"harbour": "H-014", "meadow": "M-207"}
ANNOTATOR = "Simulated annotator"

_GENERATOR = "napari_histoanno._sample_generator"
_SUFFIX = ".ome.tif"
_SEED = 7


class SampleError(Exception):
    """Sample data that is not there, or a name that none has."""


@dataclass(frozen=True, slots=True)
class SampleTruth:
    """What is true of a sample slide; level-0 pixels, (x, y), corner-based.

    Parameters
    ----------
    regions : ndarray of uint8, (h, w)
        Class of every pixel, ids of ``region_names``. A lumen belongs to its gland, a vessel to the stroma.
    instances : ndarray of int32, (h, w)
        Nuclei 1 … n, 0 between them.
    ids, classes, areas : ndarray of int, (n,)
        Id in ``instances``, id in ``nucleus_names``, number of pixels.
    ellipses : ndarray of float, (n, 5)
        cx, cy, a, b, angle in radians; same centre, second moments and area as the mask.
    boxes : ndarray of int, (n, 4)
        x, y, width, height; tight.
    points : ndarray of float, (n, 2)
        A pixel of each nucleus near its centre.
    """

    regions: NDArray[np.uint8]
    instances: NDArray[np.int32]
    ids: NDArray[np.int64]
    classes: NDArray[np.uint8]
    areas: NDArray[np.int64]
    ellipses: NDArray[np.float64]
    boxes: NDArray[np.int64]
    points: NDArray[np.float64]
    region_names: dict[int, str]
    nucleus_names: dict[int, str]

    def patch_labels(self, size: int) -> NDArray[np.uint8]:
        """Most frequent region of each ``size`` x ``size`` patch of a grid from the top left, (rows, columns)."""
        rows, columns = self.regions.shape[0] // size, self.regions.shape[1] // size
        patches = self.regions[: rows * size, : columns * size].reshape(rows, size, columns, size)
        counts = [(patches == region).sum((1, 3)) for region in self.region_names]
        ids = np.asarray(list(self.region_names), np.uint8)
        return np.asarray(ids[np.argmax(counts, axis=0)], np.uint8)


def sample_folder() -> Path:
    """Folder with the sample files.

    Raises
    ------
    SampleError
        If neither the installed package nor the checkout has them.
    """
    package = Path(__file__).resolve().parent
    places = (package / "_sample_data", package.parent / "sample_data")
    for place in places:
        if any(place.glob(f"*{_SUFFIX}")):
            return place
    raise SampleError(
        f"the sample slides are missing: neither {places[0]} nor {places[1]} holds any; "
        "install the package again, or make them with python -m sample_data.generator sample_data --shipped"
    )


class SyntheticSlide(Protocol):
    """A slide made by the generator, and all that is known of it.

    ``image`` uint8 (h, w, 3); ``regions`` uint8 (h, w), ids of :data:`REGION_CLASSES`; ``instances`` int32 (h, w),
    nuclei 1 … n; ``nucleus_classes`` from their number to the id in :data:`NUCLEUS_CLASSES`; ``mpp`` µm per pixel.
    """

    @property
    def image(self) -> NDArray[np.uint8]: ...

    @property
    def regions(self) -> NDArray[np.uint8]: ...

    @property
    def instances(self) -> NDArray[np.int32]: ...

    @property
    def nucleus_classes(self) -> dict[int, int]: ...

    @property
    def mpp(self) -> float: ...


def generator() -> ModuleType:
    """The package that makes synthetic slides, from a checkout or from inside the installed package.

    Raises
    ------
    SampleError
        If neither has it.
    """
    if _GENERATOR in sys.modules:
        return sys.modules[_GENERATOR]
    package = Path(__file__).resolve().parent
    places = (package / "_sample_data", package.parent / "sample_data")
    for place in places:
        folder = place / "generator"
        spec = importlib.util.spec_from_file_location(
            _GENERATOR, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        if (folder / "__init__.py").is_file() and spec is not None and spec.loader is not None:
            module = importlib.util.module_from_spec(spec)
            # Its modules import each other by their place in this package, so it has to be known before it runs.
            sys.modules[_GENERATOR] = module
            spec.loader.exec_module(module)
            return module
    raise SampleError(f"the generator of synthetic slides is missing from {places[0]} and {places[1]}")


def make_slide(seed: int, size: tuple[int, int] = (4096, 3072), style: object = "harbour") -> SyntheticSlide:
    """Synthetic slide at 0.5 µm/px with its truth; equal arguments give equal slides.

    Parameters
    ----------
    seed : int
        Start of all random choices.
    size : (int, int)
        Width and height, pixels, at least 256.
    style : str or StainStyle
        Laboratory: "harbour", "meadow", or one made from :func:`generator`'s ``StainStyle``.

    Raises
    ------
    SampleError
        If the generator is missing.
    ValueError
        If the style is unknown or the slide too small.
    """
    slide: SyntheticSlide = generator().make_slide(seed, size, style)
    return slide


def sample_slides() -> list[Path]:
    """Paths of the sample slides, in alphabetical order."""
    return sorted(sample_folder().glob(f"*{_SUFFIX}"))


def sample_truth(name: str | Path) -> SampleTruth:
    """What is true of a sample slide, by its name (``"harbour"``) or path.

    Raises
    ------
    SampleError
        If there is no such sample.
    """
    name = Path(name).name.removesuffix(_SUFFIX)
    folder = sample_folder()
    if not (folder / f"{name}.nuclei.npz").is_file():
        known = ", ".join(path.name.removesuffix(_SUFFIX) for path in sample_slides())
        raise SampleError(f"no truth for a sample slide {name!r}; there is {known}")
    with np.load(folder / f"{name}.nuclei.npz") as table:
        return SampleTruth(
            regions=np.asarray(imagecodecs.imread(folder / f"{name}.regions.png"), np.uint8),
            instances=tifffile.imread(folder / f"{name}.instances.tif").astype(np.int32),
            ids=table["ids"],
            classes=table["classes"],
            areas=table["areas"],
            ellipses=table["ellipses"].astype(np.float64),
            boxes=table["boxes"],
            points=table["points"].astype(np.float64),
            region_names=dict(REGION_CLASSES),
            nucleus_names=dict(NUCLEUS_CLASSES),
        )


def sample_scheme() -> LabelScheme:
    """Label classes of the sample project: the regions, ordered so that the malignant one is the highest grade."""
    grades = {6: 0, 5: 1, 3: 2, 4: 3, 2: 4, 1: 5}
    return LabelScheme(
        tuple(
            LabelClass(key, name, COLORS[key], grade=grades[key], hotkey=str(key), background=name == "Background")
            for key, name in REGION_CLASSES.items()
        )
    )


def sample_project(destination: Path) -> Project:
    """Make a project that somebody has begun: both slides, label classes, and a few minutes' worth of annotations.

    On each slide lie brush strokes on the pixel mask, scribbles, some nuclei as ellipses, boxes and points, and on the
    first slide one small region in which everything is annotated. All of it is drawn from the known truth, so what is
    marked is right.

    Parameters
    ----------
    destination : Path
        A folder that does not hold a project yet.

    Returns
    -------
    Project
        Open; the caller closes it.

    Raises
    ------
    SampleError
        If the sample slides are missing.
    ProjectError
        If the folder holds a project or cannot be written.
    """
    paths = sample_slides()
    project = Project.create(destination, scheme=sample_scheme(), annotator=ANNOTATOR)
    try:
        for index, path in enumerate(paths):
            name = path.name.removesuffix(_SUFFIX)
            record = project.add_slide(path, patient=PATIENTS.get(name, ""), name=name)
            hand = SimulatedAnnotator(sample_truth(name), np.random.default_rng((_SEED, index)))
            with project.transaction("paint"), project.raster(record.id).edit() as edit:
                for x, y, block in hand.brush_strokes():
                    edit.write(y, x, block, mask=block > 0)
            project.annotations.add(hand.marks(record.id, ANNOTATOR))
            if index == 0:
                region, (x, y, block) = hand.exhaustive_region(record.id, ANNOTATOR)
                project.raster(record.id).write(y, x, block)
                project.annotations.add([region])
    except BaseException:
        project.close()
        raise
    return project
