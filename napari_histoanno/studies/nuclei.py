"""Nuclei as they are annotated at a granularity, and the windows and masks that are made of that.

The paths are the real ones: the truth's instance map becomes outlines, ellipses or boxes by
:func:`~napari_histoanno.annotation.convert_mask`, and these become masks by
:func:`~napari_histoanno.annotation.rasterize`. Where two shapes overlap the higher grade is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import tifffile
from PIL import Image

from histotrain.data import PatchSet
from napari_histoanno.annotation import Granularity, convert_mask, rasterize
from napari_histoanno.studies.grid import StudyError
from napari_histoanno.studies.windows import cut

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_histoanno.annotation import Geometry
    from napari_histoanno.studies.scenes import Scene

    UInt8 = NDArray[np.uint8]
    Shapes = Sequence[tuple[int, Geometry]]

GRANULARITIES = {"box": Granularity.BOX, "ellipse": Granularity.ELLIPSE, "pixel": Granularity.PIXEL}
"""From coarse to fine."""

BACKGROUND = 1
MASK_NAMES = {BACKGROUND: "Background", 2: "Normal nucleus", 3: "Benign epithelial", 4: "Neoplastic epithelial"}
"""Classes of masks. The last three are the study's grades 0, 1 and 2: lymphocytes and stromal nuclei are normal,
benign and neoplastic epithelium stand in for the two grades of carcinoma, of which the slides have none."""

GRADE_NAMES = {1: "Grade 0", 2: "Grade 1", 3: "Grade 2"}
GRADE_OF_KIND = np.array([0, 3, 2, 1, 1], np.uint8)
"""From the generator's kinds (none, neoplastic, benign, lymphocyte, stromal) to ids of :data:`GRADE_NAMES`."""


@dataclass(frozen=True, slots=True, eq=False)
class Nuclei:
    """A picture with its nuclei.

    Parameters
    ----------
    name : str
        Of the picture.
    image : uint8, shape (H, W, 3)
        RGB.
    instances : int32, shape (H, W)
        Nuclei 1 … n, 0 between them.
    grades : uint8, shape (n + 1,)
        Grade of each nucleus by its number, 1 … 3 in rising order; that of 0 is 0.
    """

    name: str
    image: UInt8
    instances: NDArray[np.int32]
    grades: UInt8

    @classmethod
    def of_scene(cls, scene: Scene) -> Nuclei:
        """Those of a synthetic slide."""
        return cls(scene.name, scene.image, scene.instances, GRADE_OF_KIND[scene.nucleus_classes])

    def shapes(self, granularity: Granularity) -> list[tuple[int, Geometry]]:
        """Every nucleus (number, shape) as it is annotated at this granularity, the highest grade last."""
        return sorted(convert_mask(self.instances, granularity), key=lambda shape: int(self.grades[shape[0]]))

    def painted(self, shapes: Shapes) -> UInt8:
        """Grade of each pixel, uint8 (H, W); 0 where there is no shape."""
        height, width = self.instances.shape
        pairs = [(geometry, int(self.grades[number])) for number, geometry in shapes]
        return np.asarray(rasterize(pairs, (width, height)), np.uint8)

    def mask(self, granularity: Granularity) -> UInt8:
        """Ids of :data:`MASK_NAMES`, uint8 (H, W): everything is annotated, what is no nucleus is background."""
        return np.asarray(self.painted(self.shapes(granularity)) + BACKGROUND, np.uint8)


