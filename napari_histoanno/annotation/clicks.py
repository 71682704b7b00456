"""From a click, or a box, to the object under it.

``NETWORK`` (the default, see :mod:`.click_network`) asks the network that is shipped with the package. The other three
are classical image processing, started by the same look around the click: how strongly the clicked object and its
surroundings are stained. ``CONTOUR`` (see :mod:`.contour`) searches the best closed outline, and stands in where the
network's file is missing; ``WATERSHED`` grows each click over what is nearer to the object's stain than to the
surroundings'; ``GRABCUT`` lets OpenCV's graph cut decide on colour. Clicks on other objects keep out of each other. The
watershed needs that: where one is clicked alone it runs into the touching ones. No click is left empty-handed: where
nothing can be told apart it gets a small disc, with confidence 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from scipy import ndimage
from skimage.segmentation import watershed

from napari_histoanno.annotation import click_network, contour, kernels
from napari_histoanno.annotation.errors import AnnotationError
from napari_histoanno.annotation.nuclear import Channel, nuclear_channel

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_GRABCUT_ROUNDS = 2
_MARKER_RADIUS = 2
_BOX_REACH = 1.5  # times as far as the ellipse in its box a click in a box looks
_BOX_SHARES = 0.8, 1.2  # of the way to that ellipse at which an outline may run: a tight box leaves little choice
_RING = 3  # pixels outside an object that count as its surroundings when its confidence is judged


class ClickMethod(StrEnum):
    """How the object under a click is found."""

    NETWORK = "network"
    CONTOUR = "contour"
    WATERSHED = "watershed"
    GRABCUT = "grabcut"


@dataclass(frozen=True, slots=True)
class ClickOptions:
    """What the objects are like. The network asks for the two radii alone, the other methods for everything.

    Parameters
    ----------
    max_radius : float
        No object reaches farther from its click, image pixels (boxes reach as far as they are drawn).
    min_radius : float
        No object is smaller, image pixels.
    threshold : float
        Where between surroundings (0) and clicked stain (1) an object ends.
    background_percentile : float
        Percentile of the stain within reach that is taken for the surroundings.
    smoothing : float
        Gaussian sigma before looking, image pixels.
    channel : Channel
        What is looked at.
    """

    max_radius: float = 40.0
    min_radius: float = 3.0
    threshold: float = 0.4
    background_percentile: float = 5.0
    smoothing: float = 1.0
    channel: Channel = Channel.DENSITY

    def __post_init__(self) -> None:
        if not 0 < self.min_radius < self.max_radius < math.inf:
            raise AnnotationError(
                f"radii must satisfy 0 < min_radius < max_radius, not {self.min_radius} and {self.max_radius}"
            )
        if not 0 < self.threshold < 1:
            raise AnnotationError(f"threshold must lie between 0 and 1, not {self.threshold}")

    @classmethod
    def at(cls, mpp: float, *, max_radius_um: float = 12.0, min_radius_um: float = 1.0) -> ClickOptions:
        """Options in pixels of ``mpp`` µm from radii in µm."""
        return cls(max_radius=max_radius_um / mpp, min_radius=min_radius_um / mpp, smoothing=max(0.5, 0.4 / mpp))


@dataclass(frozen=True, slots=True)
class ClickMasks:
    """What was found.

    Attributes
    ----------
    labels : ndarray, int32, shape (height, width)
        Instance map: click n is n + 1.
    confidence : ndarray, float32, shape (N,)
        0 where nothing could be told apart, towards 1 the surer the network is of the object's pixels or, with the
        other methods, the better it stands out from its surroundings.
    method : ClickMethod
        How they were found: what was asked for, or the contour where the network could not be read.
    """

    labels: NDArray[np.int32]
    confidence: NDArray[np.float32]
    method: ClickMethod


@dataclass(frozen=True, slots=True)
class _Scene:
    """Everything a method needs to know."""

    image: NDArray[np.uint8]
    stain: NDArray[np.float32]
    points: NDArray[np.float64]
    exclusion: NDArray[np.float64]
    boxes: NDArray[np.float64]  # NaN rows where there is none
    options: ClickOptions
    rays: contour.Rays
    levels: tuple[NDArray[np.float64], NDArray[np.float64]]

    @property
    def boxed(self) -> NDArray[np.bool_]:
        return np.isfinite(self.boxes[:, 0])

    @property
    def reach(self) -> NDArray[np.float64]:
        """How far each click looks, image pixels."""
        return np.asarray(self.rays.radii[:, :, -1].max(axis=1))

    @property
    def cut(self) -> NDArray[np.float64]:
        """Stain below which a pixel is not the object, per click."""
        near, contrast = self.levels
        return near - (1 - self.options.threshold) * contrast


def click_masks(
    image: NDArray[np.uint8],
    points: ArrayLike,
    *,
    method: ClickMethod = ClickMethod.NETWORK,
    exclusion: ArrayLike = (),
    boxes: ArrayLike | None = None,
    options: ClickOptions | None = None,
) -> ClickMasks:
    """Mask of the object under every click.

    Parameters
    ----------
    image : ndarray, uint8, shape (height, width, 3)
        RGB.
    points : array_like, shape (N, 2)
        Clicks, (x, y) in image pixels, corner-based, inside the image.
    method : ClickMethod
        How to look.
    exclusion : array_like, shape (M, 2)
        Clicks on other objects, which no mask may take.
    boxes : array_like, shape (N, 4), optional
        (x0, y0, x1, y1) around the object of each click, a row of NaN where there is none. A mask stays in its box.
    options : ClickOptions, optional
        What the objects are like.

    Returns
    -------
    ClickMasks
        No object is empty.

    Raises
    ------
    AnnotationError
        If the image is not RGB, a click lies outside of it, or two clicks share a pixel.

    Warns
    -----
    RuntimeWarning
        Once, if the network's file cannot be read and the contour stands in.
    """
    clicks = np.asarray(points, np.float64).reshape(-1, 2)
    _check(image, clicks)
    network = click_network.shipped_network() if method is ClickMethod.NETWORK else None
    if method is ClickMethod.NETWORK and network is None:
        method = ClickMethod.CONTOUR
    if not len(clicks):
        return ClickMasks(np.zeros(image.shape[:2], np.int32), np.zeros(0, np.float32), method)
    scene = _survey(image, clicks, exclusion, boxes, options or ClickOptions())
    if network is not None:
        asked = click_network.Clicks(scene.points, scene.exclusion, scene.boxes, scene.options.max_radius)
        found, logits = click_network.find_objects(network, image, asked)
        labels = _tidied(found, scene)
        confidence = click_network.mean_certainty(labels, logits, len(clicks))
    else:
        labels = _tidied(_CLASSICAL[method](scene), scene)
        confidence = _confidence(labels, scene.stain, len(clicks))
    labels[np.concatenate([[False], confidence <= 0])[labels]] = 0
    _give_discs(labels, confidence, scene)
    return ClickMasks(labels, confidence, method)


def _check(image: NDArray[Any], points: NDArray[np.float64]) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise AnnotationError(f"clicks need an RGB image of uint8, not {image.dtype} of shape {image.shape}")
    height, width = image.shape[:2]
    if not ((points >= 0) & (points < (width, height))).all():
        raise AnnotationError(f"every click must lie inside the image of {width} x {height} pixels")
    if len(np.unique(np.floor(points), axis=0)) < len(points):
        raise AnnotationError("two clicks share a pixel; keep one of them")


def _survey(
    image: NDArray[np.uint8],
    points: NDArray[np.float64],
    exclusion: ArrayLike,
    boxes: ArrayLike | None,
    options: ClickOptions,
) -> _Scene:
    stain = nuclear_channel(image, options.channel)
    if options.smoothing > 0:
        stain = np.asarray(cv2.GaussianBlur(stain, (0, 0), options.smoothing), np.float32)
    extents = np.full((len(points), 4), np.nan) if boxes is None else np.asarray(boxes, np.float64).reshape(-1, 4)
    if len(extents) != len(points):
        raise AnnotationError(
            f"{len(extents)} boxes for {len(points)} clicks; give a row each, NaN where there is none"
        )
    reach = np.full((len(points), contour.RAYS), options.max_radius)
    boxed = np.isfinite(extents[:, 0])
    reach[boxed] = _BOX_REACH * _touching_radii(extents[boxed])
    origins = np.where(boxed[:, None], (extents[:, :2] + extents[:, 2:]) / 2, points)
    rays = contour.cast_rays(stain, origins, reach)
    others = np.asarray(exclusion, np.float64).reshape(-1, 2)
    levels = contour.object_levels(rays, options.background_percentile)
    return _Scene(image, stain, points, others, extents, options, rays, levels)


def _contours(scene: _Scene) -> NDArray[np.int32]:
    rays = scene.rays
    allowed = rays.radii >= scene.options.min_radius
    everyone = np.concatenate([scene.points, scene.exclusion])
    for n in np.flatnonzero(~scene.boxed).tolist():
        point = scene.points[n]
        away = np.hypot(*(everyone - point).T)
        rivals = everyone[(away > 0.5) & (away < 2 * scene.reach[n])]
        if len(rivals):
            gap = np.min(np.hypot(rays.x[n, ..., None] - rivals[:, 0], rays.y[n, ..., None] - rivals[:, 1]), axis=-1)
            allowed[n] &= ~np.maximum.accumulate(rays.radii[n] > gap, axis=-1)
    share = np.arange(1, contour.SAMPLES + 1) * (_BOX_REACH / contour.SAMPLES)
    allowed[scene.boxed] = (share >= _BOX_SHARES[0]) & (share <= _BOX_SHARES[1])
    allowed[..., 0] |= ~allowed.any(axis=-1)
    radii = contour.best_contours(rays, scene.levels, scene.options.threshold, allowed)
    centres = (scene.boxes[:, :2] + scene.boxes[:, 2:]) / 2
    origins = np.where(scene.boxed[:, None], centres, scene.points)
    xy = origins[:, None] + radii[..., None] * contour.directions()
    xy = np.concatenate([xy, xy[:, :1]], axis=1)
    # Small ones last: where two overlap, the smaller has less to lose by mistake.
    order = np.argsort(-np.square(radii).sum(axis=1), kind="stable")
    stops = (np.arange(len(xy)) + 1) * xy.shape[1]
    heads = np.stack([np.full(len(xy), kernels.POLYGON), stops - xy.shape[1], stops], axis=1)
    labels = np.zeros(scene.stain.shape, np.int32)
    values = np.arange(1, len(xy) + 1, dtype=np.int32)
    kernels.paint(labels, heads[order], values[order], xy.reshape(-1, 2), np.zeros(xy.shape[0] * xy.shape[1], np.int64))
    return labels


def _touching_radii(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance from the centre of each box to the ellipse that touches its sides, along every ray."""
    half = (boxes[:, 2:] - boxes[:, :2]) / 2
    return np.asarray(1 / np.hypot(*(contour.directions() / half[:, None]).transpose(2, 0, 1)))


