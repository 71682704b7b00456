"""How good a model gets for the minutes an annotator spends, at every granularity.

No paper asks this; the costs are those of natural images and of assumptions (:class:`.Costs`), so the conclusion is
also drawn with every cost wrong by half. An action that costs f times as much gets done in f times the minutes: its
curve of quality over minutes only shifts, and no further training is needed to know.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from histotrain.data import PatchSet
from histotrain.metrics import class_scores, confusion, macro
from histotrain.recipes import Recipe
from napari_histoanno.studies.annotating import ACTIONS, FIELD, Costs, annotate_for
from napari_histoanno.studies.granularity import mask_scores
from napari_histoanno.studies.grid import Cell, Finding, Quantity, Study, StudyOptions, TableSpec
from napari_histoanno.studies.learning import learn
from napari_histoanno.studies.nuclei import GRANULARITIES, MASK_NAMES, Nuclei
from napari_histoanno.studies.scenes import SceneSpec, load_scene, split
from napari_histoanno.studies.tables import ENOUGH, difference, spread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_histoanno.studies.results import Result

WRONG_BY = 0.5
QUICK_MINUTES = (4.0, 20.0)
FULL_MINUTES = (2.0, 5.0, 10.0, 20.0, 40.0, 80.0)
SLIDES, SIDE = (3, 0, 1), 1024
CHEAP, FINE = "click to mask", "outline"


@dataclass(slots=True)
class _Data:
    options: StudyOptions
    costs: Costs
    seed: int = -1
    parts: list[list[Nuclei]] = field(default_factory=list)

    def pictures(self, seed: int) -> list[list[Nuclei]]:
        """Training and test slides of a seed."""
        if seed != self.seed:
            specs = split(seed, *SLIDES, like=SceneSpec(0, (SIDE, SIDE)))
            cache = self.options.slide_cache
            self.parts = [
                [Nuclei.of_scene(load_scene(spec, cache)) for spec in part] for part in (specs.train, specs.test)
            ]
            self.seed = seed
        return self.parts


class AnnotationTimeStudy(Study[_Data]):
    """See the module."""

    name = "annotation-time"
    line = "Quality of nuclei segmentation for the minutes an annotator spends, at every granularity"
    citation = (
        "none: a question of this project. Costs: Bearman et al. 2016, Papadopoulos et al. 2017, Lin et al. 2014, "
        "quoted from memory, and assumptions that are marked as such."
    )
    tables = (
        TableSpec(
            "Quality for minutes of annotation",
            (
                Quantity("mean_dice", "Mean Dice of classes"),
                Quantity("dice", "Dice of any nucleus"),
                Quantity("cancer_recall", "Cancer recall"),
                Quantity("fields", "Fields", 0),
            ),
        ),
    )
    notes = (
        f"The annotator completes fields of {FIELD} px (32 µm) one after another, the same for every granularity. "
        "Everything but what a shape covers is background in a completed field; for clicks only what is far from "
        "every click, for scribbles only what a background scribble covers.",
        "Measured on pixel truth of another slide: background, normal, benign and neoplastic nuclei.",
        "U-Net with a ResNet-10 encoder from random weights. Quick grid: 100 steps of 8 fields, 4 and 20 minutes.",
    )

    def cells(self, options: StudyOptions) -> list[Cell]:
        minutes = QUICK_MINUTES if options.quick else FULL_MINUTES
        return [Cell.of(annotation=action, minutes=m) for action in ACTIONS for m in minutes]

    def facts(self, cell: Cell, options: StudyOptions) -> Mapping[str, Any]:
        return {
            "recipe": recipe_of(cell, options).model_dump(mode="json", exclude_defaults=True),
            "costs": Costs.load(options.costs).model_dump(),
            "data": [SLIDES, SIDE],
        }

    def prepare(self, options: StudyOptions) -> _Data:
        return _Data(options, Costs.load(options.costs))

    def run_cell(self, cell: Cell, data: _Data) -> dict[str, float]:
        train, test = data.pictures(cell.seed)
        chance = np.random.default_rng([cell.seed, 5])
        made = annotate_for(float(cell["minutes"]), str(cell["annotation"]), train, data.costs, chance)
        patches = PatchSet(
            images=made.images, labels=made.labels, classes=tuple(MASK_NAMES.values()), class_ids=tuple(MASK_NAMES)
        )
        model = learn(recipe_of(cell, data.options), patches, device=data.options.device)
        matrix = np.zeros((len(MASK_NAMES) + 1,) * 2, np.int64)
        for picture in test:
            found = np.asarray(model.class_ids, np.uint8)[model.predict_array(picture.image).argmax(-1)]
            matrix += confusion(picture.mask(GRANULARITIES["pixel"]), found, classes=len(MASK_NAMES))
        scores = {"mean_dice": macro(class_scores(matrix)["dice"])} | mask_scores(matrix)
        return scores | {"fields": float(len(made.images)), "spent": made.minutes}

    def finding(self, results: Sequence[Result]) -> Finding:
        statement = (
            "For every amount of time, clicks turned into masks give a better model than outlines, also if every cost "
            "is wrong by half"
        )
        minutes = _minutes(results)
        found = [
            difference(results, "mean_dice", {"annotation": CHEAP, "minutes": m}, {"annotation": FINE, "minutes": m})
            for m in minutes
        ]
        if not found or not all(d.enough for d in found):
            return Finding(statement, None, f"{ENOUGH} seeds of both are needed.")
        worst = worst_case(results)
        robust = [margin for _, margin in worst]
        listed = "; ".join(f"{m:g} min {d.text()}" for m, d in zip(minutes, found, strict=True))
        shifted = "; ".join(f"{m:.1f} min {margin:+.3f}" for m, margin in worst)
        evidence = (
            f"Mean Dice, {CHEAP} - {FINE}: {listed}. With the clicks costing half as much again and the outlines half "
            f"as much: {shifted or 'the minutes of this grid lie too close together to say'}."
        )
        if not robust:
            return Finding(statement, None, evidence)
        return Finding(statement, all(d.positive for d in found) and min(robust) > 0, evidence)

    def remarks(self, results: Sequence[Result]) -> list[str]:
        remarks = []
        for minutes in _minutes(results):
            scores = {a: spread(results, "mean_dice", {"annotation": a, "minutes": minutes}).mean for a in ACTIONS}
            known = {action: score for action, score in scores.items() if not math.isnan(score)}
            ranking = sorted(known, key=lambda action: known[action], reverse=True)
            remarks.append(f"Best to worst at {minutes:g} min: {', '.join(f'{a} {known[a]:.3f}' for a in ranking)}.")
        for minutes in _middle(results):
            winners = {
                factors: _best(results, minutes, dict(factors))
                for action in ACTIONS
                for factor in (1 - WRONG_BY, 1 + WRONG_BY)
                for factors in [((action, factor),)]
            }
            usual = _best(results, minutes, {})
            changed = [f"{a} × {f:g} → {best}" for ((a, f),), best in winners.items() if best != usual]
            remarks.append(
                f"At {minutes:.1f} min the best is {usual}; with any one cost half or half as much again it is "
                f"{'always the same' if not changed else 'the same except: ' + '; '.join(changed)}."
            )
        return remarks

    def plot(self, results: Sequence[Result]) -> Figure:
        figure = Figure(figsize=(8, 4.5), layout="constrained")
        axis = figure.subplots()
        for number, action in enumerate(ACTIONS):
            points = [
                (m, spread(results, "mean_dice", {"annotation": action, "minutes": m})) for m in _minutes(results)
            ]
            known = [(m, s) for m, s in points if s.count]
            if known:
                axis.errorbar(
                    [m * 1.02**number for m, _ in known],
                    [s.mean for _, s in known],
                    yerr=[0.0 if math.isnan(s.sd) else s.sd for _, s in known],
                    marker="o",
                    capsize=3,
                    label=action,
                )
        axis.set_xscale("log")
        ticks = _minutes(results)
        axis.set_xticks(ticks, [f"{m:g}" for m in ticks])
        axis.set_xticks([], minor=True)
        axis.set_xlabel("minutes of annotation")
        axis.set_ylabel("mean Dice of background and three kinds of nuclei")
        axis.legend(fontsize=8)
        return figure


def recipe_of(cell: Cell, options: StudyOptions) -> Recipe:
    """The default recipe on fields; longer in the full grid."""
    steps = 100 if options.quick else 2000
    return Recipe.named("default").with_changes(
        name="annotation-time",
        model="unet/tu-resnet10t",
        patch_size=FIELD,
        batch_size=8,
        steps=steps,
        validate_every=steps,
        seed=cell.seed,
    )


def quality_at(results: Sequence[Result], action: str, minutes: float) -> float:
    """Mean Dice for that time, between the measured ones on a logarithmic scale; NaN outside of them."""
    known = [(m, spread(results, "mean_dice", {"annotation": action, "minutes": m}).mean) for m in _minutes(results)]
    known = [(m, q) for m, q in known if not math.isnan(q)]
    if len(known) < 2 or not known[0][0] - 1e-9 <= minutes <= known[-1][0] + 1e-9:
        return math.nan
    times, qualities = zip(*known, strict=True)
    return float(np.interp(math.log(minutes), np.log(times), qualities))


def worst_case(results: Sequence[Result]) -> list[tuple[float, float]]:
    """Minutes, and how much better clicks with masks are than outlines if both costs are wrong in the worse way."""
    margins = [
        (m, quality_at(results, CHEAP, m / (1 + WRONG_BY)) - quality_at(results, FINE, m / (1 - WRONG_BY)))
        for m in _middle(results)
    ]
    return [(m, margin) for m, margin in margins if not math.isnan(margin)]


def _best(results: Sequence[Result], minutes: float, factors: Mapping[str, float]) -> str:
    """The best annotation if these cost so many times as much."""
    found = {action: quality_at(results, action, minutes / factors.get(action, 1.0)) for action in ACTIONS}
    known = {action: value for action, value in found.items() if not math.isnan(value)}
    return max(known, key=lambda action: known[action], default="none")


def _minutes(results: Sequence[Result]) -> list[float]:
    return sorted({float(result.cell["minutes"]) for result in results})


def _middle(results: Sequence[Result]) -> list[float]:
    """Times at which half and one and a half of every cost can still be read from the curves."""
    known = _minutes(results)
    if len(known) < 2:
        return []
    low, high = known[0] * (1 + WRONG_BY), known[-1] * (1 - WRONG_BY)
    inside = [m for m in known if low <= m <= high]
    return inside or ([math.sqrt(low * high)] if low <= high else [])
