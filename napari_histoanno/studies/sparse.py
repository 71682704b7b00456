"""Sparse, dense and combined annotation under three balancings of the loss (Bokhorst et al. 2019).

The simulated annotator draws on the training slides as a person would: strokes of a broad pen well inside of every
tissue (sparse), and rectangles in which everything is annotated (dense). Combined training sees all strokes and a
fifth of the rectangles, four sparse patches for each dense one. Patches are drawn as they come, not class by class:
evening out the classes is what the loss is studied for, so the sampler must not do it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from histotrain.data import PatchSet
from histotrain.metrics import accuracy, class_scores, confusion, macro
from histotrain.recipes import Recipe
from napari_histoanno.annotation import rasterize
from napari_histoanno.simulated import SimulatedAnnotator
from napari_histoanno.studies.grid import Cell, Finding, PaperNumber, Quantity, Study, StudyOptions, TableSpec
from napari_histoanno.studies.labelled import labelled_patches
from napari_histoanno.studies.learning import learn
from napari_histoanno.studies.scenes import REGION_CLASSES, Scene, SceneSpec, load_scene, split
from napari_histoanno.studies.tables import ENOUGH, by_seed, difference, spread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from napari_histoanno.studies.results import Result

    UInt8 = NDArray[np.uint8]

BALANCINGS = {"none": "sparse-none", "instance": "sparse-instance", "mini-batch": "sparse"}
ANNOTATIONS = ("sparse", "dense", "combined")
SPARSE_PER_DENSE = 4.0
DENSE_SHARE = 0.2
"""Of the dense annotation, that combined training sees."""

AS_GOOD = 0.02
"""Two scores that differ by no more count as equal; the paper's are printed to 0.01."""

PEN, STROKES, STEPS = 12.0, 2, 10
"""Width of the pen (px of 1 µm), strokes in each tissue of a slide, and steps of 14 px a stroke has at most."""

PAPER_DICE = {
    "Background": (0.32, 0.21, 0.34, 0.25, 0.25, 0.22, 0.24, 0.25, 0.23),
    "Desmoplastic stroma": (0.69, 0.68, 0.67, 0.69, 0.69, 0.69, 0.65, 0.63, 0.67),
    "Erythrocytes": (0.53, 0.49, 0.62, 0.72, 0.72, 0.72, 0.50, 0.68, 0.65),
    "Fat": (0.84, 0.77, 0.84, 0.85, 0.84, 0.85, 0.80, 0.86, 0.86),
    "Healthy glands": (0.83, 0.86, 0.86, 0.88, 0.88, 0.87, 0.84, 0.86, 0.86),
    "Healthy stroma": (0.62, 0.67, 0.66, 0.47, 0.48, 0.48, 0.50, 0.64, 0.59),
    "Lymphocytes": (0.82, 0.83, 0.83, 0.71, 0.71, 0.72, 0.79, 0.81, 0.76),
    "Mucus": (0.22, 0.20, 0.47, 0.96, 0.96, 0.96, 0.42, 0.76, 0.89),
    "Muscle": (0.66, 0.61, 0.54, 0.65, 0.65, 0.66, 0.70, 0.70, 0.65),
    "Necrosis and debris": (0.28, 0.38, 0.39, 0.41, 0.41, 0.41, 0.42, 0.42, 0.39),
    "Nerve": (0.69, 0.64, 0.56, 0.62, 0.61, 0.62, 0.55, 0.62, 0.56),
    "Stroma lamina propria": (0.76, 0.78, 0.76, 0.82, 0.82, 0.82, 0.77, 0.81, 0.79),
    "Tumor": (0.86, 0.86, 0.86, 0.86, 0.85, 0.86, 0.84, 0.85, 0.84),
}
"""Table 2: sparse, dense, combined, each without, with instance and with mini-batch balancing."""

PAPER_OVERALL = (0.61, 0.62, 0.65, 0.68, 0.68, 0.68, 0.62, 0.68, 0.67)

_LIKE = {
    "Tumour gland": "Tumor",
    "Benign gland": "Healthy glands",
    "Stroma": "Healthy stroma",
    "Lymphoid aggregate": "Lymphocytes",
    "Fat": "Fat",
    "Background": "Background",
}


@dataclass(frozen=True, slots=True)
class Scale:
    """Slides for training and test, their side and that of a dense region (px of 1 µm), and changes of the recipes."""

    slides: tuple[int, int, int]
    side: int
    region: int
    recipe: Mapping[str, Any]


QUICK = Scale(
    slides=(5, 0, 2),
    side=640,
    region=256,
    recipe={
        "model": "unet/tu-resnet10t",
        "patch_size": 64,
        "steps": 120,
        "validate_every": 120,
        "learning_rate": 1e-3,
        "schedule": "cosine",
        "gradient_clip": 5.0,
    },
)
FULL = Scale(slides=(40, 5, 5), side=1536, region=768, recipe={})


