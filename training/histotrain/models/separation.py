"""From a network's maps to single nuclei: markers, and a watershed that grows them.

Each network of the PanNuke baselines has its own way to tell touching nuclei apart; all of them end in object numbers
int32 (H, W), 0 for none, and a class for each object by its mean probabilities.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Instances = NDArray[np.int32]
    Map = NDArray[np.float32]

SMALLEST = 10
"""Objects and markers of fewer pixels are dropped."""

HOVER_KERNEL = 21
HOVER_EDGE = 0.4


def by_boundary(inside: Map, boundary: Map, *, smallest: int = SMALLEST) -> Instances:
    """Connected insides, grown over the boundaries around them.

    Parameters
    ----------
    inside, boundary : float32, shape (H, W)
        Probabilities.
    smallest : int
        Pixels of the smallest object.
    """
    foreground = inside + boundary > 0.5
    markers = (inside > 0.5) & (inside > boundary)
    return _grown(-inside, _labelled(markers, max(smallest // 2, 1)), foreground, smallest)


def by_offsets(nucleus: Map, offsets: Map, *, smallest: int = SMALLEST) -> Instances:
    """HoVer-Net's separation (Graham et al. 2019, section 3.2): edges are where the offsets jump.

    Within a nucleus the offsets rise from left to right; between two that touch they fall from 1 to -1. So edges are
    where a Sobel derivative is low; markers are what is nucleus and not edge.

    Parameters
    ----------
    nucleus : float32, shape (H, W)
        Probability.
    offsets : float32, shape (2, H, W)
        As in `histotrain.models.targets.offsets`.
    smallest : int
        Pixels of the smallest object.
    """
    import cv2
    from scipy import ndimage

    foreground = _labelled(nucleus > 0.5, smallest) > 0
    if not foreground.any():
        return np.zeros(nucleus.shape, np.int32)
    edges = [
        1 - _stretched(cv2.Sobel(_stretched(offset), cv2.CV_64F, int(axis == 0), int(axis == 1), ksize=HOVER_KERNEL))
        for axis, offset in enumerate(offsets)
    ]
    edge = np.maximum(*edges) * foreground
    markers = ndimage.binary_fill_holes(foreground & (edge < HOVER_EDGE))
    markers = ndimage.binary_opening(markers, np.ones((3, 3)), iterations=1)
    energy = -ndimage.gaussian_filter((1 - edge) * foreground, 1)
    return _grown(energy, _labelled(markers, smallest), foreground, smallest)


def by_distance(distance: Map, *, height: float = 1.0, threshold: float = 0.5, smallest: int = SMALLEST) -> Instances:
    """DIST's separation (Naylor et al. 2018): peaks of the distance map that stand out, grown downhill.

    Parameters
    ----------
    distance : float32, shape (H, W)
        Estimated distance to the border, pixels.
    height : float
        How far a peak must rise above the pass to a higher one.
    threshold : float
        Distance from which a pixel belongs to a nucleus.
    smallest : int
        Pixels of the smallest object.
    """
    from skimage.morphology import local_maxima, reconstruction

    foreground = distance > threshold
    if not foreground.any():
        return np.zeros(distance.shape, np.int32)
    lowered = reconstruction(distance - height, distance)
    markers = local_maxima(lowered, allow_borders=True) & foreground
    return _grown(-distance, _labelled(markers, 1), foreground, smallest)


def peaks(
    maps: Map, *, threshold: float = 0.3, distance: int = 5
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Local maxima of detection maps.

    Parameters
    ----------
    maps : float32, shape (C, H, W)
        Between 0 and 1.
    threshold : float
        Lowest peak.
    distance : int
        Two peaks are further apart than this, pixels, whatever their classes.

    Returns
    -------
    points : float64, shape (n, 2)
        (x, y), pixel-centre coordinates, the highest first.
    classes : int64, shape (n,)
        Channel of each.
    scores : float64, shape (n,)
        Height of each.
    """
    from skimage.feature import peak_local_max

    best = maps.max(axis=0)
    found = peak_local_max(best, min_distance=distance, threshold_abs=threshold, exclude_border=False)
    rows, columns = found[:, 0], found[:, 1]
    scores = best[rows, columns].astype(np.float64)
    return found[:, ::-1].astype(np.float64), maps[:, rows, columns].argmax(axis=0).astype(np.int64), scores


def classes_of(instances: Instances, probabilities: Map) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Class of each object, and the mean probability of that class over it.

    Parameters
    ----------
    instances : int32, shape (H, W)
        Numbered from 1 without gaps.
    probabilities : float32, shape (C, H, W)
        Of each class.

    Returns
    -------
    classes : int64, shape (n,)
        For objects 1, 2 … n.
    scores : float64, shape (n,)
    """
    count = int(instances.max(initial=0))
    flat = instances.ravel()
    areas = np.maximum(np.bincount(flat, minlength=count + 1)[1:], 1)
    means = np.stack([np.bincount(flat, channel.ravel(), count + 1)[1:] / areas for channel in probabilities])
    classes = means.argmax(axis=0)
    return classes.astype(np.int64), means[classes, np.arange(count)]


def _labelled(mask: NDArray[np.bool_], smallest: int) -> Instances:
    """Connected components of at least that many pixels, numbered without gaps."""
    from scipy import ndimage

    numbers, count = ndimage.label(mask)
    return _without_small(numbers, count, smallest)


def _without_small(numbers: NDArray[np.integer], count: int, smallest: int) -> Instances:
    kept = np.bincount(numbers.ravel(), minlength=count + 1) >= smallest
    kept[0] = False
    renumbered = np.cumsum(kept) * kept
    result: Instances = renumbered[numbers].astype(np.int32)
    return result


def _grown(energy: NDArray[np.floating], markers: Instances, mask: NDArray[np.bool_], smallest: int) -> Instances:
    from skimage.segmentation import watershed

    grown = watershed(energy, markers, mask=mask)
    return _without_small(grown, int(markers.max(initial=0)), smallest)


def _stretched(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """From 0 to 1."""
    values = values.astype(np.float64)
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.zeros_like(values)
