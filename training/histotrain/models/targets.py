"""What the networks for nuclei learn, made from object numbers: parts, distances, offsets and bumps.

Everything here is numpy, one image at a time, and each object is treated in its own box, so the time goes with the
area of the objects and not with their number times the image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Instances = NDArray[np.int32]
    Maps = NDArray[np.float32]

OUTSIDE, INSIDE, BOUNDARY = range(3)


def parts(instances: Instances) -> NDArray[np.int64]:
    """0 outside, 1 inside, 2 on the boundary of objects.

    Parameters
    ----------
    instances : int32, shape (H, W)
        Number of each pixel's object, 0 for none.

    Returns
    -------
    int64, shape (H, W)
        The boundary is one pixel wide and belongs to the object, so objects that touch are two pixels apart.
    """
    from scipy import ndimage

    same = ndimage.maximum_filter(instances, 3) == ndimage.minimum_filter(instances, 3)
    return np.where(instances == 0, OUTSIDE, np.where(same, INSIDE, BOUNDARY)).astype(np.int64)


def distances(instances: Instances) -> Maps:
    """Distance of each object's pixels to the nearest pixel that is not of the object; 0 outside.

    Parameters
    ----------
    instances : int32, shape (H, W)
        As for `parts`.

    Returns
    -------
    float32, shape (H, W)
        Pixels; the image's edge does not count as a border.
    """
    from scipy import ndimage

    result = np.zeros(instances.shape, np.float32)
    for box, mask in _objects(instances, margin=1):
        if mask.all():
            result[box] = max(mask.shape)  # nothing else in sight
        else:
            np.maximum(result[box], ndimage.distance_transform_edt(mask).astype(np.float32), out=result[box])
    return result


def offsets(instances: Instances) -> Maps:
    """Horizontal and vertical position within each object, from -1 at its left or top to 1 at its right or bottom.

    Parameters
    ----------
    instances : int32, shape (H, W)
        As for `parts`.

    Returns
    -------
    float32, shape (2, H, W)
        0 at the centre of mass and outside; the two sides of the centre are scaled each for itself.
    """
    result = np.zeros((2, *instances.shape), np.float32)
    for box, mask in _objects(instances):
        y, x = np.nonzero(mask)
        for channel, position in enumerate((x, y)):
            centred = position - position.mean()
            low, high = -centred.min() or 1.0, centred.max() or 1.0
            values = np.where(centred < 0, centred / low, centred / high)
            result[channel][box][mask] = values
    return result


def centres(instances: Instances, labels: NDArray[np.integer]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Centre of mass (x, y), pixel-centre coordinates, and commonest class of each object.

    Parameters
    ----------
    instances : int32, shape (H, W)
        As for `parts`.
    labels : int, shape (H, W)
        Channel + 1 of each pixel's class; 0 is unlabelled.

    Returns
    -------
    points : float64, shape (n, 2)
    classes : int64, shape (n,)
        Channels; -1 for an object without a labelled pixel.
    """
    points: list[tuple[float, float]] = []
    classes: list[int] = []
    for box, mask in _objects(instances):
        y, x = np.nonzero(mask)
        points.append((x.mean() + box[1].start, y.mean() + box[0].start))
        seen = labels[box][mask]
        seen = seen[seen > 0]
        classes.append(int(np.bincount(seen).argmax()) - 1 if seen.size else -1)
    return np.array(points, np.float64).reshape(-1, 2), np.array(classes, np.int64)


def bumps(
    points: NDArray[np.float64], classes: NDArray[np.int64], shape: tuple[int, int, int], *, sigma: float = 3.0
) -> Maps:
    """One map per class with a Gaussian of height 1 at each point; where several overlap, the highest counts.

    Parameters
    ----------
    points : float64, shape (n, 2)
        (x, y) in pixel-centre coordinates.
    classes : int64, shape (n,)
        Points with a negative class are left out.
    shape : (C, H, W)
        Of the result.
    sigma : float
        Pixels.

    Returns
    -------
    float32, shape (C, H, W)
    """
    result = np.zeros(shape, np.float32)
    reach = int(np.ceil(4 * sigma))
    for (x, y), channel in zip(points, classes, strict=True):
        if channel < 0:
            continue
        top, left = max(round(y) - reach, 0), max(round(x) - reach, 0)
        window = result[channel, top : round(y) + reach + 1, left : round(x) + reach + 1]
        if window.size:
            rows = np.arange(top, top + window.shape[0]) - y
            columns = np.arange(left, left + window.shape[1]) - x
            bump = np.exp(-(rows[:, None] ** 2 + columns**2) / (2 * sigma**2)).astype(np.float32)
            np.maximum(window, bump, out=window)
    return result


def clicks(
    point: tuple[float, float], others: NDArray[np.float64], shape: tuple[int, int], *, radius: float = 2.0
) -> Maps:
    """Inclusion and exclusion map of a click: discs at the point, and at all others.

    Parameters
    ----------
    point : (x, y)
        The click, pixel-centre coordinates.
    others : float64, shape (n, 2)
        Clicks on other objects; those outside of the image are ignored.
    shape : (H, W)
        Of the image.
    radius : float
        Of the discs, pixels.

    Returns
    -------
    float32, shape (2, H, W)
        0 or 1.
    """
    rows, columns = np.arange(shape[0])[:, None], np.arange(shape[1])
    result = np.zeros((2, *shape), np.float32)
    for channel, points in enumerate((np.array([point]), others)):
        for x, y in points:
            result[channel][(columns - x) ** 2 + (rows - y) ** 2 <= radius**2] = 1
    return result


def _objects(instances: Instances, *, margin: int = 0) -> Iterator[tuple[tuple[slice, slice], NDArray[np.bool_]]]:
    """Box, grown by a margin within the image, and mask of each object."""
    from scipy import ndimage

    numbers, compact = np.unique(instances, return_inverse=True)
    compact = compact.reshape(instances.shape) + int(numbers[0] != 0)
    for index, found in enumerate(ndimage.find_objects(compact), 1):
        box = tuple(slice(max(s.start - margin, 0), s.stop + margin) for s in found)
        yield (box[0], box[1]), compact[box] == index
