"""From a click to its object by the shipped network, run by OpenCV.

The network sees 64 x 64 pixels, whatever the scale of the image. It looks twice: first at a square wide enough for the
largest object that may come, then at one fitted to what it found, in four orientations whose answers are averaged. A
box spares the first look. That is what makes it indifferent to magnification, which a plain image does not tell.

It was trained by ``histotrain.pretraining.clicks``; ``weights/clicks.json`` says on what. No torch is needed here.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

WEIGHTS = Path(__file__).parent / "weights" / "clicks.onnx"

_BATCH = 16  # crops in one pass through the network
_TURNS = 4  # orientations whose answers are averaged in the fitted look
_FITTED = 2.1  # times the diameter that the first look found, the side of the second; the middle of what was trained
_SMALLEST_SIDE = 12.0  # image pixels


class ClickNetwork:
    """The network behind its file; may be called from any thread.

    Parameters
    ----------
    file : Path
        ONNX, with its card ``NAME.json`` beside it.

    Raises
    ------
    OSError, ValueError, cv2.error
        If the files are missing, damaged or do not belong together.
    """

    def __init__(self, file: Path = WEIGHTS) -> None:
        card = json.loads(file.with_suffix(".json").read_text())
        content = file.read_bytes()
        if hashlib.sha256(content).hexdigest() != card["sha256"]:
            raise ValueError(f"{file.name} is not the file that {file.stem}.json describes")
        self.side = int(card["side"])
        self._radius = float(card["click_radius"])
        self._mean, self._std = (np.array(card[key], np.float32) for key in ("mean", "std"))
        self._net = cv2.dnn.readNetFromONNX(np.frombuffer(content, np.uint8))
        self._lock = threading.Lock()  # an OpenCV network keeps its input between two calls

    def logits(self, images: NDArray[np.uint8], clicks: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits (N, S, S) of images (N, S, S, 3) with inclusion and exclusion maps (N, 2, S, S)."""
        pixels = ((images - self._mean) / self._std).transpose(0, 3, 1, 2)
        blob = np.concatenate([pixels, clicks], axis=1).astype(np.float32)
        found = []
        for start in range(0, len(blob), _BATCH):
            with self._lock:
                self._net.setInput(np.ascontiguousarray(blob[start : start + _BATCH]))
                found.append(self._net.forward()[:, 0].copy())
        return np.concatenate(found)

    def discs(self, points: NDArray[np.float64]) -> NDArray[np.float32]:
        """Map (S, S) with a disc at each point (n, 2), corner-based crop pixels."""
        reach = int(self._radius) + 1
        steps = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1)[::-1].T
        pixels = np.floor(points)[:, None] + steps
        near = np.square(pixels + 0.5 - points[:, None]).sum(-1) <= self._radius**2
        columns, rows = pixels[near & ((pixels >= 0) & (pixels < self.side)).all(-1)].astype(int).T
        result = np.zeros((self.side, self.side), np.float32)
        result[rows, columns] = 1
        return result


@functools.cache
def shipped_network() -> ClickNetwork | None:
    """The network of the package, read once; None, with a warning, where its file cannot be read."""
    try:
        return ClickNetwork(WEIGHTS)
    except (OSError, ValueError, KeyError, cv2.error) as error:
        warnings.warn(
            f"The click network cannot be read ({error}); clicks are outlined by the contour search instead. "
            "Installing the package again brings the network back.",
            RuntimeWarning,
            stacklevel=2,
        )
        return None


@dataclass(frozen=True, slots=True)
class Clicks:
    """What is asked.

    Attributes
    ----------
    points : ndarray, float64, shape (N, 2)
        Clicks, (x, y), corner-based image pixels.
    exclusion : ndarray, float64, shape (M, 2)
        Clicks on other objects.
    boxes : ndarray, float64, shape (N, 4)
        (x0, y0, x1, y1), NaN where there is none.
    reach : float
        How far an object without a box may extend from its click, image pixels.
    """

    points: NDArray[np.float64]
    exclusion: NDArray[np.float64]
    boxes: NDArray[np.float64]
    reach: float