def _watershed(scene: _Scene) -> NDArray[np.int32]:
    count = len(scene.points)
    markers = np.zeros(scene.stain.shape, np.int32)
    for n, (x, y) in enumerate(np.concatenate([scene.points, scene.exclusion]).tolist()):
        cv2.circle(markers, (int(x), int(y)), _MARKER_RADIUS, n + 1, -1)
    distance, (row, col) = ndimage.distance_transform_edt(markers == 0, return_indices=True)
    nearest = markers[row, col]
    cut = np.concatenate([[np.inf], scene.cut, np.full(len(scene.exclusion), np.median(scene.cut))])
    reach = np.concatenate([[0], scene.reach, np.full(len(scene.exclusion), scene.options.max_radius)])
    mask = (scene.stain > cut[nearest]) & (distance + _MARKER_RADIUS < reach[nearest]) | (markers > 0)
    labels = watershed(distance, markers, mask=mask)
    labels[labels > count] = 0
    return np.asarray(labels, np.int32)


def _grabcut(scene: _Scene) -> NDArray[np.int32]:
    labels = np.zeros(scene.stain.shape, np.int32)
    height, width = scene.stain.shape
    everyone = np.concatenate([scene.points, scene.exclusion])
    cv2.setRNGSeed(0)
    for n, (x, y) in enumerate(scene.points.tolist()):
        reach = scene.reach[n]
        x0, y0 = max(0, int(x - reach)), max(0, int(y - reach))
        window = np.s_[y0 : min(height, int(y + reach) + 1), x0 : min(width, int(x + reach) + 1)]
        looks_like = scene.stain[window] > scene.cut[n]
        rows, cols = np.indices(looks_like.shape) + np.array([y0 + 0.5, x0 + 0.5])[:, None, None]
        gap = np.min([np.hypot(cols - u, rows - v) for u, v in everyone.tolist()], axis=0)
        away = np.hypot(cols - x, rows - y)
        mask = np.where(looks_like, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
        mask[(away > reach) | (away > gap + 1e-9)] = cv2.GC_BGD
        mask[away <= _MARKER_RADIUS] = cv2.GC_FGD
        if (mask == cv2.GC_BGD).any():
            models = np.zeros((1, 65)), np.zeros((1, 65))
            crop = np.ascontiguousarray(scene.image[window][..., ::-1])
            cv2.grabCut(crop, mask, None, *models, _GRABCUT_ROUNDS, cv2.GC_INIT_WITH_MASK)
        labels[window][(mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)] = n + 1
    return labels


_CLASSICAL = {ClickMethod.CONTOUR: _contours, ClickMethod.WATERSHED: _watershed, ClickMethod.GRABCUT: _grabcut}


def _tidied(labels: NDArray[np.int32], scene: _Scene) -> NDArray[np.int32]:
    """Each object cut to its box, only its part under the click, without holes and, if too small, without pixels."""
    least = math.pi * scene.options.min_radius**2 / 2
    tidy = np.zeros_like(labels)
    for n, window in enumerate(ndimage.find_objects(labels, max_label=len(scene.points))):
        if window is None:
            continue
        own = labels[window] == n + 1
        top, left = window[0].start, window[1].start
        if scene.boxed[n]:
            x0, y0, x1, y1 = scene.boxes[n] - (left, top, left, top)
            cols, rows = np.arange(own.shape[1]) + 0.5, np.arange(own.shape[0])[:, None] + 0.5
            own &= (cols >= x0) & (cols < x1) & (rows >= y0) & (rows < y1)
        parts, _ = ndimage.label(own)
        row, col = int(scene.points[n, 1]) - top, int(scene.points[n, 0]) - left
        inside = 0 <= row < own.shape[0] and 0 <= col < own.shape[1]
        part = parts[row, col] if inside else 0
        if part:
            own = ndimage.binary_fill_holes(parts == part)
            own &= (labels[window] == 0) | (labels[window] == n + 1)
            if own.sum() >= least:
                tidy[window][own] = n + 1
    return tidy


def _confidence(labels: NDArray[np.int32], stain: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """How well each object's stain stands out from that of a ring around it: d / (1 + d), d in standard deviations."""
    size = 2 * _RING + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    grown = cv2.dilate(labels.astype(np.float32), disc).astype(np.int32)
    grown[labels > 0] = 0
    inside, outside = (_statistics(where, stain, count) for where in (labels, grown))
    noise = np.sqrt((inside[2] + outside[2]) / 2) + 1e-3
    apart = np.clip((inside[1] - outside[1]) / noise, 0, None)
    return np.where((inside[0] > 0) & (outside[0] > 0), apart / (1 + apart), 0).astype(np.float32)


def _statistics(labels: NDArray[np.int32], values: NDArray[np.float32], count: int) -> NDArray[np.float64]:
    """Number, mean and variance of the values under each label 1 ... count, shape (3, count)."""
    where = labels > 0
    index, weights = labels[where], values[where].astype(np.float64)
    sums = [np.bincount(index, w, count + 1)[1:] for w in (None, weights, weights**2)]
    number = np.maximum(sums[0], 1)
    mean = sums[1] / number
    return np.stack([sums[0], mean, np.maximum(sums[2] / number - mean**2, 0)])


def _give_discs(labels: NDArray[np.int32], confidence: NDArray[np.float32], scene: _Scene) -> None:
    """A small disc, or the ellipse in its box, for every click that has nothing; only free pixels are taken."""
    height, width = labels.shape
    present = np.bincount(labels.ravel(), minlength=len(confidence) + 1)[1:]
    for n in np.flatnonzero(present == 0).tolist():
        x, y = scene.points[n]
        a = b = scene.options.min_radius
        if scene.boxed[n]:
            x0, y0, x1, y1 = scene.boxes[n]
            x, y, a, b = (x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / 2, (y1 - y0) / 2
        rows, cols = np.ogrid[:height, :width]
        disc = ((cols + 0.5 - x) / a) ** 2 + ((rows + 0.5 - y) / b) ** 2 <= 1
        labels[disc & (labels == 0)] = n + 1
        confidence[n] = 0
    # Last, so that nothing painted over them: each click owns its pixel.
    columns, lines = np.floor(scene.points).astype(int).T
    labels[lines, columns] = np.arange(1, len(confidence) + 1)
