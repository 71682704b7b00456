"""A batch on its way to the network: as it was drawn, and as it is fed.

Labels are channel + 1 from here on, and shares are in the order of the channels, whatever the order in the source is.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from torch import Tensor

from histotrain.data import label_lookup
from histotrain.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from histotrain.classes import ClassList
    from histotrain.data import PatchSet

PER_PIXEL = ("labels", "origins", "shares", "valid", "instances")
"""What is known of each pixel; moves with the pixels, and is 0 where pixels come in from outside the patch."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is said of N patches; None where nothing is.

    Parameters
    ----------
    labels : Tensor, uint8, shape (N, H, W)
        Channel + 1 of each pixel, 0 is unlabelled.
    patch_classes : Tensor, uint8, shape (N,)
        Channel + 1 of each patch, 0 is unlabelled.
    origins : Tensor, uint8, shape (N, H, W)
        `histotrain.data.Origin` of each label.
    shares : Tensor, float32, shape (N, H, W, C)
        Share of each channel; all 0 is unlabelled.
    instances : Tensor, int32, shape (N, H, W)
        Object numbers, 0 for none.
    valid : Tensor, bool, shape (N, H, W)
        Where objects are annotated exhaustively.
    """

    labels: Tensor | None = None
    patch_classes: Tensor | None = None
    origins: Tensor | None = None
    shares: Tensor | None = None
    instances: Tensor | None = None
    valid: Tensor | None = None

    def each(self, change: Callable[[Tensor], Tensor]) -> Self:
        """The same with every tensor changed."""
        return self._changed(change, tuple(f.name for f in fields(self)))

    def each_mask(self, change: Callable[[Tensor], Tensor]) -> Self:
        """The same with every tensor (N, H, W, …) changed."""
        return self._changed(change, PER_PIXEL)

    def _changed(self, change: Callable[[Tensor], Tensor], names: tuple[str, ...]) -> Self:
        present = {name: value for name in names if (value := getattr(self, name)) is not None}
        return replace(self, **{name: change(value) for name, value in present.items()})


@dataclass(frozen=True, slots=True)
class Batch:
    """Patches as drawn: images uint8 (N, H, W, 3), contexts uint8 (N, M, H, W, 3), and what is known of them."""

    images: Tensor
    known: Known = field(default_factory=Known)
    contexts: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)

    def each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """The same with every tensor changed."""
        contexts = None if self.contexts is None else change(self.contexts)
        return Batch(change(self.images), self.known.each(change), contexts)


@dataclass(frozen=True, slots=True)
class Inputs:
    """Patches as a network is fed with them.

    ``pixels`` is float32, (N, 3, H, W) or, with lower magnifications, (N, 1 + M, 3, H, W), the target first;
    ``targets`` is what an objective has made of ``known``.
    """

    pixels: Tensor
    known: Known = field(default_factory=Known)
    targets: dict[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.pixels)

    def each(self, change: Callable[[Tensor], Tensor]) -> Inputs:
        """The same with every tensor changed."""
        targets = {name: change(value) for name, value in self.targets.items()}
        return Inputs(change(self.pixels), self.known.each(change), targets)


class Reader:
    """Batches of patch sets, in a network's channels and magnifications.

    Parameters
    ----------
    classes : ClassList
        Of the network.
    magnifications : tuple of float
        Of the network, see `histotrain.models.magnifications_of`. Contexts are left out for a network of one.
    """

    def __init__(self, classes: ClassList, magnifications: tuple[float, ...] = (1.0,)) -> None:
        self._ids = classes.ids
        self._lookup = label_lookup(classes.ids)
        self._lower = len(magnifications) - 1

    def batch(self, patches: PatchSet) -> Batch:
        """All of the patches.

        Raises
        ------
        TrainingError
            If they have contexts, but not of as many magnifications as the network takes.
        """
        labels = None if patches.labels is None else self._lookup[patches.labels]
        shares = None if patches.shares is None else self._in_channels(patches.shares, patches.class_ids)
        if labels is None and shares is not None:
            labels = np.where(shares.any(-1), shares.argmax(-1) + 1, 0).astype(np.uint8)
        classes = None if patches.patch_classes is None else self._lookup[patches.patch_classes]
        known = Known(
            labels=_tensor(labels),
            patch_classes=_tensor(classes),
            origins=_tensor(patches.origins),
            shares=_tensor(shares),
            instances=_tensor(patches.instances),
            valid=_tensor(patches.valid),
        )
        images = torch.from_numpy(np.ascontiguousarray(patches.images))
        return Batch(images, known, self._contexts(patches))

    def _contexts(self, patches: PatchSet) -> Tensor | None:
        if patches.contexts is None or not self._lower:
            return None
        if patches.contexts.shape[1] != self._lower:
            raise TrainingError(
                "the patches do not fit the network's magnifications",
                f"they have {patches.contexts.shape[1]} lower ones, the network takes {self._lower}",
                "Cut them for this network.",
            )
        return _tensor(patches.contexts)

    def _in_channels(self, shares: NDArray[np.float32], ids: tuple[int, ...]) -> NDArray[np.float32]:
        if ids == self._ids:
            return shares
        result = np.zeros((*shares.shape[:-1], len(self._ids)), np.float32)
        for channel, class_id in enumerate(self._ids):
            if class_id in ids:
                result[..., channel] = shares[..., ids.index(class_id)]
        return result


def _tensor(array: NDArray[np.generic] | None) -> Tensor | None:
    return None if array is None else torch.from_numpy(np.ascontiguousarray(array))
