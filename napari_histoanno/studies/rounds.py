"""Rounds of detecting, correcting and training, and what they take and give; see :mod:`.pannuke_loop`."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from histotrain.metrics import Detection, detection_f1, image_quality, panoptic_summary
from histotrain.recipes import AugmentSettings, Recipe
from napari_histoanno.annotation import ClickOptions, click_masks
from napari_histoanno.studies.fields import VisualField, detect, dotted_patches
from napari_histoanno.studies.learning import learn
from napari_histoanno.studies.pathologist import Dots, Effort, Pathologist

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from histotrain import LoadedModel
    from napari_histoanno.studies.annotating import Costs

RADIUS_UM, RADIUS_PX = 3.0, 12.0
"""The paper's 12 px are 3 µm at 40x; both are measured."""
MPP = 0.5
OVERSIGHT, CONFUSION = 0.03, 0.03
HALF = 0.5


@dataclass(frozen=True, slots=True)
class Scale:
    """How large a loop is.

    Parameters
    ----------
    slides : (int, int, int)
        For training (in turn of the two laboratories), validation and test.
    side, field, tile : int
        Of a slide, a field and a training patch, pixels of 0.5 µm.
    first, each, test : int
        Fields annotated by hand, in each round, and for the test.
    steps : (int, int)
        Of the first training, and of each further one.
    rate : float
        Learning rate of the first; the others have half of it.
    """

    slides: tuple[int, int, int]
    side: int
    field: int
    tile: int
    first: int
    each: int
    test: int
    steps: tuple[int, int]
    rate: float


QUICK = Scale((4, 0, 2), 1024, 256, 128, 2, 3, 6, (60, 30), 1e-3)
FULL = Scale((10, 0, 4), 4096, 256, 256, 20, 60, 200, (4000, 2000), 3e-4)


@dataclass(slots=True)
class Loop:
    """One seed of the loop; rounds have to come in order."""

    scale: Scale
    names: dict[int, str]
    radius: float
    fields: list[VisualField]
    test: list[VisualField]
    costs: Costs
    seed: int
    device: str
    folder: Path
    done: int = 0
    seen: list[VisualField] = field(default_factory=list)
    dots: list[Dots] = field(default_factory=list)
    metrics: list[dict[str, float]] = field(default_factory=list)

    def metrics_of(self, number: int) -> dict[str, float]:
        """Of a round, 1 … 7; rounds before it are run if they have not been."""
        if not self.dots:
            self._begin()
        while self.done < number:
            self.metrics.append(self._round())
        return self.metrics[number - 1]

    @property
    def hand(self) -> Pathologist:
        return Pathologist(tuple(self.names), self.radius, OVERSIGHT, CONFUSION)

    def _model(self, number: int) -> LoadedModel:
        from histotrain import load_model

        return load_model(self.folder / str(number), self.device)

    def _begin(self) -> None:
        rng = np.random.default_rng([self.seed, 10])
        self.seen = self.fields[: self.scale.first]
        self.dots = [self.hand.annotate(field.dots(), rng)[0] for field in self.seen]
        self._train()

    def _train(self) -> None:
        before = self.folder / str(self.done - 1) if self.done else None
        patches = dotted_patches(self.seen, self.dots, self.scale.tile, self.names)
        recipe = recipe_of(self.scale, self.seed, self.done)
        learn(recipe, patches, device=self.device, init=before, folder=self.folder / str(self.done))

    def _round(self) -> dict[str, float]:
        start = self.scale.first + self.done * self.scale.each
        new = self.fields[start : start + self.scale.each]
        truths = [one.dots() for one in new]
        ways = {}
        for way, model in (("", self._model(self.done)), ("frozen_", self._model(0)), ("scratch_", None)):
            rng = np.random.default_rng([self.seed, 11, self.done])
            found = [Dots.none()] * len(new) if model is None else detect(model, [one.image for one in new])
            after = [self.hand.correct(*pair, rng) for pair in zip(found, truths, strict=True)]
            ways[way] = ([dots for dots, _ in after], sum((effort for _, effort in after), Effort()))
        result: dict[str, float] = {}
        for way, (dots, effort) in ways.items():
            result |= {way + name: value for name, value in self._effort(dots, truths, effort).items()}
        kept = ways[""][0]
        self.seen, self.dots = [*self.seen, *new], [*self.dots, *kept]
        self.done += 1
        self._train()
        found = detect(self._model(self.done), [one.image for one in self.test])
        return result | self._detection(found) | masks_quality(new, kept, self.names)

    def _effort(self, dots: Sequence[Dots], truths: Sequence[Dots], effort: Effort) -> dict[str, float]:
        """Clicks and seconds for each nucleus that is right afterwards, in its place and its class."""
        scored = [scores(truth, found, self.radius) for truth, found in zip(truths, dots, strict=True)]
        right = max(1, sum(of_class.tp for one in scored for of_class in one.per_class.values()))
        verify = effort.looked * self.costs.verify
        clicks = effort.classes * self.costs.first_click + (effort.added - effort.classes) * self.costs.click
        seconds = len(dots) * self.costs.field + verify + clicks
        return {
            "clicks_per_nucleus": effort.clicks / right,
            "seconds_per_nucleus": seconds / right,
            "seconds_if_half": (seconds - HALF * verify) / right,
            "seconds_if_more": (seconds + HALF * verify) / right,
            "relabelled": effort.relabelled / right,
            "deleted": effort.deleted / right,
            "added": effort.added / right,
            "corrected_f1": _pooled(scored).f1,
        }

    def _detection(self, found: Sequence[Dots]) -> dict[str, float]:
        """Of the trained network in the test fields."""
        truths = [one.dots() for one in self.test]
        near, wide = (
            _pooled([scores(t, f, radius) for t, f in zip(truths, found, strict=True)])
            for radius in (self.radius, RADIUS_PX)
        )
        result = {"detection_f1_12px": wide.f1}
        result |= {f"detection_{name}": getattr(near, name) for name in ("precision", "recall", "f1")}
        of_class = {name: near.per_class[i].f1 for i, name in self.names.items() if i in near.per_class}
        known = [value for value in of_class.values() if not np.isnan(value)]
        return result | {f"f1/{n}": v for n, v in of_class.items()} | {"class_f1": float(np.mean(known))}


