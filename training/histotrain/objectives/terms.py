"""Loss terms for pixels, one or one for each kind of annotation, and for whole patches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from histotrain.data import Origin
from histotrain.losses import LossSettings, label_counts, pixel_loss

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from histotrain.batches import Known
    from histotrain.objectives.weighting import ClassWeights
    from histotrain.recipes import Recipe

PIXELS = "pixels"
PATCH = "patch"
_KINDS = {"pixel": Origin.PIXEL, "sparse": Origin.SPARSE, "ellipse": Origin.ELLIPSE, "box": Origin.BOX}
_KINDS |= {"point": Origin.POINT}


class PixelTerms:
    """The loss of labelled pixels: one term "pixels", or a term for each kind of annotation.

    With the recipe's ``supervision``, the pixels of each `Origin` form a term of their own, balanced by itself and
    multiplied with the kind's weight; a kind of weight 0 is left out. Labels without an origin are of the kind "pixel".
    """

    def __init__(self, recipe: Recipe, classes: int, weights: ClassWeights) -> None:
        self._settings = LossSettings.of(recipe)
        self._classes = classes
        self._weights = weights
        self._factors = {PIXELS: 1.0}
        if recipe.supervision is not None:
            chosen = {name: float(getattr(recipe.supervision, name)) for name in _KINDS}
            self._factors = {name: factor for name, factor in chosen.items() if factor > 0}

    def amounts(self, known: Known) -> dict[str, Tensor]:
        """Labels (C,) of each term; empty where the patches have neither labels nor shares."""
        return {name: label_counts(labels, shares, self._classes).sum(0) for name, labels, shares in self._parts(known)}

    def of(self, logits: Tensor, known: Known, totals: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Terms of logits (N, C, H, W)."""
        weights = self._weights.on(logits.device)
        result = {}
        for name, labels, shares in self._parts(known):
            value = pixel_loss(
                logits, labels, self._settings, shares=shares, totals=totals[name], class_weights=weights
            )
            result[name] = value if self._factors[name] == 1 else self._factors[name] * value
        return result

    def _parts(self, known: Known) -> Iterator[tuple[str, Tensor, Tensor | None]]:
        """Labels and shares of each term."""
        labels, shares = known.labels, known.shares
        if labels is None:
            return
        for name in self._factors:
            if name == PIXELS:
                yield name, labels, shares
            elif known.origins is not None:
                kind = known.origins == _KINDS[name]
                if name == "pixel":
                    kind |= known.origins == Origin.NONE
                yield name, labels * kind, None if shares is None else shares * kind[..., None]
            else:
                kept = labels if name == "pixel" else torch.zeros_like(labels)
                yield name, kept, None if shares is None else shares * float(name == "pixel")


class PatchTerm:
    """The loss of whole patches' classes: each patch is like a pixel, with the recipe's loss, balancing and weights."""

    def __init__(self, recipe: Recipe, classes: int, weights: ClassWeights) -> None:
        self._settings = LossSettings.of(recipe)
        self._classes = classes
        self._weights = weights
        self.factor = 1.0 if recipe.supervision is None else float(recipe.supervision.patch)

    def amounts(self, known: Known) -> dict[str, Tensor]:
        """Patches (C,) of each class; empty where no classes are known or the term weighs nothing."""
        if known.patch_classes is None or not self.factor:
            return {}
        return {PATCH: label_counts(known.patch_classes[:, None, None], None, self._classes).sum(0)}

    def of(self, logits: Tensor, classes: Tensor, totals: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The term of logits (N, C) and classes (N,)."""
        weights = self._weights.on(logits.device)
        value = pixel_loss(
            logits[:, :, None, None],
            classes[:, None, None],
            self._settings,
            totals=totals[PATCH],
            class_weights=weights,
        )
        return {PATCH: self.factor * value}
