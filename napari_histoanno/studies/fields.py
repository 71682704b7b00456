"""Visual fields with nuclei: cut from slides, marked with dots, and searched for nuclei by a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from histotrain.data import PatchSet
from histotrain.models.separation import peaks
from napari_histoanno.studies.pathologist import Dots
from napari_histoanno.studies.windows import cut, grid_places

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from histotrain import LoadedModel

    UInt8 = NDArray[np.uint8]

LEAST = 24
"""Pixels of a nucleus that must lie in a field for it to count there."""
FEWEST = 8
"""Nuclei without which a field is not worth a look."""
DISC = 3
"""Radius of the disc that stands for a dot among object numbers, pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class VisualField:
    """A square of a slide, and all of its nuclei.

    Parameters
    ----------
    image : uint8, shape (H, W, 3)
        RGB.
    instances : int32, shape (H, W)
        Numbers of the nuclei, 0 between them.
    kinds : uint8, shape (n + 1,)
        Class id of each nucleus by its number; that of 0 is 0.
    """

    image: UInt8
    instances: NDArray[np.int32]
    kinds: UInt8

    def dots(self) -> Dots:
        """Centres of mass of the nuclei."""
        numbers = np.unique(self.instances)
        numbers = numbers[numbers > 0]
        if not len(numbers):
            return Dots.none()
        centres = np.asarray(ndimage.center_of_mass(self.instances > 0, self.instances, numbers), np.float64)
        return Dots(centres[:, ::-1] + 0.5, self.kinds[numbers].astype(np.int64))


def fields_of(image: UInt8, instances: NDArray[np.int32], kinds: UInt8, side: int) -> list[VisualField]:
    """The fields side by side in a picture that have nuclei enough; what is cut off to a rest is no nucleus there.

    Parameters
    ----------
    image, instances, kinds
        As in `VisualField`, of the whole picture.
    side : int
        Of a field, pixels.
    """
    places = grid_places((instances.shape[0], instances.shape[1]), side)
    found = []
    for part, numbers in zip(cut(image, places, side), cut(instances, places, side), strict=True):
        areas = np.bincount(numbers.ravel(), minlength=len(kinds))
        kept = np.where(areas >= LEAST, np.arange(len(areas)), 0).astype(np.int32)
        if np.count_nonzero(kept) >= FEWEST:
            found.append(VisualField(part, kept[numbers], kinds))
    return found


def dotted_patches(
    fields: Sequence[VisualField], dots: Sequence[Dots], size: int, names: Mapping[int, str]
) -> PatchSet:
    """Patches in which every nucleus is known by a dot.

    Parameters
    ----------
    fields : sequence of VisualField
        Their pictures are used, their truth is not.
    dots : sequence of Dots
        What stands in each field.
    size : int
        Side of a patch, pixels.
    names : mapping from id to name
        Of the classes.
    """
    parts = []
    for field, marked in zip(fields, dots, strict=True):
        shape = (field.image.shape[0], field.image.shape[1])
        numbers = discs(marked.points, shape)
        labels = np.concatenate([[0], marked.classes])[numbers].astype(np.uint8)
        places = grid_places(shape, size)
        instances = cut(numbers, places, size)
        parts.append(
            PatchSet(
                images=cut(field.image, places, size),
                labels=cut(labels, places, size),
                instances=instances,
                valid=np.ones(instances.shape, np.bool_),
                classes=tuple(names.values()),
                class_ids=tuple(names),
            )
        )
    return PatchSet.concat(parts)


def discs(points: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.int32]:
    """Object numbers int32 (H, W): a disc for each point (x, y), the first is 1; a pixel is its nearest point's."""
    numbers = np.zeros(shape, np.int32)
    nearest = np.full(shape, np.inf)
    reach = DISC + 1
    for number, (x, y) in enumerate(points, 1):
        top, left = max(int(y) - reach, 0), max(int(x) - reach, 0)
        window = (slice(top, int(y) + reach + 1), slice(left, int(x) + reach + 1))
        rows, columns = (np.arange(side.start, min(side.stop, size)) for side, size in zip(window, shape, strict=True))
        distance = np.hypot(rows[:, None] + 0.5 - y, columns + 0.5 - x)
        mine = (distance <= DISC) & (distance < nearest[window])
        numbers[window][mine] = number
        nearest[window][mine] = distance[mine]
    return numbers


def detect(model: LoadedModel, images: Sequence[UInt8]) -> list[Dots]:
    """What a detection network finds in pictures uint8 (H, W, 3)."""
    ids = np.asarray(model.class_ids, np.int64)
    found = []
    for image in images:
        logits = model.predict_maps(image[None])[0, ..., len(ids) :]
        maps = np.asarray(1 / (1 + np.exp(-np.moveaxis(logits, -1, 0))), np.float32)
        points, classes, _ = peaks(maps)
        found.append(Dots(points + 0.5, ids[classes]))
    return found