@dataclass(slots=True)
class _Data:
    options: StudyOptions
    seed: int = -1
    parts: list[list[Scene]] = field(default_factory=list)

    def scenes(self, seed: int) -> list[list[Scene]]:
        """Training, validation and test slides of a seed."""
        if seed != self.seed:
            scale = _scale(self.options)
            like = SceneSpec(0, (2 * scale.side, 2 * scale.side), reduce=2)
            specs = split(seed, *scale.slides, like=like)
            cache = self.options.slide_cache
            self.parts = [
                [load_scene(spec, cache) for spec in part] for part in (specs.train, specs.validation, specs.test)
            ]
            self.seed = seed
        return self.parts


@dataclass(frozen=True, slots=True)
class _Regions:
    """What the annotator knows of a slide: its tissues."""

    regions: UInt8
    classes: UInt8 = field(default_factory=lambda: np.zeros(0, np.uint8))
    ellipses: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 5)))
    boxes: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 4), np.int64))
    points: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 2)))


def sparse_labels(scene: Scene, rng: np.random.Generator) -> UInt8:
    """Strokes through every tissue, ids of :data:`.REGION_CLASSES`, uint8 (H, W); 0 is unlabelled."""
    hand = SimulatedAnnotator(_Regions(scene.regions), rng)
    strokes = [(stroke, region) for region in REGION_CLASSES for stroke in hand.strokes(region, STROKES, PEN, STEPS)]
    return np.asarray(rasterize(strokes, (scene.regions.shape[1], scene.regions.shape[0])), np.uint8)


def dense_labels(scene: Scene, side: int, rng: np.random.Generator) -> UInt8:
    """One rectangle in which everything is annotated, put where many tissues meet; as `sparse_labels`."""
    hand = SimulatedAnnotator(_Regions(scene.regions), rng)
    _, (x, y, block) = hand.exhaustive_region(scene.name, "simulated", (side, side))
    labels = np.zeros_like(scene.regions)
    labels[y : y + side, x : x + side] = block
    return labels


def training_patches(annotation: str, scenes: Sequence[Scene], seed: int, *, size: int, region: int) -> PatchSet:
    """What a training of this kind of annotation sees.

    Parameters
    ----------
    annotation : {"sparse", "dense", "combined"}
        Which.
    scenes : sequence of Scene
        Training slides.
    seed : int
        What the annotator draws; the same for all kinds, so that combined training sees the same strokes.
    size, region : int
        Side of a patch and of a dense rectangle, pixels.
    """
    strokes = [sparse_labels(scene, np.random.default_rng([seed, 0, n])) for n, scene in enumerate(scenes)]
    dense = [dense_labels(scene, region, np.random.default_rng([seed, 1, n])) for n, scene in enumerate(scenes)]
    images = [scene.image for scene in scenes]
    if annotation == "sparse":
        return labelled_patches(images, strokes, size, REGION_CLASSES)
    if annotation == "dense":
        return labelled_patches(images, dense, size, REGION_CLASSES)
    few = max(1, round(DENSE_SHARE * len(scenes)))
    return PatchSet.concat(
        [
            labelled_patches(images, strokes, size, REGION_CLASSES, weight=SPARSE_PER_DENSE),
            labelled_patches(images[:few], dense[:few], size, REGION_CLASSES),
        ]
    )


def _scale(options: StudyOptions) -> Scale:
    return QUICK if options.quick else FULL


def _paper() -> tuple[PaperNumber, ...]:
    numbers = []
    for place, (annotation, balancing) in enumerate((a, b) for a in ANNOTATIONS for b in BALANCINGS):
        where = {"annotation": annotation, "balancing": balancing}
        numbers.append(PaperNumber("overall", PAPER_OVERALL[place], "table 2", where))
        for ours, theirs in _LIKE.items():
            numbers.append(PaperNumber(f"dice/{ours}", PAPER_DICE[theirs][place], f"table 2, {theirs}", where))
    return tuple(numbers)


