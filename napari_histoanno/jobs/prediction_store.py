"""A slide prediction on disk, readable while it is written.

A zarr v3 group. ``0``, ``1``, … hold class ids (0: not predicted) from the model's resolution down to a thumbnail, each
level half the one before; ``confidence/0`` … the probability of that class and ``probability/0`` … that of every class,
all uint8 with 255 = certain; ``uncertainty/0`` …, where it was asked for, is 255 where nothing is known. Single objects
lie beside them (`napari_histoanno.jobs.object_store`). A coarse pixel is the mean of the predicted pixels below it, and
its class is the one with the largest mean: what a reader sees zoomed out is the opinion of all pixels there, not of one
in four.

Level 0 lies at the model's µm per pixel, not the slide's: ``downsample`` says how many level-0 slide pixels one of its
pixels covers. Blocks are written in any order by one writer; other processes may read at any time and see each chunk
either before or after.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import zarr
from zarr.codecs import ZstdCodec

from napari_histoanno.annotation import LabelClass
from napari_histoanno.jobs.errors import PredictionError
from napari_histoanno.jobs.object_store import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_histoanno.annotation import Bounds

    UInt8 = NDArray[np.uint8]

CHUNK = 512
SMALLEST_LEVEL = 1024
_FORMAT = "histoanno-prediction"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class PredictionInfo:
    """What a prediction says of itself.

    Parameters
    ----------
    size : (int, int)
        Width and height at the model's resolution, pixels.
    downsample : float
        Level-0 slide pixels per pixel.
    mpp : float
        µm per pixel.
    classes : tuple of LabelClass
        Class of each probability channel, as it was when the model was trained.
    slide, run : str
        Ids.
    region : (x0, y0, x1, y1), optional
        Level-0 box it is limited to.
    """

    size: tuple[int, int]
    downsample: float
    mpp: float
    classes: tuple[LabelClass, ...]
    slide: str = ""
    run: str = ""
    region: Bounds | None = None

    @property
    def class_ids(self) -> tuple[int, ...]:
        return tuple(label.id for label in self.classes)

    def to_attributes(self) -> dict[str, Any]:
        """JSON values for the group's attributes."""
        return {
            "format": _FORMAT,
            "version": _VERSION,
            "size": list(self.size),
            "downsample": self.downsample,
            "mpp": self.mpp,
            "class_ids": list(self.class_ids),
            "class_names": [label.name for label in self.classes],
            "class_colors": [list(label.color) for label in self.classes],
            "slide": self.slide,
            "run": self.run,
            "region": list(self.region) if self.region else None,
        }

    @classmethod
    def from_attributes(cls, attributes: dict[str, Any]) -> Self:
        """Read what :meth:`to_attributes` wrote; raises KeyError or ValueError for anything else."""
        if attributes.get("format") != _FORMAT:
            raise ValueError("it is not a prediction of this program")
        if attributes["version"] > _VERSION:
            raise ValueError("a newer version of this program wrote it")
        named = zip(attributes["class_ids"], attributes["class_names"], attributes["class_colors"], strict=True)
        region = attributes["region"]
        return cls(
            size=(attributes["size"][0], attributes["size"][1]),
            downsample=attributes["downsample"],
            mpp=attributes["mpp"],
            classes=tuple(LabelClass(key, name, (color[0], color[1], color[2])) for key, name, color in named),
            slide=attributes["slide"],
            run=attributes["run"],
            region=tuple(region) if region else None,
        )


