"""Patches with what is known of them: the object that goes from the slides' side to the learning side.

Labels hold class *ids* (those of the label scheme, which may have gaps) and 0 where nothing was said. ``classes`` and
``class_ids`` name the ids in the order in which a network gets its channels, so a mask means the same on both sides
of the border whatever the network's channel order is.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

import numpy as np

from histotrain.errors import TrainingError
from histotrain.sampler import PatchSampler

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import ArrayLike, NDArray

    UInt8 = NDArray[np.uint8]

UNLABELLED = 0
_PER_PATCH_TEXT = ("slides", "annotators", "kinds")
_OPTIONAL = ("contexts", "labels", "origins", "shares", "valid", "patch_classes", "instances")
_ARRAYS = ("images", *_OPTIONAL, "mpp", "weights", "corners")


class Origin(IntEnum):
    """What kind of annotation a labelled pixel comes from."""

    NONE = 0
    PIXEL = 1
    SPARSE = 2
    ELLIPSE = 3
    BOX = 4
    POINT = 5


@runtime_checkable
class PatchSource(Protocol):
    """An endless supply of training patches.

    A source draws all its chance from the generator it is given, so that a training can be repeated and resumed
    exactly.
    """

    def batch(self, size: int, rng: np.random.Generator) -> tuple[UInt8, UInt8]:
        """Images uint8 (size, H, W, 3) and labels uint8 (size, H, W): class ids, 0 is unlabelled."""
        ...


@runtime_checkable
class SampleSource(PatchSource, Protocol):
    """A source that knows more of its patches than the class of each pixel."""

    def samples(self, size: int, rng: np.random.Generator) -> PatchSet:
        """Patches with everything that is known of them; the same that `batch` draws."""
        ...


def draw_samples(source: PatchSource, size: int, rng: np.random.Generator) -> PatchSet:
    """Patches of any source, with all it knows of them."""
    if isinstance(source, SampleSource):
        return source.samples(size, rng)
    images, labels = source.batch(size, rng)
    return PatchSet(images=images, labels=labels)


@dataclass(frozen=True, slots=True, eq=False)
class PatchSet:
    """Patches of one size in memory.

    Parameters
    ----------
    images : uint8, shape (N, H, W, 3)
        RGB.
    labels : uint8, shape (N, H, W), optional
        Class id of each pixel, 0 is unlabelled.
    patch_classes : uint8, shape (N,), optional
        Class id of each patch as a whole, 0 is unlabelled.
    instances : int32, shape (N, H, W), optional
        Object number of each pixel, 0 is none.
    contexts : uint8, shape (N, M, H, W, 3), optional
        The same centres at M lower magnifications, black beyond the slide's edge.
    origins : uint8, shape (N, H, W), optional
        `Origin` of each label; without it all are PIXEL.
    shares : float32, shape (N, H, W, C), optional
        What several annotators say of a pixel: the share of each class, in the order of ``class_ids``; all 0 where
        nothing was said. They take the place of labels in a loss.
    valid : bool, shape (N, H, W), optional
        Where objects are annotated exhaustively: no instance means no object.
    slides, annotators, kinds : str, shape (N,)
        Slide, annotator and kind of annotation of each patch; "" where unknown.
    mpp : float, shape (N,)
        Pixel size of each patch, µm; NaN where unknown.
    weights : float, shape (N,)
        How often a patch is drawn, relative to the others.
    corners : float, shape (N, 2)
        Top left corner (x, y) of each patch in its slide, level-0 pixels; NaN where unknown.
    classes : tuple of str
        Names of the classes.
    class_ids : tuple of int
        Their ids in the masks; 1 … C if not given.
    scheme, lineage : dict
        JSON-able: the label scheme, and where the patches come from.

    Raises
    ------
    TrainingError
        If shapes, types or ids do not fit together.
    """

    images: UInt8
    labels: UInt8 | None = None
    patch_classes: UInt8 | None = None
    instances: NDArray[np.int32] | None = None
    contexts: UInt8 | None = None
    origins: UInt8 | None = None
    shares: NDArray[np.float32] | None = None
    valid: NDArray[np.bool_] | None = None
    slides: NDArray[Any] = field(default_factory=lambda: np.empty(0, dtype=object))
    annotators: NDArray[Any] = field(default_factory=lambda: np.empty(0, dtype=object))
    kinds: NDArray[Any] = field(default_factory=lambda: np.empty(0, dtype=object))
    mpp: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    weights: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    corners: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    classes: tuple[str, ...] = ()
    class_ids: tuple[int, ...] = ()
    scheme: dict[str, Any] = field(default_factory=dict)
    lineage: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.shape[3] != 3 or self.images.dtype != np.uint8:
            raise _misfit("images", "uint8 (N, H, W, 3)", self.images)
        count, pixels = len(self.images), self.images.shape[:3]
        if self.contexts is not None:
            self._check("contexts", np.uint8, (count, self.contexts.shape[1], *pixels[1:], 3))
        self._check("labels", np.uint8, pixels)
        self._check("origins", np.uint8, pixels)
        self._check("valid", np.bool_, pixels)
        self._check("patch_classes", np.uint8, (count,))
        self._check("instances", np.int32, pixels)
        for name in _PER_PATCH_TEXT:
            self._fill(name, np.full(count, "", dtype=object))
        self._fill("mpp", np.full(count, np.nan))
        self._fill("weights", np.ones(count))
        self._fill("corners", np.full((count, 2), np.nan))
        object.__setattr__(self, "classes", tuple(self.classes))
        ids = tuple(int(i) for i in self.class_ids) or tuple(range(1, len(self.classes) + 1))
        object.__setattr__(self, "class_ids", ids)
        self._check("shares", np.float32, (*pixels, len(ids)))
        if len(ids) != len(self.classes) or len(set(ids)) != len(ids) or not all(0 < i <= 255 for i in ids):
            raise TrainingError(
                "the classes of a patch set are inconsistent",
                f"names {self.classes}, ids {ids}",
                "Ids are unique, 1 … 255.",
            )

    def _check(self, name: str, dtype: type, shape: tuple[int, ...]) -> None:
        value = getattr(self, name)
        if value is not None and (value.dtype != dtype or value.shape != shape):
            raise _misfit(name, f"{np.dtype(dtype).name} {shape}", value)

    def _fill(self, name: str, default: NDArray[Any]) -> None:
        value = np.asarray(getattr(self, name))
        if not len(value):
            value = default
        if value.shape != default.shape:
            raise _misfit(name, f"shape {default.shape}", value)
        object.__setattr__(self, name, value.astype(default.dtype))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, indices: slice | ArrayLike) -> Self:
        return self.select(np.arange(len(self))[indices] if isinstance(indices, slice) else indices)

    def select(self, indices: ArrayLike) -> Self:
        """The patches at the indices (or where a boolean array is true), in that order."""
        chosen = np.atleast_1d(np.asarray(indices))
        chosen = np.flatnonzero(chosen) if chosen.dtype == bool else chosen.astype(np.intp)
        per_patch = {name: getattr(self, name) for name in (*_ARRAYS, *_PER_PATCH_TEXT)}
        return replace(self, **{name: value[chosen] for name, value in per_patch.items() if value is not None})

    @classmethod
    def concat(cls, parts: Sequence[PatchSet]) -> PatchSet:
        """All patches of the parts, which must share patch size, classes and kinds of labels.

        Raises
        ------
        TrainingError
            If there are no parts or they differ.
        """
        if not parts:
            raise TrainingError("no patch sets to join")
        first = parts[0]
        for part in parts[1:]:
            if (part.classes, part.class_ids) != (first.classes, first.class_ids):
                raise TrainingError(
                    "patch sets with different classes cannot be joined", f"{first.classes} and {part.classes}"
                )
            if part.images.shape[1:] != first.images.shape[1:]:
                raise TrainingError("patch sets with different patch sizes cannot be joined")
        joined: dict[str, Any] = {}
        for name in (*_ARRAYS, *_PER_PATCH_TEXT):
            values = [getattr(part, name) for part in parts]
            absent = [value is None for value in values]
            if any(absent) != all(absent):
                raise TrainingError(f"only some of the patch sets have {name}")
            joined[name] = None if absent[0] else np.concatenate(values)
        return replace(first, **joined)

    def source(self, *, balanced: bool = True, uses: Collection[str] = ()) -> PatchSampler:
        """Endless sampler over the patches; see `PatchSampler`."""
        return PatchSampler(self, balanced=balanced, uses=uses)

    def save(self, path: str | Path) -> None:
        """Write as a zarr group; an existing one is replaced. The same patches give the same bytes."""
        from histotrain.storage import write_patches

        write_patches(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> PatchSet:
        """Patches written by `save`; raises TrainingError if there are none."""
        from histotrain.storage import read_patches

        return read_patches(Path(path))

    def equals(self, other: PatchSet) -> bool:
        """Whether every field is the same."""
        mine, theirs = ([getattr(s, f.name) for f in fields(s)] for s in (self, other))
        return all(_same(a, b) for a, b in zip(mine, theirs, strict=True))


def label_lookup(class_ids: Sequence[int]) -> UInt8:
    """Table from class id to channel + 1; ids that are no class of the model become 0, unlabelled.

    Examples
    --------
    >>> label_lookup([4, 2])[[0, 2, 4, 9]]
    array([0, 2, 1, 0], dtype=uint8)
    """
    table = np.zeros(256, dtype=np.uint8)
    for channel, class_id in enumerate(class_ids):
        table[class_id] = channel + 1
    return table


def _misfit(name: str, expected: str, value: NDArray[Any]) -> TrainingError:
    return TrainingError(f"{name} of a patch set must be {expected}", f"it is {value.dtype} {value.shape}")


def _same(a: object, b: object) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.shape == b.shape and a.dtype == b.dtype and all(_equal(x, y) for x, y in ((a, b),))
    return bool(a == b)


def _equal(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))
