"""Ciga and Martel (2021): segmentation that learns from patches with one label, when few patches have a mask.

Tiles of the training slides are sorted by the paper's rule (section 3.3): where one class covers 90 % or more, a tile
is a classification patch; where there are exactly two classes, a segmentation patch; else it is not used. Of the
segmentation patches s % are used; S sees nothing else, S+C also 100 - s % of the classification patches, S+C* all of
them. The same patches are drawn for all three.

The classes are the generator's six with one stroma: the two strata of :mod:`.scenes` cannot be told from a single tile.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from histotrain.data import PatchSet
from histotrain.metrics import averages
from histotrain.recipes import Recipe, SupervisionSettings
from histotrain.stain_use import slide_normaliser, stain_target
from napari_histoanno.datasets.rules import tile_kinds
from napari_histoanno.studies.grid import Cell, Finding, PaperNumber, Quantity, Study, StudyOptions, TableSpec
from napari_histoanno.studies.learning import learn
from napari_histoanno.studies.measuring import confusion_of, predicted_classes
from napari_histoanno.studies.scenes import REGION_CLASSES, SceneSpec, load_scene, split
from napari_histoanno.studies.tables import ENOUGH, Spread, by_seed, spread
from napari_histoanno.studies.windows import grid_places, patches

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from histotrain import LoadedModel
    from napari_histoanno.studies.results import Result

MODES = ("S", "S+C", "S+C*")
SHARES = (0.0, 1.0, 2.5, 5.0, 7.5, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 75.0, 100.0)
QUICK_SHARES = (2.5, 10.0, 100.0)
FEW = 10.0
"""Up to which share, in %, the paper's gain is claimed."""
GAIN = 0.15
DOMINANT = 0.9
STAIN = "macenko"

_MEASURES = (Quantity("macro_f1", "macro F1"), Quantity("micro_f1", "micro F1"))
_TABLE_D5 = {
    ("S", "micro_f1"): (18.5, 28.6, 26.5, 35.0, 36.2, 34.6, 37.2, 37.7, 39.9, 39.9, 39.4, 39.1, 40.0, 39.5),
    ("S", "macro_f1"): (7.2, 10.6, 15.7, 20.0, 21.1, 20.2, 21.0, 21.5, 20.8, 20.7, 20.5, 22.8, 23.7, 23.4),
    ("S+C", "micro_f1"): (40.3, 39.8, 40.5, 40.2, 40.0, 40.3, 40.1, 39.8, 40.8, 40.5, 40.6, 40.3, 41.4, 41.0),
    ("S+C", "macro_f1"): (22.8, 22.2, 23.0, 22.4, 22.4, 22.8, 22.7, 22.7, 20.4, 20.4, 20.5, 23.2, 23.6, 23.5),
    ("S+C*", "micro_f1"): (39.9, 40.2, 40.1, 40.2, 39.8, 40.3, 40.4, 40.7, 40.4, 40.9, 41.0, 40.7, 40.8, 40.8),
    ("S+C*", "macro_f1"): (22.7, 22.1, 22.7, 22.5, 22.6, 22.9, 23.0, 20.3, 20.1, 20.6, 23.4, 23.3, 23.5, 23.5),
}
"""Gleason 2019, in %, by `SHARES`."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Slides for training, validation and test, their side (px of 0.5 µm), reduction and tiles, and steps."""

    slides: tuple[int, int, int]
    side: int
    reduce: int
    tile: int
    steps: int


QUICK = Scale((4, 1, 2), 2048, 2, 64, 120)
FULL = Scale((16, 4, 8), 4096, 2, 128, 5100)
RATE = 1e-3
"""Learning rate of the quick grid."""


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """Tiles of one seed: to segment, to classify (both shuffled), for validation and for the test."""

    segmentation: PatchSet
    classification: PatchSet
    validation: PatchSet
    test: PatchSet


@dataclass(frozen=True, slots=True)
class Data:
    """What all cells share; the material of the last seed is kept, since cells come seed by seed."""

    options: StudyOptions
    scale: Scale
    made: dict[int, Material]

    def material(self, seed: int) -> Material:
        if seed not in self.made:
            self.made.clear()
            self.made[seed] = sort_tiles(self.scale, seed, self.options.slide_cache)
        return self.made[seed]


def sort_tiles(scale: Scale, seed: int, cache: Path) -> Material:
    """Cut the slides of a seed into tiles and sort those for training by what they can teach.

    Parameters
    ----------
    scale : Scale
        How many slides, how large.
    seed : int
        Which slides, and the order of the tiles.
    cache : Path
        Folder of slides.
    """
    like = SceneSpec(0, (scale.side, scale.side), scale.reduce)
    parts = split(seed, *scale.slides, like=like)
    train, validation, test = (
        PatchSet.concat([_tiles(spec, scale.tile, cache) for spec in specs])
        for specs in (parts.train, parts.validation, parts.test)
    )
    classes, segments = sorted_by_use(train)
    rng = np.random.default_rng([seed, 2])
    pixels = rng.permutation(np.flatnonzero(segments))
    whole = rng.permutation(np.flatnonzero(classes))
    return Material(_with_classes(train, pixels, None), _with_classes(train, whole, classes), validation, test)