@dataclass(frozen=True, slots=True)
class _View:
    """The square of ``side`` image pixels around (x, y), which click number ``click`` is seen in."""

    click: int
    x: float
    y: float
    side: float

    def onto(self, points: NDArray[np.float64], size: int) -> NDArray[np.float64]:
        """Corner-based image pixels as those of a crop of ``size`` pixels."""
        return np.asarray((points - (self.x, self.y)) * (size / self.side) + size / 2)


def find_objects(
    network: ClickNetwork, image: NDArray[np.uint8], clicks: Clicks
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Instance map of the objects under the clicks, click n as n + 1, and the logit of each pixel's owner.

    A pixel claimed twice goes to the click that the network is surer of.
    """
    boxed = np.isfinite(clicks.boxes[:, 0])
    views: list[_View | None] = [None] * len(clicks.points)
    for n in np.flatnonzero(boxed).tolist():
        x0, y0, x1, y1 = clicks.boxes[n].tolist()
        views[n] = _fitted(n, (x0, y0, x1, y1), math.inf)
    centres = clicks.points.tolist()
    wide = [_View(n, centres[n][0], centres[n][1], 2 * clicks.reach) for n in np.flatnonzero(~boxed).tolist()]
    for start in range(0, len(wide), _BATCH):
        part = wide[start : start + _BATCH]
        for view, logits in zip(part, _look(network, image, clicks, part, 1), strict=True):
            extent = _extent(logits, view, clicks.points[view.click], network.side)
            views[view.click] = view if extent is None else _fitted(view.click, extent, 2 * clicks.reach)
    labels, best = np.zeros(image.shape[:2], np.int32), np.zeros(image.shape[:2], np.float32)
    fitted = [view for view in views if view is not None]
    for start in range(0, len(fitted), _BATCH):
        part = fitted[start : start + _BATCH]
        for view, logits in zip(part, _look(network, image, clicks, part, _TURNS), strict=True):
            _claim(labels, best, logits, view, clicks)
    return labels, best


def _look(
    network: ClickNetwork, image: NDArray[np.uint8], clicks: Clicks, views: Sequence[_View], turns: int
) -> NDArray[np.float32]:
    """Logits (N, S, S) of each view, the mean over so many orientations."""
    if not views:
        return np.zeros((0, network.side, network.side), np.float32)
    images = np.stack([_crop(image, view, network.side) for view in views])
    maps = np.stack([_click_maps(network, clicks, view) for view in views])
    total = np.zeros(images.shape[:3], np.float32)
    for turn in range(turns):
        turned = network.logits(np.rot90(images, turn, (1, 2)), np.rot90(maps, turn, (2, 3)))
        total += np.rot90(turned, -turn, (1, 2))
    return np.asarray(total / turns, np.float32)


def _crop(image: NDArray[np.uint8], view: _View, size: int) -> NDArray[np.uint8]:
    """What the view shows, mirrored beyond the image's edge."""
    height, width = image.shape[:2]
    # Shrinking takes the mean over whole pixels of a finer crop.
    finer = math.ceil(view.side / size)
    half = view.side / 2 + 2
    x0, y0 = max(0, math.floor(view.x - half)), max(0, math.floor(view.y - half))
    window = image[y0 : min(height, math.ceil(view.y + half)), x0 : min(width, math.ceil(view.x + half))]
    matrix = _matrix(view, (x0, y0), size * finer)
    crop = cv2.warpAffine(
        np.ascontiguousarray(window),
        matrix,
        (size * finer, size * finer),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    return np.asarray(cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA) if finer > 1 else crop, np.uint8)


def _matrix(view: _View, corner: tuple[int, int], size: int) -> NDArray[np.float64]:
    """Affine (2, 3) from pixel centres of a window at ``corner`` to those of the crop."""
    zoom = size / view.side
    shift = view.onto(np.array(corner, float) + 0.5, size) - 0.5
    return np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]]])


