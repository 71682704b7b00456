"""Weights of the classes by their share of the training set: Ho et al. (2021), equation 2."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from histotrain.classes import ClassList
    from histotrain.data import PatchSource
    from histotrain.recipes import Recipe


class ClassWeights:
    """w_c = 1 - N_c / ΣN, from the labelled pixels of each class, or no weights.

    Where a source knows its training set it says so by ``class_counts()``, int64 (C,) in the order of its
    ``class_ids``. From another one, the counts are those of all that was learnt from so far: they are the source's own
    shares of what it draws, and settle within a few steps. With a single class in sight, it weighs 1.

    Parameters
    ----------
    recipe : Recipe
        Its ``class_weights`` say whether there are any.
    classes : ClassList
        Of the network.
    source : PatchSource, optional
        What is learnt from.
    """

    def __init__(self, recipe: Recipe, classes: ClassList, source: PatchSource | None = None) -> None:
        self._active = recipe.class_weights == "share"
        counted = getattr(source, "class_counts", None) if self._active else None
        self._running = counted is None
        self._counts = torch.zeros(len(classes), dtype=torch.float64)
        if counted is not None:
            known = dict(zip(getattr(source, "class_ids", classes.ids), np.asarray(counted()).tolist(), strict=True))
            self._counts = torch.tensor([known.get(i, 0) for i in classes.ids], dtype=torch.float64)

    def saw(self, totals: Mapping[str, Tensor]) -> None:
        """Take notice of the labels (C,) in each term of a step: of pixels, or of patches if there are no pixels."""
        if not (self._active and self._running):
            return
        pixels = [counts for name, counts in totals.items() if name != "patch"] or list(totals.values())
        for counts in pixels:
            self._counts = self._counts + counts.cpu().double()

    def on(self, device: torch.device) -> Tensor | None:
        """Weights float32 (C,), or None if the recipe wants none."""
        if not self._active:
            return None
        if (self._counts > 0).sum() < 2:
            return torch.ones(len(self._counts), device=device)
        return (1 - self._counts / self._counts.sum()).float().to(device)

    def state(self) -> dict[str, Tensor]:
        """What resuming needs."""
        return {"counts": self._counts}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take over what `state` gave."""
        if self._running and "counts" in state:
            self._counts = state["counts"]
