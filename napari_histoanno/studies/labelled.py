"""Patches of pictures whose pixels are labelled, in whole or in part."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from histotrain.data import PatchSet
from napari_histoanno.studies.windows import cut

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    UInt8 = NDArray[np.uint8]


def labelled_patches(
    images: Sequence[UInt8], masks: Sequence[UInt8], size: int, names: Mapping[int, str], *, weight: float = 1.0
) -> PatchSet:
    """Windows of a grid of half their size that hold any label.

    Parameters
    ----------
    images : sequence of uint8, shape (H, W, 3)
        RGB.
    masks : sequence of uint8, shape (H, W)
        One for each: ids of ``names``, 0 is unlabelled.
    size : int
        Side of a window, pixels; even.
    names : mapping
        Ids and names of the classes.
    weight : float
        Of all patches together, relative to those of other sets.
    """
    patches, labels = [], []
    for image, mask in zip(images, masks, strict=True):
        rows, columns = (np.arange(0, side - size + 1, size // 2) for side in mask.shape)
        places = np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2)
        windows = cut(mask, places, size)
        known = windows.astype(bool).any((1, 2))
        patches.append(cut(image, places[known], size))
        labels.append(windows[known])
    count = sum(len(part) for part in labels)
    return PatchSet(
        images=np.asarray(np.concatenate(patches), np.uint8),
        labels=np.asarray(np.concatenate(labels), np.uint8),
        weights=np.full(count, weight / max(count, 1)),
        classes=tuple(names.values()),
        class_ids=tuple(names),
    )
