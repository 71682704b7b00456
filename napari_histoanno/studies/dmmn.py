"""Ho et al. (2021): six networks, of one magnification and of several, from partial annotation.

What is asked is whether surroundings help, so the classes are those of :mod:`.scenes` in which they are needed:
peritumoural and distant stroma look alike. Target patches show 128 µm, as in the paper; so stroma 100 µm from a gland
is mostly seen without that gland, while 10x and 5x show 256 and 512 µm.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from histotrain.data import PatchSet
from histotrain.models import magnifications_of
from histotrain.recipes import AugmentSettings, Recipe
from napari_histoanno.report import draw_confusion
from napari_histoanno.studies.grid import Cell, Finding, PaperNumber, Quantity, Study, StudyOptions, TableSpec
from napari_histoanno.studies.learning import learn
from napari_histoanno.studies.measuring import confusion_of, mean_confusion, pixel_metrics, predicted_classes
from napari_histoanno.studies.scenes import CONTEXT_CLASSES, SceneSpec, Split, load_scene, split
from napari_histoanno.studies.tables import by_seed, difference, spread
from napari_histoanno.studies.windows import annotated_places, grid_places, partially_annotated, patches

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

    from napari_histoanno.studies.results import Result

NETWORKS = ("dmmn-segnet", "dmmn-unet", "dmmn-s2", "dmmn-ms", "dmmn-m2s", "dmmn-m3")
"""From worst to best in the paper (table 3)."""
QUICK = ("dmmn-unet", "dmmn-m3")
NAMES = tuple(CONTEXT_CLASSES.values())
STROMA = ("Peritumoural stroma", "Distant stroma")
SEAM_UM = 6.0
ANNOTATED = 0.6
MIN_ANNOTATED = 0.01

_TABLE_3 = {
    "dmmn-segnet": (0.766, 0.887, 0.850),
    "dmmn-unet": (0.803, 0.896, 0.879),
    "dmmn-s2": (0.833, 0.900, 0.910),
    "dmmn-ms": (0.836, 0.918, 0.906),
    "dmmn-m2s": (0.848, 0.931, 0.904),
    "dmmn-m3": (0.870, 0.939, 0.922),
}
_MEANS = (
    Quantity("mean_iou", "mean IOU"),
    Quantity("mean_recall", "mean recall"),
    Quantity("mean_precision", "mean precision"),
)


@dataclass(frozen=True, slots=True)
class Scale:
    """How large the study is.

    Parameters
    ----------
    slides : (int, int, int)
        For training, validation and test.
    side : int
        Of a slide, pixels of 0.5 µm.
    reduce : int
        How many of those make one pixel that the networks see.
    patch : int
        Side of a target patch, pixels the networks see.
    """

    slides: tuple[int, int, int]
    side: int
    reduce: int
    patch: int

    def split(self, seed: int) -> Split:
        return split(seed, *self.slides, like=SceneSpec(0, (self.side, self.side), self.reduce))


QUICK_SCALE = Scale((5, 2, 2), 2048, 4, 64)
STEPS, RATE, WIDTH = 800, 1e-3, 16
"""Of the quick grid."""
FULL_SCALE = Scale((12, 2, 4), 4096, 1, 256)


@dataclass(frozen=True, slots=True)
class Data:
    """What all cells share; patches of the last seed are kept, since cells come seed by seed."""

    options: StudyOptions
    scale: Scale
    made: dict[int, tuple[PatchSet, PatchSet, PatchSet]]

    def patches(self, seed: int) -> tuple[PatchSet, PatchSet, PatchSet]:
        """For training, validation and test."""
        if seed not in self.made:
            self.made.clear()
            self.made[seed] = cut_patches(self.scale, seed, self.options.slide_cache)
        return self.made[seed]


def cut_patches(scale: Scale, seed: int, cache: Path) -> tuple[PatchSet, PatchSet, PatchSet]:
    """Partially annotated patches for training; fully labelled ones for validation and test; all with 10x and 5x.

    Parameters
    ----------
    scale : Scale
        How many and how large.
    seed : int
        Of the cell: which slides, and which of their components are annotated.
    cache : Path
        Folder of slides.
    """
    rng = np.random.default_rng([seed, 1])
    parts = scale.split(seed)
    factors = [round(m) for m in magnifications_of("dmmn-m3")[1:]]
    found: list[PatchSet] = []
    for specs, training in ((parts.train, True), (parts.validation, False), (parts.test, False)):
        cut: list[PatchSet] = []
        for spec in specs:
            scene = load_scene(spec, cache)
            labels = scene.context_regions
            places = grid_places((labels.shape[0], labels.shape[1]), scale.patch)
            if training:
                seam = round(SEAM_UM / 2 / scene.mpp)
                labels = partially_annotated(labels, seam=seam, share=ANNOTATED, rng=rng)
                places = annotated_places(labels, scale.patch, MIN_ANNOTATED)
            cut.append(patches(scene.image, labels, places, scale.patch, CONTEXT_CLASSES, factors=factors))
        found.append(PatchSet.concat(cut))
    return found[0], found[1], found[2]


class Dmmn(Study[Data]):
    """See the module."""

    name = "dmmn"
    line = "Six networks, of one magnification and of several, from partial annotation (Ho 2021)"
    citation = (
        'Ho et al. (2021), "Deep Multi-Magnification Networks for multi-class breast cancer image segmentation", '
        "Computerized Medical Imaging and Graphics 88"
    )
    tables = (
        TableSpec("Means over the classes", _MEANS),
        TableSpec("IOU of each class", tuple(Quantity(f"iou/{name}", name) for name in NAMES)),
        TableSpec("Recall of each class", tuple(Quantity(f"recall/{name}", name) for name in NAMES)),
        TableSpec("Precision of each class", tuple(Quantity(f"precision/{name}", name) for name in NAMES)),
    )
    paper = tuple(
        PaperNumber(quantity.name, value, "table 3, Dataset-I (other slides and classes)", {"network": network})
        for network, values in _TABLE_3.items()
        for quantity, value in zip(_MEANS, values, strict=True)
    )
    notes = (
        "Synthetic slides with seven classes, of which two kinds of stroma differ in their surroundings only; the "
        "paper's are breast tissue with six. The paper's numbers are beside for orientation, only their order is "
        "claimed.",
        f"Annotation is partial: a component is annotated with a probability of {ANNOTATED}, without {SEAM_UM:g} µm "
        "at its borders. Test slides are labelled completely, borders too.",
        "Rare classes are drawn as often as frequent ones, instead of multiplying their patches beforehand; weights "
        "are 1 - share of the class, as in equation 2.",
        f"Quick: target patches of 64 px at 2 µm, which show the paper's 128 µm; networks with a quarter of the "
        f"paper's channels; {STEPS} steps of Adam at {RATE:g}, where the paper has 290,000 of SGD at 5e-5; flips and "
        "turns as the only augmentation; two of the six networks. That is far from the end of learning: neither "
        "network tells the two kinds of stroma apart by then, so it does not decide whether surroundings help.",
        "Full: the paper's patches, pixel size and optimiser, augmentation with elastic deformation of half of the "
        "patches, and 20 epochs over what is annotated here.",
    )

    def cells(self, options: StudyOptions) -> list[Cell]:
        return [Cell.of(network=name) for name in (QUICK if options.quick else NETWORKS)]

    def prepare(self, options: StudyOptions) -> Data:
        return Data(options, QUICK_SCALE if options.quick else FULL_SCALE, {})

    def recipe(self, cell: Cell, options: StudyOptions) -> Recipe:
        """Of one cell; in the full grid its steps are those of a single epoch."""
        own = Recipe.named(str(cell["network"]))
        augment = own.augment.model_copy(update={"elastic": 0.5})
        if not options.quick:
            return own.with_changes(seed=cell.seed, augment=augment)
        return own.with_changes(
            seed=cell.seed,
            model=f"{cell['network']}//{WIDTH}",
            mpp=2.0,
            patch_size=QUICK_SCALE.patch,
            batch_size=4,
            steps=STEPS,
            validate_every=STEPS // 4,
            optimizer="adam",
            learning_rate=RATE,
            gradient_clip=5.0,
            schedule="cosine",
            warmup=10,
            augment=AugmentSettings.off().model_copy(update={"dihedral": True}),
        )

    def facts(self, cell: Cell, options: StudyOptions) -> dict[str, Any]:
        known = self.recipe(cell, options).model_dump(mode="json", exclude_defaults=True)
        return {"recipe": known, "scale": asdict(self.prepare(options).scale), "annotated": [ANNOTATED, SEAM_UM]}

    def run_cell(self, cell: Cell, data: Data) -> dict[str, float]:
        training, validation, test = data.patches(cell.seed)
        recipe = self.recipe(cell, data.options)
        if not data.options.quick:
            epoch = -(-len(training) // recipe.batch_size)
            recipe = recipe.with_changes(steps=20 * epoch, validate_every=epoch)
        model = learn(recipe, training, validation=validation, device=data.options.device)
        return measure(model, test)

    def finding(self, results: Sequence[Result]) -> Finding:
        run = [name for name in NETWORKS if by_seed(results, "mean_iou", {"network": name})]
        statement = f"Mean IOU: {' > '.join(reversed(run)) or 'more magnifications are better'}"
        if len(run) < 2:
            return Finding(statement, None, "Fewer than two networks have been run.")
        steps = {
            f"{better} - {worse}": difference(results, "mean_iou", {"network": better}, {"network": worse})
            for worse, better in pairwise(run)
        }
        steps[f"{run[-1]} - {run[0]}"] = whole = difference(
            results, "mean_iou", {"network": run[-1]}, {"network": run[0]}
        )
        evidence = "; ".join(f"{name} {step.text()}" for name, step in steps.items()) + "."
        if not all(step.enough for step in steps.values()):
            return Finding(statement, None, evidence)
        return Finding(statement, all(step.positive for step in steps.values()) and whole.clear, evidence)

    def remarks(self, results: Sequence[Result]) -> list[str]:
        found = []
        for network in NETWORKS:
            values = [spread(results, f"iou/{name}", {"network": network}).mean for name in STROMA]
            if not any(np.isnan(values)):
                found.append(f"{network}: IOU of the two kinds of stroma {values[0]:.3f} and {values[1]:.3f}")
        return ["; ".join(found) + "."] if found else []

    def plot(self, results: Sequence[Result]) -> Figure:
        run = [name for name in NETWORKS if by_seed(results, "mean_iou", {"network": name})]
        figure = Figure(figsize=(4.6 * max(2, len(run)), 9), layout="constrained")
        upper, lower = np.asarray(figure.subfigures(2, 1, height_ratios=(1, 1.5)))
        _draw_means(upper, run, results)
        for axes, network in zip(np.ravel(lower.subplots(1, max(1, len(run)))), run, strict=False):
            of_network = [result for result in results if result.cell["network"] == network]
            draw_confusion(axes, mean_confusion(of_network, NAMES), NAMES)
            axes.set_title(network)
        return figure


def measure(model: Any, test: PatchSet) -> dict[str, float]:
    """Metrics of a model on fully labelled patches."""
    if test.labels is None:
        raise ValueError("the test patches have no labels")
    matrix = confusion_of(test.labels, predicted_classes(model, test), test.class_ids)
    return pixel_metrics(matrix, test.classes)


def _draw_means(part: Any, networks: Sequence[str], results: Sequence[Result]) -> None:
    axes = part.subplots()
    width = 0.26
    for index, quantity in enumerate(_MEANS):
        found = [spread(results, quantity.name, {"network": network}) for network in networks]
        where = np.arange(len(networks)) + (index - 1) * width
        deviations = [0 if np.isnan(s.sd) else s.sd for s in found]
        axes.bar(where, [s.mean for s in found], width, yerr=deviations, capsize=3, label=f"{quantity.label}, here")
        quoted = [_TABLE_3[network][index] for network in networks]
        axes.plot(where, quoted, "k_", markersize=14, label="paper, table 3" if index == 0 else None)
    axes.set_xticks(range(len(networks)), networks)
    axes.set_ylim(0, 1)
    axes.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))