def graded_windows(nuclei: Nuclei, granularity: Granularity, size: int) -> tuple[NDArray[np.int64], UInt8]:
    """Windows of a grid of half their size that hold one whole annotated nucleus, and the highest grade in each.

    Shi et al. (2019, section III B 1): stride of a half; a window with several kinds of annotation has the highest
    grade; one without a complete nucleus is discarded. What granularity changes is which windows are kept and which
    grade they get: a box reaches into windows that its nucleus does not.

    Parameters
    ----------
    nuclei : Nuclei
        The picture.
    granularity : Granularity
        How it is annotated.
    size : int
        Side of a window, pixels; even.

    Returns
    -------
    places : int64, shape (n, 2)
        Top left corners (row, column).
    grades : uint8, shape (n,)
        Ids of :data:`GRADE_NAMES`.
    """
    step = size // 2
    shapes = nuclei.shapes(granularity)
    labels = nuclei.painted(shapes)
    rows, columns = labels.shape[0] // step, labels.shape[1] // step
    cells = labels[: rows * step, : columns * step].reshape(rows, step, columns, step).max((1, 3))
    highest = np.maximum(np.maximum(cells[:-1, :-1], cells[1:, :-1]), np.maximum(cells[:-1, 1:], cells[1:, 1:]))
    whole = np.zeros(highest.shape, bool)
    for x0, y0, x1, y1 in _bounds(shapes).values():
        top, left = max(int(np.ceil((y1 - size) / step)), 0), max(int(np.ceil((x1 - size) / step)), 0)
        whole[top : int(y0 // step) + 1, left : int(x0 // step) + 1] = True
    places = np.argwhere(whole & (highest > 0))
    return places * step, highest[tuple(places.T)]


def _bounds(shapes: Shapes) -> dict[int, tuple[float, float, float, float]]:
    """Extent of each nucleus, over all its parts."""
    found: dict[int, tuple[float, float, float, float]] = {}
    for number, geometry in shapes:
        x0, y0, x1, y1 = geometry.bounds
        a, b, c, d = found.get(number, (x0, y0, x1, y1))
        found[number] = (min(a, x0), min(b, y0), max(c, x1), max(d, y1))
    return found


def window_patches(
    pictures: Sequence[Nuclei],
    granularity: Granularity,
    size: int,
    *,
    resized: int,
    most: int,
    rng: np.random.Generator,
) -> PatchSet:
    """Windows of all pictures with their grades, as many of each grade, resized.

    Parameters
    ----------
    pictures : sequence of Nuclei
        Where they are cut.
    granularity : Granularity
        How these are annotated.
    size, resized : int
        Side of a window in the picture, and of a patch, pixels.
    most : int
        Windows of one grade at most.
    rng : numpy.random.Generator
        Which of those that there are more of than of the rarest grade.

    Raises
    ------
    StudyError
        If a grade has no window.
    """
    parts = [graded_windows(picture, granularity, size) for picture in pictures]
    grades = np.concatenate([found for _, found in parts])
    source = np.concatenate([np.full(len(found), n) for n, (_, found) in enumerate(parts)])
    places = np.concatenate([where for where, _ in parts])
    count = min(most, *(int((grades == grade).sum()) for grade in GRADE_NAMES))
    if not count:
        raise StudyError(f"A grade has no window of {size} px; use larger slides.")
    chosen = np.sort(np.concatenate([rng.permutation(np.flatnonzero(grades == g))[:count] for g in GRADE_NAMES]))
    images = np.concatenate(
        [cut(picture.image, places[chosen[source[chosen] == n]], size) for n, picture in enumerate(pictures)]
    )
    order = np.concatenate([chosen[source[chosen] == n] for n in range(len(pictures))])
    return PatchSet(
        images=_resized(np.asarray(images, np.uint8), resized),
        patch_classes=grades[order],
        classes=tuple(GRADE_NAMES.values()),
        class_ids=tuple(GRADE_NAMES),
    )


def _resized(images: UInt8, side: int) -> UInt8:
    if images.shape[1] == side:
        return images
    way = cv2.INTER_AREA if side < images.shape[1] else cv2.INTER_CUBIC
    return np.stack([cv2.resize(image, (side, side), interpolation=way) for image in images])


def load_real(folder: Path) -> list[Nuclei]:
    """Pictures of a folder with ``images/NAME.png`` and ``labels/NAME….tif`` (instance maps), by name.

    Their nuclei have no grade and all get 1.

    Raises
    ------
    StudyError
        If there are none, or a picture has no labels.
    """
    found = []
    for path in sorted((folder / "images").glob("*.png")):
        labels = sorted((folder / "labels").glob(f"{path.stem}*.tif*"))
        if not labels:
            raise StudyError(f"{path} has no instance map in {folder / 'labels'}.")
        instances = tifffile.imread(labels[0]).astype(np.int32)
        grades = np.ones(int(instances.max()) + 1, np.uint8)
        grades[0] = 0
        found.append(Nuclei(path.stem, np.array(Image.open(path).convert("RGB")), instances, grades))
    if not found:
        raise StudyError(f"{folder} has no images/*.png.")
    return found