class SparseStudy(Study[_Data]):
    """See the module."""

    name = "sparse"
    line = "Strokes, dense regions or both, under three balancings of the loss (Bokhorst 2019)"
    citation = (
        'J.-M. Bokhorst et al., "Learning from sparsely annotated data for semantic segmentation in histopathology '
        'images", MIDL 2019: table 2.'
    )
    paper = _paper()
    tables = (
        TableSpec("Dice over all classes", (Quantity("overall", "Overall Dice"), Quantity("accuracy", "Accuracy"))),
        TableSpec(
            "Dice of each class, beside the paper's nearest class",
            tuple(Quantity(f"dice/{name}", name, 2) for name in REGION_CLASSES.values()),
        ),
    )
    notes = (
        "Overall is the mean of the classes' Dice, each pooled over all pixels of the test slides, which are annotated "
        "densely. The paper has 13 classes of colorectal tissue, the synthetic slides 6.",
        "Sparse and dense annotations are drawn on the same slides here; the paper has 43 training slides with sparse "
        "and 8 others with dense annotations, of other class shares (its table 1).",
        f"Scores that differ by no more than {AS_GOOD} count as equal.",
        "Quick grid: U-Net with a ResNet-10 encoder instead of the paper's, 64 px patches, 120 steps at 1e-3 with a "
        "cosine schedule; the paper trains up to 225,000 steps at 1e-5. Five training slides, two for the test.",
    )

    def cells(self, options: StudyOptions) -> list[Cell]:
        return [Cell.of(annotation=a, balancing=b) for a in ANNOTATIONS for b in BALANCINGS]

    def facts(self, cell: Cell, options: StudyOptions) -> Mapping[str, Any]:
        scale = _scale(options)
        return {
            "recipe": recipe_of(cell, options).model_dump(mode="json", exclude_defaults=True),
            "data": [scale.slides, scale.side, scale.region, PEN, STROKES, STEPS, DENSE_SHARE, SPARSE_PER_DENSE],
        }

    def prepare(self, options: StudyOptions) -> _Data:
        return _Data(options)

    def run_cell(self, cell: Cell, data: _Data) -> dict[str, float]:
        recipe, scale = recipe_of(cell, data.options), _scale(data.options)
        train, validation, test = data.scenes(cell.seed)
        size = recipe.patch_size
        kind = str(cell["annotation"])
        patches = training_patches(kind, train, cell.seed, size=size, region=scale.region)
        checked = training_patches(kind, validation, cell.seed, size=size, region=scale.region) if validation else None
        model = learn(recipe, patches.source(balanced=False), validation=checked, device=data.options.device)
        matrix = np.zeros((len(REGION_CLASSES) + 1,) * 2, np.int64)
        for scene in test:
            found = np.asarray(model.class_ids, np.uint8)[model.predict_array(scene.image).argmax(-1)]
            matrix += confusion(scene.regions, found, classes=len(REGION_CLASSES))
        dice = class_scores(matrix)["dice"]
        per_class = {f"dice/{name}": float(value) for name, value in zip(REGION_CLASSES.values(), dice, strict=True)}
        return {"overall": macro(dice), "accuracy": accuracy(matrix), **per_class}

    def finding(self, results: Sequence[Result]) -> Finding:
        statement = (
            "On sparse annotation mini-batch balancing is at least as good as instance balancing and that better than "
            "none; sparse with a fifth of dense annotation and instance balancing equals dense annotation"
        )

        def gain(*, better: tuple[str, str], worse: tuple[str, str]) -> Any:
            first, second = ({"annotation": a, "balancing": b} for a, b in (better, worse))
            return difference(results, "overall", first, second)

        batch = gain(better=("sparse", "mini-batch"), worse=("sparse", "instance"))
        instance = gain(better=("sparse", "instance"), worse=("sparse", "none"))
        combined = gain(better=("combined", "instance"), worse=("dense", "none"))
        if not all(found.enough for found in (batch, instance, combined)):
            return Finding(statement, None, f"{ENOUGH} seeds of the compared settings are needed.")
        parts = (batch.spread.mean >= 0, instance.positive, combined.spread.mean >= -AS_GOOD)
        words = ["as in the paper" if part else "not as in the paper" for part in parts]
        evidence = (
            f"Overall Dice on sparse annotation: mini-batch - instance {batch.text()}, {words[0]}; instance - none "
            f"{instance.text()}, {words[1]}; combined with instance balancing - dense without balancing "
            f"{combined.text()}, {words[2]}."
        )
        return Finding(statement, all(parts), evidence)

    def remarks(self, results: Sequence[Result]) -> list[str]:
        means = np.mean(list(PAPER_DICE.values()), axis=0)[:3]
        listed = ", ".join(f"{name} {value:.3f}" for name, value in zip(BALANCINGS, means, strict=True))
        return [
            "The means of the class scores that the paper prints for sparse annotation are "
            f"{listed}; its overall row says {', '.join(map(str, PAPER_OVERALL[:3]))}: from the class scores instance "
            "balancing is not better than none."
        ]

    def plot(self, results: Sequence[Result]) -> Figure:
        figure = Figure(figsize=(8, 4), layout="constrained")
        axis = figure.subplots()
        places = [(a, b) for a in ANNOTATIONS for b in BALANCINGS]
        for place, (annotation, balancing) in enumerate(places):
            where = {"annotation": annotation, "balancing": balancing}
            shown = spread(results, "overall", where)
            if shown.count:
                error = shown.sd if shown.count > 1 else None
                axis.bar(place, shown.mean, yerr=error, color=f"C{ANNOTATIONS.index(annotation)}", capsize=4)
                values = list(by_seed(results, "overall", where).values())
                axis.plot([place] * len(values), values, "o", color="black", markersize=3)
            axis.hlines(PAPER_OVERALL[place], place - 0.4, place + 0.4, color="#888", linestyle="--")
        axis.set_xticks(range(len(places)), [f"{a}\n{b}" for a, b in places], fontsize=8)
        axis.set_ylabel("Dice over all classes")
        axis.set_title("Points: seeds; dashes: the paper, on colorectal tissue with 13 classes", fontsize=9)
        return figure


def recipe_of(cell: Cell, options: StudyOptions) -> Recipe:
    """The paper's recipe of this balancing, smaller in the quick grid."""
    return Recipe.named(BALANCINGS[str(cell["balancing"])]).with_changes(**_scale(options).recipe, seed=cell.seed)
