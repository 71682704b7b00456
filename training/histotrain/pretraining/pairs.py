"""Images with numbered objects, read from folders, and random places in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from histotrain.errors import TrainingError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_SMALLEST = 12  # pixels; less is a sliver that a neighbour or the edge left over
_CLEAR = 3.0  # pixels between a place without objects and the next object


_Image = TypeVar("_Image")


@dataclass(frozen=True, slots=True)
class Pair:
    """An image and its objects.

    Attributes
    ----------
    name : str
        Of the image, without suffix.
    image : ndarray, uint8, shape (H, W, 3)
        RGB.
    labels : ndarray, int32, shape (H, W)
        Number of each pixel's object, 0 for none.
    ids : ndarray, int32, shape (n,)
        Numbers of the objects that are large enough to be clicked.
    boxes : ndarray, float64, shape (n, 4)
        (x0, y0, x1, y1) of each, corner-based pixels.
    interiors : tuple of ndarray, int32, shape (pixels, 2)
        The (x, y) of the pixels of each.
    empty : ndarray, int32, shape (m, 2)
        The (x, y) of pixels where nothing is near.
    """

    name: str
    image: NDArray[np.uint8]
    labels: NDArray[np.int32]
    ids: NDArray[np.int32]
    boxes: NDArray[np.float64]
    interiors: tuple[NDArray[np.int32], ...]
    empty: NDArray[np.int32]

    @classmethod
    def of(cls, name: str, image: NDArray[np.uint8], labels: NDArray[np.int32]) -> Pair:
        """Look up every object of an image.

        Raises
        ------
        TrainingError
            If image and labels are not of one size, or the image is not RGB of uint8.
        """
        from scipy import ndimage

        if image.shape != (*labels.shape, 3) or image.dtype != np.uint8:
            raise TrainingError(
                f"{name} cannot be trained on",
                f"its image is {image.dtype} of shape {image.shape}, its labels are of shape {labels.shape}",
            )
        ids, boxes, interiors = [], [], []
        for number, window in enumerate(ndimage.find_objects(labels), 1):
            if window is None:
                continue
            rows, columns = np.nonzero(labels[window] == number)
            if len(rows) < _SMALLEST:
                continue
            corner = window[1].start, window[0].start
            ids.append(number)
            boxes.append((*corner, window[1].stop, window[0].stop))
            interiors.append((np.stack([columns, rows], axis=1) + corner).astype(np.int32))
        clear = ndimage.distance_transform_edt(labels == 0) > _CLEAR
        empty = np.argwhere(clear)[::7, ::-1].astype(np.int32)
        extents = np.array(boxes, np.float64).reshape(-1, 4)
        return cls(name, image, labels, np.array(ids, np.int32), extents, tuple(interiors), empty)


def load_pairs(folder: Path) -> list[Pair]:
    """Every ``images/NAME.png`` (RGB) with its ``labels/NAME*.tif`` (object numbers), by name.

    Raises
    ------
    TrainingError
        If there is none, or an image has no labels.
    """
    import tifffile
    from PIL import Image

    pairs = []
    for path in sorted((folder / "images").glob("*.png")):
        labels = sorted((folder / "labels").glob(f"{path.stem}*.tif"))
        if not labels:
            raise TrainingError(f"{path.name} has no labels", f"there is no {folder / 'labels' / path.stem}*.tif")
        image = np.array(Image.open(path).convert("RGB"))
        pairs.append(Pair.of(path.stem, image, tifffile.imread(labels[0]).astype(np.int32)))
    if not pairs:
        raise TrainingError("there is nothing to train on", f"{folder} holds no images/*.png")
    return pairs


def without_held_out(images: list[_Image]) -> list[_Image]:
    """All but every fourth of images by name, which are kept for testing."""
    return [image for n, image in enumerate(images) if n % 4 != 3]
