"""Training patches cut from the studies' slides: regular windows, their surroundings, and partial annotation."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import cv2
import numpy as np

from histotrain.data import PatchSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    UInt8 = NDArray[np.uint8]
    Places = NDArray[np.int64]

Pixel = TypeVar("Pixel", bound=np.generic)


def grid_places(shape: tuple[int, int], size: int) -> Places:
    """Top left corners (row, column) of the whole ``size`` x ``size`` windows side by side in an image, (n, 2)."""
    rows, columns = (np.arange(side // size) * size for side in shape)
    return np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2)


def cut(image: NDArray[Pixel], places: Places, size: int) -> NDArray[Pixel]:
    """Windows of an image, (n, size, size, …); what lies beyond it is 0.

    Parameters
    ----------
    image : (H, W) or (H, W, 3)
        Any type.
    places : int, shape (n, 2)
        Top left corners (row, column), pixels; may lie outside.
    size : int
        Side of a window, pixels.
    """
    windows = np.zeros((len(places), size, size, *image.shape[2:]), image.dtype)
    height, width = image.shape[:2]
    for window, (row, column) in zip(windows, places.tolist(), strict=True):
        top, left, bottom, right = max(row, 0), max(column, 0), min(row + size, height), min(column + size, width)
        if top < bottom and left < right:
            window[top - row : bottom - row, left - column : right - column] = image[top:bottom, left:right]
    return windows


def surroundings(image: UInt8, places: Places, size: int, factors: Sequence[int]) -> UInt8:
    """The same centres at lower magnifications, as Ho et al. (2021, section 2.2) cut them.

    Parameters
    ----------
    image : uint8, shape (H, W, 3)
        Its sides must be multiples of the factors.
    places : int, shape (n, 2)
        Top left corners (row, column) of the target windows.
    size : int
        Side of the windows at every magnification, pixels.
    factors : sequence of int
        How many pixels of the image make one of each surrounding.

    Returns
    -------
    uint8, shape (n, M, size, size, 3)
        Black beyond the edge of the image.
    """
    result = np.zeros((len(places), len(factors), size, size, 3), np.uint8)
    for index, factor in enumerate(factors):
        smaller = (image.shape[1] // factor, image.shape[0] // factor)
        reduced = cv2.resize(image, smaller, interpolation=cv2.INTER_AREA)
        result[:, index] = cut(reduced, (places + size // 2) // factor - size // 2, size)
    return result


def patches(
    image: UInt8, labels: UInt8, places: Places, size: int, names: Mapping[int, str], *, factors: Sequence[int] = ()
) -> PatchSet:
    """Patch set of the windows at some places.

    Parameters
    ----------
    image : uint8, shape (H, W, 3)
        RGB.
    labels : uint8, shape (H, W)
        Ids of ``names``, 0 is unlabelled.
    places : int, shape (n, 2)
        Top left corners (row, column).
    size : int
        Side of a window, pixels.
    names : mapping from id to name
        Of the classes.
    factors : sequence of int
        Lower magnifications, see `surroundings`.
    """
    return PatchSet(
        images=cut(image, places, size),
        labels=cut(labels, places, size),
        contexts=surroundings(image, places, size, factors) if factors else None,
        classes=tuple(names.values()),
        class_ids=tuple(names),
    )


def annotated_places(labels: UInt8, size: int, share: float) -> Places:
    """Those of `grid_places` whose window has more than a share of labelled pixels, (n, 2)."""
    places = grid_places((labels.shape[0], labels.shape[1]), size)
    labelled = cut(labels, places, size) != 0
    return np.asarray(places[labelled.mean((1, 2)) > share])


def partially_annotated(regions: UInt8, *, seam: int, share: float, rng: np.random.Generator) -> UInt8:
    """What somebody annotates who draws whole components and leaves thin seams between them.

    Ho et al. (2021, section 2.1): components are annotated entirely or not at all, and what is left unlabelled
    between two of them is made thin.

    Parameters
    ----------
    regions : uint8, shape (H, W)
        True class of every pixel.
    seam : int
        Pixels on either side of a border that are left out.
    share : float
        Probability with which a component is annotated; the largest of each class always is.
    rng : numpy.random.Generator
        Which components.

    Returns
    -------
    uint8, shape (H, W)
        0 is unlabelled.
    """
    result = np.zeros(regions.shape, np.uint8)
    for value in _present(regions):
        mask = np.asarray(regions == value, np.uint8)
        count, parts, statistics, _ = cv2.connectedComponentsWithStats(mask)
        kept = np.asarray(rng.random(count) < share)
        kept[0] = False
        kept[1 + int(np.argmax(statistics[1:, cv2.CC_STAT_AREA]))] = True
        result[kept[parts]] = value
    if seam:
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * seam + 1, 2 * seam + 1))
        result[cv2.morphologyEx(regions, cv2.MORPH_GRADIENT, disc) > 0] = 0
    return result


def _present(values: UInt8) -> Iterable[int]:
    return (int(value) for value in np.unique(values) if value)
