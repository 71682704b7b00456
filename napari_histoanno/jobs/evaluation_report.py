"""An evaluation as a page that people look at: figures, tables and the places where the model errs most."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from napari_histoanno.report import Picture, Section, Table, confusion_figure, curves, write_report

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from histotrain.events import Status
    from napari_histoanno.jobs.measuring import Tile

    Color = tuple[int, int, int]

_KEY = {
    "mean_iou": "Mean IoU",
    "mean_dice": "Mean Dice",
    "accuracy": "Accuracy",
    "macro_f1": "Macro F1",
    "micro_f1": "Micro F1",
    "bpq": "bPQ",
    "mpq": "mPQ",
    "bpq_plus": "bPQ+, pooled",
    "mpq_plus": "mPQ+, pooled",
    "aji": "AJI",
    "detection_f1": "Detection F1",
    "detection_precision": "Detection precision",
    "detection_recall": "Detection recall",
    "iou": "IoU of the clicked object",
    "dice": "Dice of the clicked object",
}
_COLUMNS = {
    "iou": "IoU",
    "dice": "Dice",
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
    "pq": "PQ",
    "pq_plus": "PQ+",
    "dq_plus": "DQ+",
    "sq_plus": "SQ+",
}
_TINT, _OUTLINE = 0.25, 2
_DISTINCT = ((230, 60, 60), (60, 120, 230), (40, 170, 90), (240, 160, 30), (150, 80, 200), (20, 170, 190))


def write_page(
    path: Path, report: Mapping[str, Any], tiles: Sequence[Tile], status: Status, colors: Mapping[int, Color]
) -> None:
    """Write the page of an evaluation.

    Parameters
    ----------
    path : Path
        File to write.
    report : mapping
        The evaluation as its JSON has it.
    tiles : sequence of Tile
        Patches to look at, the worst first.
    status : Status
        Of the training that made the model; its curves.
    colors : mapping from class id to RGB
        Of the scheme.
    """
    sections = [_summary(report), *_measured(report)]
    if "patch" in report:
        sections += _measured(report["patch"], "Whole patches: ")
    sections.append(_mistakes(tiles, colors))
    sections.append(_training(status))
    write_report(path, f"Evaluation of {report['recipe']}", sections)


def _summary(report: Mapping[str, Any]) -> Section:
    on = report["on"]
    where = {
        "validation": "places kept aside for validation",
        "test": "slides marked as test",
        "all": "everything annotated",
    }
    place = where[on] if isinstance(on, str) else "chosen slides"
    counted = f"{report['patches']} patches of {report['mpp']:g} µm per pixel"
    if "objects" in report:
        counted += f" with {report['objects']:,} objects"
    elif "labelled_pixels" in report:
        counted += (
            f" with {report['labelled_pixels']:,} labelled {'patches' if report['task'] == 'patches' else 'pixels'}"
        )
    section = Section("Result")
    section.paragraphs.append(f"{report['network']} ({report['task']}), measured on {place}: {counted}.")
    section.paragraphs.append(f"Slides: {', '.join(report['slides']) or 'unnamed'}.")
    section.paragraphs += report["notices"]
    intervals = report.get("intervals", {})
    rows: list[list[str | float]] = []
    for name, title in _KEY.items():
        if name in report["metrics"]:
            low, high = intervals.get(name, (None, None))
            rows.append([title, _value(report["metrics"][name]), _value(low), _value(high)])
    section.tables.append(Table(["", "value", "95 % from", "to"], rows))
    if intervals:
        section.paragraphs.append(
            "The intervals are percentile bootstraps over patches. Patches of one slide resemble each other, so with "
            "few slides they are too narrow."
        )
    if "detection_radius_um" in report:
        radius, pixels = report["detection_radius_um"], report["detection_radius_px"]
        section.paragraphs.append(
            f"A nucleus counts as found within {radius:g} µm of its centre, {pixels:g} pixels here: the 12 pixels at "
            "40x of the PanNuke paper. PQ and AJI match objects by their pixels, PQ from an IoU of 0.5 on."
        )
    return section


def _measured(report: Mapping[str, Any], prefix: str = "") -> list[Section]:
    """Class by class, confusion and calibration, as far as they were measured."""
    sections: list[Section] = []
    if report["classes"]:
        sections.append(Section(f"{prefix}Class by class", tables=[_class_table(report)]))
    if "confusion" in report:
        counts = np.array(report["confusion"]["counts"])[:, 1:]
        figure = confusion_figure(counts, report["confusion"]["classes"])
        caption = "Share of each true class (row) that was found as each class (column)."
        sections.append(Section(f"{prefix}Confusion", pictures=[Picture.from_figure(figure, caption)]))
    if "calibration" in report:
        found = report["calibration"]
        caption = (
            "How often the model is right (line) when it is so sure (axis); on the diagonal it is as good as it says. "
            "Bars: share of what was predicted."
        )
        section = Section(f"{prefix}Calibration", pictures=[Picture.from_figure(reliability_figure(found), caption)])
        figures = {"expected calibration error": "ece", "largest gap": "mce", "Brier score": "brier"}
        section.tables.append(Table(["", "value"], [[title, _value(found[key])] for title, key in figures.items()]))
        sections.append(section)
    return sections


def _class_table(report: Mapping[str, Any]) -> Table:
    """Classes, and below them macro and micro averages where there are any."""
    columns = [key for key in _COLUMNS if any(key in row for row in report["classes"].values())]
    rows: list[list[str | float]] = [
        [name, *(_value(row.get(key)) for key in columns)] for name, row in report["classes"].items()
    ]
    metrics = report["metrics"]
    if "macro_f1" in metrics:
        macro = {"iou": "mean_iou", "dice": "mean_dice"}
        rows.append(["macro", *(_value(metrics.get(macro.get(key, f"macro_{key}"))) for key in columns)])
        rows.append(["micro", *(_value(metrics.get(f"micro_{key}")) for key in columns)])
    return Table(["class", *(_COLUMNS[key] for key in columns)], rows)


def reliability_figure(found: Mapping[str, Any]) -> Figure:
    """Accuracy over confidence, with the share of predictions in each bin behind it.

    Parameters
    ----------
    found : mapping
        Lists "confidence", "accuracy" (None where a bin is empty) and "counts" of equally wide bins.
    """
    figure = Figure(figsize=(4.6, 4.2), layout="constrained")
    axes = figure.subplots()
    counts = np.asarray(found["counts"], float)
    edges = np.linspace(0, 1, len(counts) + 1)
    axes.bar(edges[:-1], counts / max(1.0, counts.sum()), np.diff(edges), align="edge", color="#dddddd")
    axes.plot([0, 1], [0, 1], "--", color="#999999", linewidth=1)
    pairs = [(c, a) for c, a in zip(found["confidence"], found["accuracy"], strict=True) if a is not None]
    if pairs:
        axes.plot(*zip(*pairs, strict=True), "o-", color="#4c9be8", markersize=4)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="share right")
    return figure


def _mistakes(tiles: Sequence[Tile], colors: Mapping[int, Color]) -> Section:
    section = Section("Largest mistakes")
    if not tiles:
        section.paragraphs.append("No patch to show: nothing was found wrong, or this is not measured patch by patch.")
        return section
    section.paragraphs.append(
        "Each row is one patch: image, truth, prediction. Outlined and tinted by class (objects: each in its own "
        "colour); what is not annotated stays as it is."
    )
    for tile in tiles:
        x, y = tile.corner
        where = "" if math.isnan(x) else f", from x {x:.0f}, y {y:.0f} (level-0 pixels)"
        section.pictures.append(Picture.from_figure(tile_figure(tile, colors), f"{tile.slide}{where}: {tile.said}."))
    return section


def tile_figure(tile: Tile, colors: Mapping[int, Color]) -> Figure:
    """Image, truth and prediction of a patch beside each other."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    pictures = {
        "image": tile.image,
        "truth": outlined(tile.image, tile.truth, colors, objects=tile.objects),
        "prediction": outlined(tile.image, tile.predicted, colors, objects=tile.objects),
    }
    for axes, (title, picture) in zip(figure.subplots(1, 3), pictures.items(), strict=True):
        axes.imshow(picture, interpolation="nearest")
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()
    return figure