class PredictionStore:
    """A prediction pyramid; use :meth:`create` or :meth:`open`.

    Attributes
    ----------
    info : PredictionInfo
        What it is.
    levels : list of array, uint8, shape (h, w)
        Class ids, from the model's resolution to the coarsest; read from disk at each access.
    confidence : list of array, uint8, shape (h, w)
        Probability of the class.
    probability : list of array, uint8, shape (C, h, w)
        Probability of each class; empty if they were not kept.
    uncertainty : list of array, uint8, shape (h, w)
        Empty if none was asked for.
    objects : ObjectStore
        Single objects; it exists only if the model finds them.
    """

    def __init__(self, path: Path, group: zarr.Group) -> None:
        self.path = path
        self.objects = ObjectStore(path)
        self._group = group
        self.info = PredictionInfo.from_attributes(dict(group.attrs))
        count = len(level_shapes(self.info.size))
        self.levels: list[Any] = [group[str(level)] for level in range(count)]
        self.confidence: list[Any] = [group[f"confidence/{level}"] for level in range(count)]
        self.probability = [group[f"probability/{level}"] for level in range(count)] if "probability" in group else []
        self.uncertainty = [group[f"uncertainty/{level}"] for level in range(count)] if "uncertainty" in group else []

    @classmethod
    def create(
        cls, path: Path, info: PredictionInfo, *, keep_probabilities: bool = True, uncertainty: bool = False
    ) -> PredictionStore:
        """Make an empty store, with a pyramid for the uncertainty if that is asked for.

        Raises
        ------
        PredictionError
            If it cannot be written.
        """
        planes = len(info.classes)
        try:
            group = zarr.create_group(path, overwrite=True, attributes=info.to_attributes())
            for level, (h, w) in enumerate(level_shapes(info.size)):
                names: list[tuple[str, tuple[int, ...]]] = [(str(level), (h, w)), (f"confidence/{level}", (h, w))]
                if keep_probabilities:
                    names.append((f"probability/{level}", (planes, h, w)))
                if uncertainty:
                    names.append((f"uncertainty/{level}", (h, w)))
                for name, shape in names:
                    chunks = (*shape[:-2], min(CHUNK, h), min(CHUNK, w))
                    group.create_array(
                        name, shape=shape, chunks=chunks, dtype="uint8", fill_value=0, compressors=ZstdCodec(level=1)
                    )
        except OSError as error:
            raise PredictionError(
                f"The prediction cannot be written to {path}: {error}. Free some space or check the permissions."
            ) from error
        return cls(path, group)

    @classmethod
    def open(cls, path: Path) -> PredictionStore:
        """Open a store for reading.

        Raises
        ------
        PredictionError
            If there is none, or it is broken.
        """
        try:
            return cls(path, zarr.open_group(path, mode="r"))
        except (OSError, KeyError, ValueError, TypeError, IndexError) as error:
            raise PredictionError(
                f"There is no readable prediction in {path}: {error}. Delete it and predict the slide again."
            ) from error

    @property
    def downsample(self) -> float:
        """Level-0 slide pixels per pixel of the finest level."""
        return self.info.downsample

    def write(
        self,
        x: int,
        y: int,
        classes: UInt8,
        confidence: UInt8,
        probabilities: UInt8,
        uncertainty: UInt8 | None = None,
    ) -> Bounds:
        """Store a block of the finest level and bring the coarser ones up to date.

        Parameters
        ----------
        x, y : int
            Its top-left corner, pixels of the finest level.
        classes, confidence : ndarray, uint8, shape (h, w)
            Class ids (0: not predicted) and their probability.
        probabilities : ndarray, uint8, shape (C, h, w)
            Probability of each class.
        uncertainty : ndarray, uint8, shape (h, w), optional
            Kept if the store was made for it.

        Returns
        -------
        (x0, y0, x1, y1)
            The block in level-0 slide pixels.
        """
        h, w = classes.shape
        self.levels[0][y : y + h, x : x + w] = classes
        self.confidence[0][y : y + h, x : x + w] = confidence
        if self.probability:
            self.probability[0][:, y : y + h, x : x + w] = probabilities
        if self.uncertainty and uncertainty is not None:
            self.uncertainty[0][y : y + h, x : x + w] = uncertainty
        x0, y0, x1, y1 = x, y, x + w, y + h
        for level in range(1, len(self.levels)):
            x0, y0, x1, y1 = x0 // 2, y0 // 2, -(-x1 // 2), -(-y1 // 2)
            self._derive(level, x0, y0, x1, y1)
        scale = self.info.downsample
        return (x * scale, y * scale, (x + w) * scale, (y + h) * scale)

    def _derive(self, level: int, x0: int, y0: int, x1: int, y1: int) -> None:
        below = (slice(2 * y0, 2 * y1), slice(2 * x0, 2 * x1))
        here = (slice(y0, y1), slice(x0, x1))
        classes = self.levels[level - 1][below]
        if self.uncertainty:
            self.uncertainty[level][here] = _halved(self.uncertainty[level - 1][below], classes > 0)
        if self.probability:
            means = _halved(self.probability[level - 1][(slice(None), *below)], classes > 0)
            predicted = _any_of_four(classes > 0)
            best = means.argmax(0)
            ids = np.asarray(self.info.class_ids, np.uint8)
            self.levels[level][here] = np.where(predicted, ids[best], 0)
            self.confidence[level][here] = np.where(predicted, means.max(0), 0)
            self.probability[level][(slice(None), *here)] = means
            return
        confidence = self.confidence[level - 1][below]
        chosen, sure = _surest(classes, confidence)
        self.levels[level][here] = chosen
        self.confidence[level][here] = sure

    def finish(self, *, partial: bool) -> None:
        """Say in the store whether everything that was asked for is there; needs one that was created."""
        self._group.attrs["partial"] = partial

    def read_classes(self, bounds: Bounds) -> tuple[UInt8, tuple[int, int]]:
        """Class ids of the finest level under a level-0 box, and its (x, y) corner in pixels of that level."""
        rows, columns = self._span(bounds)
        return np.asarray(self.levels[0][rows, columns]), (columns.start, rows.start)

    def read_confidence(self, bounds: Bounds) -> UInt8:
        """Confidence of the pixels that :meth:`read_classes` gives."""
        return np.asarray(self.confidence[0][self._span(bounds)])

    def _span(self, bounds: Bounds) -> tuple[slice, slice]:
        scale = self.info.downsample
        width, height = self.info.size
        x0, y0, x1, y1 = (value / scale for value in bounds)
        left, top = max(0, math.floor(x0)), max(0, math.floor(y0))
        right, bottom = min(width, math.ceil(x1)), min(height, math.ceil(y1))
        return slice(top, max(top, bottom)), slice(left, max(left, right))


