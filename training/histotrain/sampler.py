"""Drawing patches of a set again and again, each thing that is said of them equally often."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from histotrain.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from histotrain.data import PatchSet

    UInt8 = NDArray[np.uint8]
    Bools = NDArray[np.bool_]

SAYINGS = ("labels", "patch_classes", "instances")
"""What can be said of a patch: classes of its pixels (labels or shares), its own class, its objects."""


class PatchSampler:
    """Draws patches of a set with replacement.

    Balanced, it first draws a class (each that occurs, equally often) and then a patch that has it, by weight: a class
    painted on one patch in a hundred is then seen as often as the others. Patches that say nothing are never drawn.
    Where objects are asked for, their classes count (those of their pixels), and patches known to hold none, or only
    objects without a class, are one class more.

    Parameters
    ----------
    patches : PatchSet
        From which to draw.
    balanced : bool
        Classes equally often; else patches by weight alone.
    uses : collection of {"labels", "patch_classes", "instances"}
        What a patch must say, at least one of them, to be drawn. By default the first of the three that the set has.

    Raises
    ------
    TrainingError
        If no patch says anything that is asked for.
    """

    def __init__(self, patches: PatchSet, *, balanced: bool = True, uses: Collection[str] = ()) -> None:
        self._patches = patches
        self.classes, self.class_ids = patches.classes, patches.class_ids
        self.scheme = patches.scheme
        content = self._content(uses or _first_said(patches))
        if not content.any():
            raise TrainingError("there is nothing to learn from", _what_lacks(uses), "Annotate at least two classes.")
        weights = np.asarray(patches.weights, dtype=float)
        groups = [column for column in content.T if column.any()] if balanced else [content.any(1)]
        self._groups = [(np.flatnonzero(g), _cumulative(weights[g])) for g in groups]

    def _content(self, uses: Collection[str]) -> Bools:
        """Which class each patch has, bool (N, 256); the last column is for objects without a class."""
        count = len(self._patches)
        content = np.zeros((count, 257), bool)
        if "labels" in uses:
            content[:, :256] |= _classes_of_pixels(self._patches)
        if "patch_classes" in uses and self._patches.patch_classes is not None:
            content[np.arange(count), self._patches.patch_classes] = True
        if "instances" in uses:
            content[:, :256] |= _classes_of_pixels(self._patches, objects=True)
        content[:, 0] = False
        if "instances" in uses:
            content[:, 256] = _knows_objects(self._patches) & ~content.any(1)
        return content[:, 1:]

    def samples(self, size: int, rng: np.random.Generator) -> PatchSet:
        """That many patches, with everything that is known of them."""
        return self._patches.select(self._picks(size, rng))

    def batch(self, size: int, rng: np.random.Generator) -> tuple[UInt8, UInt8]:
        """Images uint8 (size, H, W, 3) and labels uint8 (size, H, W), 0 where the set has none."""
        picks = self._picks(size, rng)
        images = self._patches.images[picks]
        labels = self._patches.labels
        return images, np.zeros(images.shape[:3], np.uint8) if labels is None else labels[picks]

    def class_counts(self) -> NDArray[np.int64]:
        """How much of the set is labelled as each class, int64 (C,) in the order of ``class_ids``.

        Pixels (with shares, their sums, rounded); patches where there are no labelled pixels.
        """
        patches = self._patches
        if patches.shares is not None:
            sums: NDArray[np.int64] = patches.shares.sum((0, 1, 2), dtype=np.float64).round().astype(np.int64)
            return sums
        counts = np.zeros(256, np.int64)
        for label in patches.labels if patches.labels is not None else ():
            counts += np.bincount(label.ravel(), minlength=256)
        if not counts[1:].any() and patches.patch_classes is not None:
            counts = np.bincount(patches.patch_classes, minlength=256)
        chosen: NDArray[np.int64] = counts[list(patches.class_ids)]
        return chosen

    def _picks(self, size: int, rng: np.random.Generator) -> NDArray[np.intp]:
        order = rng.permutation(len(self._groups))
        start = int(rng.integers(len(order)))
        picks = np.empty(size, dtype=np.intp)
        for k, u in enumerate(rng.random(size)):
            members, cumulative = self._groups[order[(start + k) % len(order)]]
            picks[k] = members[np.searchsorted(cumulative, u * cumulative[-1], side="right")]
        return picks


def _first_said(patches: PatchSet) -> tuple[str, ...]:
    said = {
        "labels": _classes_of_pixels(patches)[:, 1:].any(),
        "patch_classes": patches.patch_classes is not None and patches.patch_classes.any(),
        "instances": _knows_objects(patches).any(),
    }
    return tuple(name for name in SAYINGS if said[name])[:1]


def _classes_of_pixels(patches: PatchSet, *, objects: bool = False) -> Bools:
    """Whether each patch has pixels, or pixels of objects, of each class id, bool (N, 256)."""
    content = np.zeros((len(patches), 256), bool)
    if patches.shares is not None and not objects:
        content[:, list(patches.class_ids)] = (patches.shares > 0).any((1, 2))
    elif patches.labels is not None and not (objects and patches.instances is None):
        for index, label in enumerate(patches.labels):
            chosen = label[patches.instances[index] != 0] if objects and patches.instances is not None else label
            content[index] = np.bincount(chosen.ravel(), minlength=256) > 0
    return content


def _knows_objects(patches: PatchSet) -> Bools:
    known = np.zeros(len(patches), bool)
    for name in ("instances", "valid"):
        value = getattr(patches, name)
        if value is not None:
            known |= value.any((1, 2))
    return known


def _what_lacks(uses: Collection[str]) -> str:
    if not uses or "labels" in uses:
        return "no pixel is labelled"
    return "no patch has a class" if "patch_classes" in uses else "no patch has objects"


def _cumulative(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise TrainingError("the weights of a patch set must be finite and not negative")
    total = np.cumsum(weights)
    return total if total[-1] > 0 else np.arange(1.0, len(weights) + 1)
