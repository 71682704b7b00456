"""Box, ellipse or pixel: what the granularity of annotation does to classifiers and segmenters (Shi et al. 2019).

Granularity enters as in the paper. For classifiers it decides which windows are kept (those with one complete
annotation) and which grade they get (the highest annotated in them); the picture itself is never masked. For
segmenters it is the mask: the same nuclei painted as boxes, ellipses or outlines.

The paper measures every model against annotations of the granularity it was trained with. That rewards a coarse
annotation for agreeing with itself, so each model is measured twice here: against its own granularity, which stands
beside the paper's numbers, and against the pixel truth, the same windows and masks for all, on which the finding is
decided.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from histotrain.metrics import accuracy, averages, cancer_recall, class_scores, confusion, nuclei_recall
from histotrain.recipes import Recipe
from napari_histoanno.studies.granularity_paper import CITATION, paper_numbers
from napari_histoanno.studies.grid import Cell, Finding, Quantity, Study, StudyOptions, TableSpec
from napari_histoanno.studies.labelled import labelled_patches
from napari_histoanno.studies.learning import learn
from napari_histoanno.studies.nuclei import (
    BACKGROUND,
    GRADE_NAMES,
    GRANULARITIES,
    MASK_NAMES,
    Nuclei,
    load_real,
    window_patches,
)
from napari_histoanno.studies.scenes import SceneSpec, load_scene, split
from napari_histoanno.studies.tables import ENOUGH, by_seed, difference, spread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from histotrain import LoadedModel, PatchSet
    from napari_histoanno.annotation import Granularity
    from napari_histoanno.studies.results import Result

    UInt8 = NDArray[np.uint8]

CLASSIFY, SEGMENT, REAL = "classify", "segment", "segment real nuclei"
REAL_NAMES = {BACKGROUND: "Background", 2: "Nucleus"}


@dataclass(frozen=True, slots=True)
class Scale:
    """How large a run is: slides and their side (px), windows of one grade at most, and changes of the recipes."""

    slides: tuple[int, int, int]
    side: int
    windows: int
    classifier: Mapping[str, Any]
    segmenter: Mapping[str, Any]


QUICK = Scale(
    slides=(3, 0, 2),
    side=1024,
    windows=400,
    classifier={"encoder_weights": None, "patch_size": 64, "batch_size": 32, "steps": 80, "validate_every": 80},
    segmenter={"encoder_weights": None, "patch_size": 128, "batch_size": 8, "steps": 60, "validate_every": 60},
)
FULL = Scale(slides=(8, 1, 1), side=2560, windows=4000, classifier={}, segmenter={})


@dataclass(slots=True)
class _Data:
    """Options, and the pictures of the last seed that was asked for."""

    options: StudyOptions
    seed: int = -1
    parts: list[list[Nuclei]] = field(default_factory=list)

    def pictures(self, seed: int) -> list[list[Nuclei]]:
        """Training, validation and test slides of a seed."""
        if seed != self.seed:
            scale = _scale(self.options)
            specs = split(seed, *scale.slides, like=SceneSpec(0, (scale.side, scale.side)))
            cache = self.options.slide_cache
            self.parts = [
                [Nuclei.of_scene(load_scene(spec, cache)) for spec in part]
                for part in (specs.train, specs.validation, specs.test)
            ]
            self.seed = seed
        return self.parts

    def real(self) -> list[list[Nuclei]]:
        """Every fourth picture by name is for the test; of the others every tenth for validation."""
        if self.options.nuclei is None:
            raise ValueError("no folder of real nuclei was given")
        everything = load_real(self.options.nuclei)
        rest = [picture for number, picture in enumerate(everything) if number % 4 != 3]
        validation = [] if self.options.quick else rest[::10]
        return [[p for p in rest if p not in validation], validation, everything[3::4]]


def _scale(options: StudyOptions) -> Scale:
    return QUICK if options.quick else FULL


def _columns(own: bool) -> tuple[Quantity, ...]:
    names = ("precision", "recall", "f1") if own else ("accuracy", "precision", "recall", "f1")
    prefix = "own_" if own else ""
    return tuple(Quantity(f"{prefix}{name}", name.capitalize()) for name in names)


_MASKS = (("accuracy", "Accuracy"), ("dice", "Dice"), ("nuclei_recall", "Nuclei recall"))
_GRADED_MASKS = (*_MASKS, ("cancer_recall", "Cancer recall"))


class GranularityStudy(Study[_Data]):
    """See the module."""

    name = "granularity"
    line = "Box, ellipse or pixel annotation of nuclei: what classifiers and segmenters make of each (Shi 2019)"
    citation = CITATION
    paper = paper_numbers()
    tables = (
        TableSpec("Classifiers against pixel truth", _columns(own=False), {"task": CLASSIFY}),
        TableSpec("Classifiers against their own granularity, as in the paper", _columns(own=True), {"task": CLASSIFY}),
        TableSpec("Segmenters against pixel truth", tuple(Quantity(*q) for q in _GRADED_MASKS), {"task": SEGMENT}),
        TableSpec(
            "Segmenters against their own granularity, as in the paper",
            tuple(Quantity(f"own_{name}", label) for name, label in _GRADED_MASKS),
            {"task": SEGMENT},
        ),
        TableSpec("Real nuclei, U-Net against pixel truth", tuple(Quantity(*q) for q in _MASKS), {"task": REAL}),
    )
    notes = (
        "The paper does not mask windows: granularity decides which windows are kept and which grade they get.",
        "Grades: lymphocytes and stromal nuclei are grade 0; benign and neoplastic epithelium stand in for the two "
        "grades of carcinoma, which the synthetic slides do not have. Precision, recall and F1 are means over grades.",
        "Training and test windows come from different slides; the paper splits overlapping windows 80/10/10.",
        "Dice is that of any nucleus against background; nuclei recall = nucleus pixels found as any nucleus ÷ nucleus "
        "pixels; cancer recall = cancer-nucleus pixels given their own grade ÷ cancer-nucleus pixels.",
        "Quick grid: no ImageNet weights, windows resized to 64 px instead of 128, 80 steps of 32 windows; segmenters "
        "60 steps of 8 patches of 128 px; ResNet-18 on windows of 32 and 64 px, and U-Net.",
        "Real nuclei have no grades: nucleus against exhaustively annotated background, every fourth picture held out.",
    )

    def cells(self, options: StudyOptions) -> list[Cell]:
        networks, windows, segmenters = (
            (("resnet18",), (32, 64), ("unet",))
            if options.quick
            else (("vgg16", "resnet18", "mobilenet"), (32, 64, 128), ("unet", "fpn", "linknet"))
        )
        cells = [
            Cell.of(task=CLASSIFY, network=network, window=window, granularity=granularity)
            for network in networks
            for window in windows
            for granularity in GRANULARITIES
        ]
        cells += [Cell.of(task=SEGMENT, network=n, granularity=g) for n in segmenters for g in GRANULARITIES]
        if options.nuclei is not None:
            cells += [Cell.of(task=REAL, network="unet", granularity=g) for g in GRANULARITIES]
        return cells

    def facts(self, cell: Cell, options: StudyOptions) -> Mapping[str, Any]:
        scale = _scale(options)
        known: dict[str, Any] = {"recipe": recipe_of(cell, options).model_dump(mode="json", exclude_defaults=True)}
        if cell["task"] == REAL:
            return known | {"folder": options.nuclei.name if options.nuclei else ""}
        return known | {"slides": scale.slides, "side": scale.side, "windows": scale.windows}

    def prepare(self, options: StudyOptions) -> _Data:
        return _Data(options)

    def run_cell(self, cell: Cell, data: _Data) -> dict[str, float]:
        recipe = recipe_of(cell, data.options)
        device = data.options.device
        if cell["task"] == CLASSIFY:
            return _classified(cell, recipe, data)
        parts = data.real() if cell["task"] == REAL else data.pictures(cell.seed)
        names = REAL_NAMES if cell["task"] == REAL else MASK_NAMES
        granularity = GRANULARITIES[str(cell["granularity"])]
        train, validation = (_masked(part, granularity, recipe.patch_size, names) for part in parts[:2])
        if train is None:
            raise ValueError("a study needs at least one training slide")
        model = learn(recipe, train, validation=validation, device=device)
        return _segmented(model, parts[2], cell, names)

    def finding(self, results: Sequence[Result]) -> Finding:
        statement = "Pixel-wise annotation beats ellipses, and ellipses beat boxes, for every network and window size"
        pairs = [
            (label, finer, coarser, difference(results, metric, where | {"granularity": finer}, worse))
            for label, metric, where in _settings(results)
            for finer, coarser in (("pixel", "ellipse"), ("ellipse", "box"))
            for worse in [where | {"granularity": coarser}]
        ]
        known = [pair for pair in pairs if pair[-1].enough]
        right = sum(d.positive for *_, d in known)
        clear = sum(d.clear for *_, d in known)
        listed = "; ".join(f"{label}: {a} - {b} {d.text()}" for label, a, b, d in known)
        evidence = (
            f"Against pixel truth {right} of {len(known)} differences have the expected sign, {clear} of them more "
            f"than two standard errors (F1 of classifiers, Dice of segmenters). {listed}."
        )
        if not known:
            return Finding(statement, None, f"{ENOUGH} seeds of every granularity are needed.")
        if len(known) < len(pairs):
            return Finding(statement, None, f"{evidence} {len(pairs) - len(known)} more have too few seeds.")
        return Finding(statement, right == len(pairs), evidence)

    def remarks(self, results: Sequence[Result]) -> list[str]:
        found = []
        for label, metric, where in _settings(results):
            own = {g: spread(results, f"own_{metric}", where | {"granularity": g}) for g in GRANULARITIES}
            if all(s.count for s in own.values()):
                best = max(own, key=lambda g: own[g].mean)
                values = ", ".join(f"{g} {s.text()}" for g, s in own.items())
                found.append(f"{label}, measured against the own granularity as in the paper: {values}; best: {best}.")
        return found

    def plot(self, results: Sequence[Result]) -> Figure:
        settings = _settings(results)
        figure = Figure(figsize=(2.4 + 2.1 * max(1, len(settings)), 4), layout="constrained")
        axes = figure.subplots(1, max(1, len(settings)), squeeze=False)[0]
        for axis, (label, metric, where) in zip(axes, settings, strict=False):
            _bars(axis, results, metric, where)
            axis.set_title(label, fontsize=9)
        axes[0].set_ylabel("F1, or Dice, against pixel truth")
        figure.suptitle("Points: seeds; grey dashes: the paper, against its own granularity", fontsize=9)
        return figure


def recipe_of(cell: Cell, options: StudyOptions) -> Recipe:
    """The paper's recipe with this cell's window and seed, smaller in the quick grid."""
    scale = _scale(options)
    recipe = Recipe.named(f"granularity-{cell['network']}")
    changes = scale.classifier if cell["task"] == CLASSIFY else scale.segmenter
    if cell["task"] == CLASSIFY:
        sampling = recipe.sampling.model_copy(update={"window": int(cell["window"])})
        return recipe.with_changes(**changes, sampling=sampling.model_dump(), seed=cell.seed)
    return recipe.with_changes(**changes, seed=cell.seed)


def _classified(cell: Cell, recipe: Recipe, data: _Data) -> dict[str, float]:
    size, most = int(cell["window"]), _scale(data.options).windows
    own = GRANULARITIES[str(cell["granularity"])]

    def windows(pictures: list[Nuclei], chance: int, *, truth: bool = False) -> PatchSet | None:
        rng = np.random.default_rng([cell.seed, chance])
        kind = GRANULARITIES["pixel"] if truth else own
        return window_patches(pictures, kind, size, resized=recipe.patch_size, most=most, rng=rng) if pictures else None

    train, validation, test = data.pictures(cell.seed)
    patches = windows(train, 0)
    if patches is None:
        raise ValueError("a study needs at least one training slide")
    model = learn(recipe, patches, validation=windows(validation, 1), device=data.options.device)
    return _classification_metrics(model, windows(test, 2, truth=True), "") | _classification_metrics(
        model, windows(test, 2), "own_"
    )


def _classification_metrics(model: LoadedModel, patches: PatchSet | None, prefix: str) -> dict[str, float]:
    if patches is None or patches.patch_classes is None:
        return {}
    parts = [model.classify_batch(patches.images[i : i + 64]) for i in range(0, len(patches), 64)]
    predicted = np.asarray(model.class_ids)[np.concatenate(parts).argmax(1)]
    matrix = confusion(patches.patch_classes, predicted, classes=len(GRADE_NAMES))
    found = averages(matrix)
    values = {"accuracy": accuracy(matrix), **{n: found[f"macro_{n}"] for n in ("precision", "recall", "f1")}}
    return {f"{prefix}{name}": value for name, value in values.items()}


def _masked(pictures: list[Nuclei], kind: Granularity, size: int, names: Mapping[int, str]) -> PatchSet | None:
    if not pictures:
        return None
    return labelled_patches([p.image for p in pictures], [p.mask(kind) for p in pictures], size, names)


def _segmented(model: LoadedModel, pictures: list[Nuclei], cell: Cell, names: Mapping[int, str]) -> dict[str, float]:
    count = len(names)
    matrices = {"": np.zeros((count + 1,) * 2, np.int64), "own_": np.zeros((count + 1,) * 2, np.int64)}
    for picture in pictures:
        predicted = np.asarray(model.class_ids, np.uint8)[model.predict_array(picture.image).argmax(-1)]
        for prefix, kind in (("", "pixel"), ("own_", str(cell["granularity"]))):
            matrices[prefix] += confusion(picture.mask(GRANULARITIES[kind]), predicted, classes=count)
    return {
        f"{prefix}{name}": value for prefix, matrix in matrices.items() for name, value in mask_scores(matrix).items()
    }


def mask_scores(matrix: NDArray[np.int64]) -> dict[str, float]:
    """Accuracy, Dice of any nucleus, and the two recalls, from classes background, nuclei of rising grade."""
    classes = len(matrix) - 1
    whether = np.zeros((3, 3), np.int64)
    for true in range(1, classes + 1):
        for found in range(1, classes + 1):
            whether[min(true, 2), min(found, 2)] += matrix[true, found]
    scores = {
        "accuracy": accuracy(matrix),
        "dice": float(class_scores(whether)["dice"][1]),
        "nuclei_recall": nuclei_recall(matrix, range(2, classes + 1)),
    }
    return scores if classes < 4 else scores | {"cancer_recall": cancer_recall(matrix, (3, 4))}


def _settings(results: Sequence[Result]) -> list[tuple[str, str, dict[str, Any]]]:
    """What granularities are compared in: its name, its metric, and its values."""
    found = dict.fromkeys(tuple(p for p in r.cell.params if p[0] != "granularity") for r in results)
    order = sorted(found, key=lambda params: (CLASSIFY, SEGMENT, REAL).index(str(dict(params)["task"])))
    named = []
    for params in order:
        values = dict(params)
        words = [str(values["network"]), f"{values['window']} px" if "window" in values else str(values["task"])]
        named.append((", ".join(words), "f1" if values["task"] == CLASSIFY else "dice", values))
    return named


def _bars(axis: Any, results: Sequence[Result], metric: str, where: dict[str, Any]) -> None:
    for place, granularity in enumerate(GRANULARITIES):
        setting = where | {"granularity": granularity}
        values = list(by_seed(results, metric, setting).values())
        if not values:
            continue
        shown = spread(results, metric, setting)
        axis.bar(place, shown.mean, yerr=shown.sd if shown.count > 1 else None, color="#4c9be8", capsize=4, width=0.7)
        axis.plot([place] * len(values), values, "o", color="#d98200", markersize=3)
        quoted = [
            n.value for n in GranularityStudy.paper if n.quantity == f"own_{metric}" and n.covers(Cell.of(**setting))
        ]
        if quoted:
            axis.hlines(quoted[0], place - 0.4, place + 0.4, color="#888", linestyle="--")
    axis.set_xticks(range(len(GRANULARITIES)), list(GRANULARITIES))
    axis.set_xlim(-0.6, len(GRANULARITIES) - 0.4)
    axis.set_ylim(0, 1)