def _click_maps(network: ClickNetwork, clicks: Clicks, view: _View) -> NDArray[np.float32]:
    """Inclusion and exclusion map (2, S, S) of a view; outside of a box everything is excluded."""
    box = clicks.boxes[view.click]
    if np.isfinite(box[0]):
        centre = view.onto((box[:2] + box[2:])[None] / 2, network.side)
        x0, y0, x1, y1 = view.onto(box.reshape(2, 2), network.side).ravel()
        at = np.arange(network.side) + 0.5
        inside = ((at >= y0) & (at < y1))[:, None] & ((at >= x0) & (at < x1))
        return np.stack([network.discs(centre), ~inside]).astype(np.float32)
    everyone = np.concatenate([clicks.points, clicks.exclusion])
    away = np.abs(everyone - clicks.points[view.click]).max(axis=1)
    near = everyone[(away > 0.5) & (away < view.side)]
    return np.stack([network.discs(view.onto(p, network.side)) for p in (clicks.points[view.click][None], near)])


def _extent(
    logits: NDArray[np.float32], view: _View, click: NDArray[np.float64], size: int
) -> tuple[float, float, float, float] | None:
    """Box of the part under the click, image pixels; None where nothing was found."""
    column, row = np.clip(view.onto(click, size).astype(int), 0, size - 1).tolist()
    _, parts, stats, _ = cv2.connectedComponentsWithStats((logits > 0).astype(np.uint8), connectivity=4)
    part = int(parts[row, column])
    if not part:
        return None
    left, top, width, height = stats[part, :4].tolist()
    zoom = view.side / size
    x, y = view.x + (left - size / 2) * zoom, view.y + (top - size / 2) * zoom
    return x, y, x + width * zoom, y + height * zoom


def _fitted(click: int, box: tuple[float, float, float, float], largest: float) -> _View:
    x0, y0, x1, y1 = box
    side = min(max(_FITTED * max(x1 - x0, y1 - y0), _SMALLEST_SIDE), largest)
    return _View(click, (x0 + x1) / 2, (y0 + y1) / 2, side)


def _claim(
    labels: NDArray[np.int32],
    best: NDArray[np.float32],
    logits: NDArray[np.float32],
    view: _View,
    clicks: Clicks,
) -> None:
    """Give the view's click every pixel it is surer of than the others; without a box only those within reach.

    Where the network ran over another click all the same, the two share by distance.
    """
    height, width = labels.shape
    half = view.side / 2
    x0, y0 = max(0, math.floor(view.x - half)), max(0, math.floor(view.y - half))
    x1, y1 = min(width, math.ceil(view.x + half)), min(height, math.ceil(view.y + half))
    if x1 <= x0 or y1 <= y0:
        return
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    inverse = _matrix(view, (x0, y0), len(logits))
    seen = cv2.warpAffine(logits, inverse, (x1 - x0, y1 - y0), flags=flags, borderValue=-10.0)
    window = np.s_[y0:y1, x0:x1]
    won = seen > best[window]
    if np.isnan(clicks.boxes[view.click, 0]):
        rows, columns = np.ogrid[y0:y1, x0:x1]
        x, y = clicks.points[view.click]
        away = (columns + 0.5 - x) ** 2 + (rows + 0.5 - y) ** 2
        won &= away <= clicks.reach**2
        everyone = np.concatenate([clicks.points, clicks.exclusion])
        near = everyone[((everyone >= (x0, y0)) & (everyone < (x1, y1)) & (everyone != (x, y)).any(1)[:, None]).all(1)]
        for u, v in near.tolist():
            if seen[int(v) - y0, int(u) - x0] > 0:
                won &= away < (columns + 0.5 - u) ** 2 + (rows + 0.5 - v) ** 2
    labels[window][won] = view.click + 1
    best[window][won] = seen[won]


def mean_certainty(labels: NDArray[np.int32], logits: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """How far the mean probability of each object 1 ... count lies above a half: 0 … 1, 0 where it has no pixels."""
    where = labels > 0
    probability = 1 / (1 + np.exp(-logits[where].astype(np.float64)))
    sums = np.bincount(labels[where], probability, count + 1)[1:]
    number = np.bincount(labels[where], minlength=count + 1)[1:]
    mean: NDArray[Any] = sums / np.maximum(number, 1)
    return np.asarray(np.clip(2 * mean - 1, 0, 1), np.float32)