def level_shapes(size: tuple[int, int]) -> Sequence[tuple[int, int]]:
    """(height, width) of each level for a (width, height), halved until no side is longer than 1024.

    Examples
    --------
    >>> level_shapes((3000, 1001))
    [(1001, 3000), (501, 1500), (251, 750)]
    """
    w, h = size
    shapes = [(h, w)]
    while max(shapes[-1]) > SMALLEST_LEVEL:
        h, w = shapes[-1]
        shapes.append((-(-h // 2), -(-w // 2)))
    return shapes


def _quarters(plane: NDArray[Any]) -> NDArray[Any]:
    """(…, h, w) as (…, h/2, 2, w/2, 2); odd sizes are filled up with zeros."""
    *rest, h, w = plane.shape
    padded = np.pad(plane, [(0, 0)] * len(rest) + [(0, h % 2), (0, w % 2)])
    return padded.reshape(*rest, (h + 1) // 2, 2, (w + 1) // 2, 2)


def _halved(planes: UInt8, predicted: NDArray[np.bool_]) -> UInt8:
    """Mean over the predicted ones of each four pixels; 0 where none is."""
    weights = _quarters(predicted).astype(np.uint16)
    total = (_quarters(planes).astype(np.uint16) * weights).sum((-3, -1))
    count = np.maximum(weights.sum((-3, -1)), 1)
    return np.asarray((total + count // 2) // count, np.uint8)


def _any_of_four(predicted: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.asarray(_quarters(predicted).any((-3, -1)))


def _surest(classes: UInt8, confidence: UInt8) -> tuple[UInt8, UInt8]:
    """Class and confidence of the surest of each four pixels."""
    four_ids, four_sure = (
        np.stack([q[..., i, :, j] for i in (0, 1) for j in (0, 1)]) for q in (_quarters(classes), _quarters(confidence))
    )
    surest = four_sure.argmax(0)[None]
    chosen, sure = (np.take_along_axis(four, surest, 0)[0] for four in (four_ids, four_sure))
    return chosen, sure