def sorted_by_use(tiles: PatchSet) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Class of each classification patch (0 for others), and which are segmentation patches, uint8 and bool (N,)."""
    if tiles.labels is None:
        raise ValueError("the tiles have no labels")
    counts = np.stack([np.bincount(label.ravel(), minlength=max(REGION_CLASSES) + 1) for label in tiles.labels])
    return tile_kinds(counts.astype(np.int64), DOMINANT)


def chosen(material: Material, mode: str, share: float) -> PatchSet | None:
    """The training patches of one setting, None where there are none (S at 0 %).

    Masks and labels are drawn equally often, however many there are of each: "for each batch" the paper does a step
    with the one and a step with the other.

    Parameters
    ----------
    material : Material
        Of the seed.
    mode : "S", "S+C" or "S+C*"
        Which patches.
    share : float
        Of the segmentation patches, %; more than 0 is at least one patch.
    """
    masks = material.segmentation[: _count(len(material.segmentation), share)]
    labelled = {"S": 0.0, "S+C": 100 - share, "S+C*": 100.0}[mode]
    labels = material.classification[: _count(len(material.classification), labelled)]
    both = [part for part in (masks, labels) if len(part)]
    if len(both) == 2:
        both[0] = replace(masks, weights=np.full(len(masks), len(labels) / len(masks)))
    return PatchSet.concat(both) if both else None


def _count(available: int, percent: float) -> int:
    return min(available, max(1, round(available * percent / 100))) if percent > 0 else 0


def _tiles(spec: SceneSpec, size: int, cache: Path) -> PatchSet:
    scene = load_scene(spec, cache)
    normalise = slide_normaliser(STAIN, stain_target(STAIN), scene.image)
    places = grid_places((scene.regions.shape[0], scene.regions.shape[1]), size)
    return patches(normalise(scene.image), scene.regions, places, size, REGION_CLASSES)


def _with_classes(tiles: PatchSet, indices: NDArray[np.intp], classes: NDArray[np.uint8] | None) -> PatchSet:
    """The tiles with their masks, or with a class in place of the mask."""
    part = tiles.select(indices)
    if part.labels is None:
        raise ValueError("the tiles have no labels")
    labels = part.labels if classes is None else np.zeros_like(part.labels)
    own = np.zeros(len(part), np.uint8) if classes is None else classes[indices]
    return PatchSet(
        images=part.images, labels=labels, patch_classes=own, classes=part.classes, class_ids=part.class_ids
    )


class SegFromCls(Study[Data]):
    """See the module."""

    name = "seg-from-cls"
    line = "Segmentation from few masks and many patch labels: S, S+C, S+C* (Ciga and Martel 2021)"
    citation = (
        'Ciga and Martel (2021), "Learning to segment images with classification labels", Medical Image Analysis 68'
    )
    tables = (TableSpec("Pixels of the test slides", _MEASURES),)
    paper = tuple(
        PaperNumber(measure, values[SHARES.index(share)] / 100, "table D.5, Gleason 2019", {"mode": m, "s": share})
        for (m, measure), values in _TABLE_D5.items()
        for share in SHARES
    )
    notes = (
        "Masks and labels fill a batch in equal parts, and classes are drawn equally often; the paper says neither.",
        "Synthetic slides with six classes, normalised after Macenko; the paper's three data sets are others, and only "
        "the relation of S, S+C and S+C* is claimed. Beside ours stand the numbers of Gleason 2019, the most similar.",
        "All settings get the same number of steps, where the paper has 100 epochs of whatever a setting has: few "
        "masks are then seen more often, which favours S.",
        "Masks and labels pass the network in two steps, as in the paper, and batch norm takes the statistics of each "
        "step's own tiles; predictions use those of both together. Tiles of one class and of two differ more here "
        "than photographs of one kind of tissue do, which costs S+C and S+C* quality that S keeps.",
        "The encoder starts from random weights, where the paper has those of ImageNet: nothing is downloaded.",
        "S+C at s = 100 % has no classification patch and is S: it is not run twice. S at s = 0 % learns nothing and "
        "is measured with its first weights. Micro F1 weighs classes by their share of the truth, as in the paper.",
        f"Quick: tiles of {QUICK.tile} px at 1 µm, {QUICK.steps} steps of Adam at {RATE:g}, s of 2.5, 10 and 100 %. "
        "Full: tiles of 128 px, the paper's 5,100 steps at 1e-4, all s.",
    )

    def cells(self, options: StudyOptions) -> list[Cell]:
        shares = QUICK_SHARES if options.quick else SHARES
        return [
            Cell.of(mode=mode, s=share) for mode in MODES for share in shares if not (mode == "S+C" and share == 100)
        ]

    def prepare(self, options: StudyOptions) -> Data:
        return Data(options, QUICK if options.quick else FULL, {})

    def recipe(self, cell: Cell, options: StudyOptions) -> Recipe:
        """Of one cell. Weights by validation: the best of ten measurements."""
        scale = QUICK if options.quick else FULL
        changes: dict[str, Any] = {"learning_rate": RATE, "schedule": "cosine", "warmup": 10} if options.quick else {}
        return Recipe.named("seg-from-cls").with_changes(
            seed=cell.seed,
            encoder_weights=None,
            stain="none",
            mpp=0.5 * scale.reduce,
            patch_size=scale.tile,
            steps=scale.steps,
            validate_every=scale.steps // 10,
            supervision=SupervisionSettings(patch=0.0) if cell["mode"] == "S" else SupervisionSettings(),
            **changes,
        )

    def facts(self, cell: Cell, options: StudyOptions) -> dict[str, Any]:
        known = self.recipe(cell, options).model_dump(mode="json", exclude_defaults=True)
        return {"recipe": known, "scale": asdict(self.prepare(options).scale)}

    def run_cell(self, cell: Cell, data: Data) -> dict[str, float]:
        material = data.material(cell.seed)
        training = chosen(material, str(cell["mode"]), float(cell["s"]))
        recipe = self.recipe(cell, data.options)
        if training is None:
            recipe, training = recipe.with_changes(steps=1, learning_rate=1e-12), material.validation
        model = learn(recipe, training, validation=material.validation, device=data.options.device)
        return measure(model, material.test)

    def finding(self, results: Sequence[Result]) -> Finding:
        statement = (
            f"With masks of {FEW:g} % of the patches or fewer, S+C has at least {GAIN:.0%} more F1 than S, relatively, "
            "and varies less"
        )
        gains, evidence = [], []
        for share in few_shares(results):
            for quantity in _MEASURES:
                gain = relative_gain(results, quantity.name, share)
                varied = [spread(results, quantity.name, {"mode": mode, "s": share}).sd for mode in ("S", "S+C")]
                gains.append((gain, varied))
                evidence.append(
                    f"s = {share:g} %, {quantity.label}: {gain.mean:+.0%} ± {gain.sd:.0%}, deviation over seeds "
                    f"{varied[0]:.3f} for S and {varied[1]:.3f} for S+C"
                )
        if not gains or min(gain.count for gain, _ in gains) < ENOUGH:
            return Finding(statement, None, "; ".join(evidence) + "." if evidence else "Nothing to compare yet.")
        larger = all(gain.mean >= GAIN for gain, _ in gains)
        steadier = sum(calmer < wilder for _, (wilder, calmer) in gains) > len(gains) / 2
        verdict = "Every gain is large enough" if larger else "Not every gain is large enough"
        verdict += "; S+C varies less." if steadier else "; S+C does not vary less."
        return Finding(statement, larger and steadier, f"{'; '.join(evidence)}. {verdict}")

    def plot(self, results: Sequence[Result]) -> Figure:
        figure = Figure(figsize=(11, 4.4), layout="constrained")
        shares = sorted({float(result.cell["s"]) for result in results})
        for axes, quantity in zip(figure.subplots(1, 2), _MEASURES, strict=True):
            for color, mode in zip(("#888888", "#4c9be8", "#d98200"), MODES, strict=True):
                found = [(s, spread(results, quantity.name, {"mode": mode, "s": s})) for s in shares]
                found = [(s, value) for s, value in found if value.count]
                deviations = [0 if np.isnan(value.sd) else value.sd for _, value in found]
                where = [_position(s) for s, _ in found]
                means = [value.mean for _, value in found]
                axes.errorbar(where, means, deviations, fmt="o-", color=color, capsize=3, label=mode)
                quoted = [_TABLE_D5[mode, quantity.name][SHARES.index(s)] / 100 for s in shares]
                axes.plot([_position(s) for s in shares], quoted, ":", color=color, label=f"{mode}, paper (Gleason)")
            axes.set_xticks([_position(s) for s in shares], [f"{s:g}" for s in shares])
            axes.set_xlabel("segmentation patches used, %")
            axes.set_ylabel(quantity.label)
            axes.set_ylim(0, 1)
        axes.legend(fontsize=8)
        return figure


def measure(model: LoadedModel, test: PatchSet) -> dict[str, float]:
    """Macro and micro precision, recall and F1 over all pixels of tiles."""
    if test.labels is None:
        raise ValueError("the test tiles have no labels")
    return averages(confusion_of(test.labels, predicted_classes(model, test, batch=32), test.class_ids))


def few_shares(results: Sequence[Result]) -> list[float]:
    """Shares up to `FEW`, without 0, at which both S and S+C have been run."""
    found = [{r.cell["s"] for r in results if r.cell["mode"] == mode} for mode in ("S", "S+C")]
    return sorted(float(s) for s in found[0] & found[1] if 0 < float(s) <= FEW)


def relative_gain(results: Sequence[Result], metric: str, share: float) -> Spread:
    """(S+C - S) / S of a metric, seed by seed."""
    first, second = (by_seed(results, metric, {"mode": mode, "s": share}) for mode in ("S", "S+C"))
    return Spread.of(second[seed] / first[seed] - 1 for seed in sorted(first.keys() & second.keys()) if first[seed])


def _position(share: float) -> float:
    return float(np.log1p(share))