def outlined(
    image: NDArray[np.uint8], labels: NDArray[np.integer], colors: Mapping[int, Color], *, objects: bool = False
) -> NDArray[np.uint8]:
    """An image with labelled parts tinted and outlined.

    Parameters
    ----------
    image : uint8, shape (H, W, 3)
        RGB.
    labels : integer, shape (H, W)
        Class ids or object numbers; 0 leaves the image as it is.
    colors : mapping from class id to RGB
        Black for an id that is not in it.
    objects : bool
        The labels are object numbers: colours are theirs in turn.
    """
    painted = np.zeros_like(image)
    for value in np.unique(labels[labels > 0]).tolist():
        painted[labels == value] = _DISTINCT[value % len(_DISTINCT)] if objects else colors.get(value, (0, 0, 0))
    wide = np.pad(labels, _OUTLINE, mode="edge")
    height, width = labels.shape
    edge = np.zeros(labels.shape, bool)
    for dy in range(2 * _OUTLINE + 1):
        for dx in range(2 * _OUTLINE + 1):
            edge |= wide[dy : dy + height, dx : dx + width] != labels
    share = np.where(labels > 0, np.where(edge, 1.0, _TINT), 0.0)[..., None]
    mixed: NDArray[np.uint8] = (image * (1 - share) + painted * share).round().astype(np.uint8)
    return mixed


def _training(status: Status) -> Section:
    if not status.losses and not status.validations:
        return Section("Training", paragraphs=["The model's folder keeps no record of its training."])
    text = f"{status.step} of {status.total_steps} steps; the weights are those of step {status.best_step}."
    caption = "Loss of each step, and mean IoU on validation places."
    return Section("Training", paragraphs=[text], pictures=[Picture.from_figure(curves(status), caption)])


def _value(value: float | None) -> float:
    return math.nan if value is None else value
