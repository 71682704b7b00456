"""PanNuke's way to dots (Gamper et al. 2020, section II A): detect, let a pathologist correct, train, seven times over.

A few fields of one laboratory are annotated by hand; they stand for the public data sets that the paper began with. In
each round the network marks new fields of both laboratories, a simulated pathologist goes over its dots, and the
network goes on from its weights with all fields so far. The corrected dots of a round are then turned into masks by
clicks. Beside the loop stand two who see the same fields: somebody who sets every dot by hand, and somebody who
corrects the first network, which never learns anything new.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from napari_histoanno.studies.annotating import Costs
from napari_histoanno.studies.fields import VisualField, fields_of
from napari_histoanno.studies.grid import Cell, Finding, PaperNumber, Quantity, Study, StudyError, TableSpec
from napari_histoanno.studies.nuclei import load_real
from napari_histoanno.studies.rounds import (
    CONFUSION,
    FULL,
    MPP,
    OVERSIGHT,
    QUICK,
    RADIUS_PX,
    RADIUS_UM,
    Loop,
    Scale,
    recipe_of,
)
from napari_histoanno.studies.scenes import NUCLEUS_CLASSES, SceneSpec, load_scene, split
from napari_histoanno.studies.tables import Spread, by_seed, difference, spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from napari_histoanno.studies.grid import StudyOptions, Value
    from napari_histoanno.studies.results import Result

ROUNDS = 7
SYNTHETIC, REAL = "synthetic", "real"
REAL_NAMES = {1: "Nucleus"}


@dataclass(slots=True)
class Data:
    """What all cells share: the loop of the last seed, which goes on from round to round."""

    options: StudyOptions
    scratch: tempfile.TemporaryDirectory[str]
    key: tuple[str, int] | None = None
    loop: Loop | None = None

    def loop_of(self, kind: str, seed: int) -> Loop:
        if self.loop is None or self.key != (kind, seed):
            self.key, self.loop = (kind, seed), self._start(kind, seed)
        return self.loop

    def _start(self, kind: str, seed: int) -> Loop:
        scale = QUICK if self.options.quick else FULL
        real = kind == REAL
        fields, test = _real_fields(self.options, scale, seed) if real else _synthetic_fields(self.options, scale, seed)
        return Loop(
            scale=scale,
            names=REAL_NAMES if real else dict(NUCLEUS_CLASSES),
            radius=RADIUS_PX if real else RADIUS_UM / MPP,
            fields=fields,
            test=test,
            costs=Costs.load(self.options.costs),
            seed=seed,
            device=self.options.device,
            folder=Path(self.scratch.name) / f"{kind}-{seed}",
        )


def _synthetic_fields(options: StudyOptions, scale: Scale, seed: int) -> tuple[list[VisualField], list[VisualField]]:
    """Fields for the loop, the first ones of a single laboratory, and for the test."""
    rng = np.random.default_rng([seed, 12])
    parts = split(seed, *scale.slides, like=SceneSpec(0, (scale.side, scale.side)))
    slides = [
        [_shuffled(fields_of(s.image, s.instances, s.nucleus_classes, scale.field), rng) for s in scenes]
        for scenes in ([load_scene(spec, options.slide_cache) for spec in specs] for specs in (parts.train, parts.test))
    ]
    first, rest = slides[0][0][: scale.first], slides[0][0][scale.first :]
    later = _shuffled([*rest, *(one for fields in slides[0][1:] for one in fields)], rng)
    test = _shuffled([one for fields in slides[1] for one in fields], rng)
    return _enough([*first, *later], scale), test[: scale.test]


def _real_fields(options: StudyOptions, scale: Scale, seed: int) -> tuple[list[VisualField], list[VisualField]]:
    """The same of a folder with real nuclei of one class, one field of each picture."""
    if options.nuclei is None:
        raise StudyError("Real nuclei need a folder: --nuclei.")
    side = scale.field
    fields = [
        one
        for picture in load_real(options.nuclei)
        for one in fields_of(
            picture.image, picture.instances, (np.arange(int(picture.instances.max()) + 1) > 0).astype(np.uint8), side
        )[:1]
    ]
    fields = _shuffled(fields, np.random.default_rng([seed, 13]))
    return _enough(fields[scale.test :], scale), fields[: scale.test]


def _enough(fields: list[VisualField], scale: Scale) -> list[VisualField]:
    needed = scale.first + ROUNDS * scale.each
    if len(fields) < needed:
        raise StudyError(
            f"The loop needs {needed} fields with nuclei beside those of the test; there are {len(fields)}."
        )
    return fields[:needed]


def _shuffled(fields: Sequence[VisualField], rng: np.random.Generator) -> list[VisualField]:
    return [fields[i] for i in rng.permutation(len(fields))]


_EFFORT = (
    Quantity("clicks_per_nucleus", "clicks per correct nucleus"),
    Quantity("frozen_clicks_per_nucleus", "without learning"),
    Quantity("scratch_clicks_per_nucleus", "all by hand"),
    Quantity("relabelled", "relabelled"),
    Quantity("deleted", "deleted"),
    Quantity("added", "added"),
)
_SECONDS = (
    Quantity("seconds_per_nucleus", "seconds per correct nucleus", 2),
    Quantity("scratch_seconds_per_nucleus", "all by hand", 2),
    Quantity("seconds_if_half", "verifying takes half", 2),
    Quantity("seconds_if_more", "half as much again", 2),
)
_QUALITY = (
    Quantity("detection_precision", "precision"),
    Quantity("detection_recall", "recall"),
    Quantity("detection_f1", "F1"),
    Quantity("detection_f1_12px", "F1 at 12 px"),
    Quantity("class_f1", "mean F1 of classes"),
    *(Quantity(f"f1/{name}", name) for name in NUCLEUS_CLASSES.values()),
)
_MASKS = (
    Quantity("corrected_f1", "F1 of the corrected dots"),
    Quantity("bpq", "bPQ of their masks"),
    Quantity("mpq", "mPQ"),
    Quantity("mpq_plus", "mPQ+"),
)
_TABLE_V = {
    "detection_precision": 0.73,
    "detection_recall": 0.59,
    "detection_f1": 0.65,
    "f1/Neoplastic epithelial": 0.43,
    "f1/Benign epithelial": 0.29,
    "f1/Lymphocyte": 0.37,
    "f1/Stromal": 0.36,
}


class PannukeLoop(Study[Data]):
    """See the module."""

    name = "pannuke-loop"
    line = "Seven rounds of verifying and training, effort counted in clicks (Gamper 2020)"
    citation = 'Gamper et al. (2020), "PanNuke dataset extension, insights and baselines", arXiv 2003.10778'
    tables = (
        TableSpec("Effort in each round", _EFFORT),
        TableSpec("The same in seconds", _SECONDS),
        TableSpec("Detection after each round, in test fields", _QUALITY),
        TableSpec("What the corrected dots are worth", _MASKS),
    )
    paper = tuple(
        PaperNumber(name, value, "table V, detection U-Net on PanNuke", {"data": SYNTHETIC, "round": ROUNDS})
        for name, value in _TABLE_V.items()
    )
    notes = (
        "The paper reports no effort; what it says is that seven rounds of verifying and training made the data set. "
        "Its numbers of table V are those of a detection U-Net trained on the finished data set.",
        f"The simulated pathologist overlooks {OVERSIGHT:.0%} of what is wrong and confuses {CONFUSION:.0%} of the "
        "classes assigned by hand: assumptions. A click is a changed class, a deleted or an added dot; a dot that is "
        "right is looked at and left.",
        "Seconds: looking at a dot, whether it is kept, changed or deleted, takes the time to verify; dots are set at "
        "the price of clicks (2.4 s for the first of a class in a field, 0.9 s for each further one).",
        "Found means within 3 µm of the centre, the paper's 12 px at 40x; 12 px at the 20x used here are given beside. "
        "Real pictures have no known pixel size: 12 px.",
        "In a real loop, fields of later rounds may be chosen; here they come at random, and no field comes twice.",
    )

    def cells(self, options: StudyOptions) -> list[Cell]:
        kinds = [SYNTHETIC] if options.nuclei is None else [SYNTHETIC, REAL]
        return [Cell.of(data=kind, round=number) for kind in kinds for number in range(1, ROUNDS + 1)]

    def prepare(self, options: StudyOptions) -> Data:
        return Data(options, tempfile.TemporaryDirectory(prefix="histoanno-loop-"))

    def facts(self, cell: Cell, options: StudyOptions) -> dict[str, Any]:
        scale = QUICK if options.quick else FULL
        recipes = [recipe_of(scale, cell.seed, n).model_dump(mode="json", exclude_defaults=True) for n in (0, 1)]
        known = {"scale": asdict(scale), "recipes": recipes, "costs": Costs.load(options.costs).model_dump(mode="json")}
        return known | ({"folder": options.nuclei.name} if cell["data"] == REAL and options.nuclei else {})

    def run_cell(self, cell: Cell, data: Data) -> dict[str, float]:
        return data.loop_of(str(cell["data"]), cell.seed).metrics_of(int(cell["round"]))

    def finding(self, results: Sequence[Result]) -> Finding:
        statement = "Corrections per round fall, and stay below those of somebody who sets every dot by hand"
        name = "clicks_per_nucleus"
        first: dict[str, Value] = {"data": SYNTHETIC, "round": 1}
        last: dict[str, Value] = {"data": SYNTHETIC, "round": ROUNDS}
        fall = difference(results, name, first, last)
        frozen, by_hand = (by_seed(results, f"{way}_{name}", last) for way in ("frozen", "scratch"))
        own = by_seed(results, name, last)
        cheaper = all(own[seed] < by_hand[seed] for seed in own)
        evidence = (
            f"Clicks per correct nucleus: {spread(results, name, first).text()} in round 1, "
            f"{Spread.of(own.values()).text()} in round {ROUNDS}, a fall of {fall.text()}. In round {ROUNDS} without "
            f"learning {Spread.of(frozen.values()).text()}, all by hand {Spread.of(by_hand.values()).text()}."
        )
        if not fall.enough:
            return Finding(statement, None, evidence)
        return Finding(statement, fall.clear and cheaper, evidence)

    def remarks(self, results: Sequence[Result]) -> list[str]:
        last: dict[str, Value] = {"data": SYNTHETIC, "round": ROUNDS}
        names = ("seconds_per_nucleus", "seconds_if_half", "seconds_if_more", "scratch_seconds_per_nucleus")
        took = [spread(results, name, last).mean for name in names]
        if any(np.isnan(took)):
            return []
        text = (
            f"In seconds, round {ROUNDS} takes {took[0]:.2f} for each correct nucleus ({took[1]:.2f} to {took[2]:.2f} "
            f"with verifying ± 50 %), setting all dots by hand {took[3]:.2f}"
        )
        dearer = took[0] > took[3]
        return [
            f"{text}: looking at a dot is dearer than setting one here, so fewer clicks are not less time."
            if dearer
            else f"{text}."
        ]

    def plot(self, results: Sequence[Result]) -> Figure:
        kinds = sorted({str(result.cell["data"]) for result in results}, reverse=True)
        figure = Figure(figsize=(12, 4 * len(kinds)), layout="constrained")
        panels = figure.subplots(len(kinds), 3, squeeze=False)
        for row, kind in zip(panels, kinds, strict=True):
            _draw_rounds(row[0], results, kind, _EFFORT[:3])
            _draw_rounds(row[1], results, kind, (_QUALITY[2], _QUALITY[4]))
            _draw_rounds(row[2], results, kind, _MASKS)
            row[0].set_title(f"{kind}: clicks per correct nucleus")
            row[1].set_title("detection and classification in test fields")
            row[2].set_title("corrected dots and their masks")
        return figure


def _draw_rounds(axes: Axes, results: Sequence[Result], kind: str, quantities: Sequence[Quantity]) -> None:
    rounds = sorted({int(result.cell["round"]) for result in results if result.cell["data"] == kind})
    for quantity in quantities:
        found = [spread(results, quantity.name, {"data": kind, "round": number}) for number in rounds]
        deviations = [0 if np.isnan(value.sd) else value.sd for value in found]
        axes.errorbar(rounds, [value.mean for value in found], deviations, fmt="o-", capsize=3, label=quantity.label)
        quoted = _TABLE_V.get(quantity.name)
        if quoted is not None and kind == SYNTHETIC:
            axes.axhline(quoted, color="black", linestyle=":", label=f"{quantity.label}, paper (table V)")
    axes.set_xlabel("round")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8)