def scores(truth: Dots, found: Dots, radius: float) -> Detection:
    """Detection of one field, and of each class in it."""
    return detection_f1(
        truth.points, found.points, radius=radius, true_classes=truth.classes, predicted_classes=found.classes
    )


def _pooled(parts: Sequence[Detection]) -> Detection:
    """Counts of several fields together."""
    ids = {label for part in parts for label in part.per_class}
    nothing = Detection(0, 0, 0)
    of_class = {label: _summed([part.per_class.get(label, nothing) for part in parts]) for label in ids}
    whole = _summed(parts)
    return Detection(whole.tp, whole.fp, whole.fn, of_class)


def _summed(parts: Sequence[Detection]) -> Detection:
    return Detection(sum(p.tp for p in parts), sum(p.fp for p in parts), sum(p.fn for p in parts))


def masks_quality(fields: Sequence[VisualField], dots: Sequence[Dots], names: dict[int, str]) -> dict[str, float]:
    """Panoptic quality of the masks that clicks on the dots give: "bpq", "mpq", "mpq_plus"."""
    images = []
    for one, marked in zip(fields, dots, strict=True):
        _, first = np.unique(np.floor(marked.points), axis=0, return_index=True)
        own = marked.take(np.sort(first))
        masks = click_masks(one.image, own.points, options=ClickOptions.at(MPP)).labels
        numbers = np.unique(one.instances)
        true = {int(n): int(one.kinds[n]) for n in numbers if n}
        found = {index: int(label) for index, label in enumerate(own.classes, 1)}
        quality = partial(image_quality, true_classes=true, predicted_classes=found, classes=max(names))
        images.append(quality(one.instances, masks))
    summary = panoptic_summary(images)
    return {name: summary[name] for name in ("bpq", "mpq", "mpq_plus")}


def recipe_of(scale: Scale, seed: int, number: int) -> Recipe:
    """Of the training after a round; round 0 is the first, by hand."""
    steps = scale.steps[min(number, 1)]
    return Recipe.named("pannuke-detection").with_changes(
        seed=seed,
        mpp=MPP,
        patch_size=scale.tile,
        batch_size=8,
        steps=steps,
        validate_every=steps,
        learning_rate=scale.rate if number == 0 else scale.rate / 2,
        augment=AugmentSettings(blur=0.0),
    )
