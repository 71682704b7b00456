"""Patches and their masks as PNG pictures, the form that every framework reads."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from PIL import Image

from napari_histoanno.datasets.export.context import Task, file_names, patch_name
from napari_histoanno.datasets.export.manifest import json_text
from napari_histoanno.datasets.export.masks import write_palette_png
from napari_histoanno.datasets.patches import PatchPlan, annotators_of, kind_of

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from napari_histoanno.datasets.patches import Place


def export_png(plan: PatchPlan, task: Task) -> None:
    """Write ``images/`` and ``masks/`` (in a folder for each split), ``classes.json`` and ``patches.csv``."""
    names = file_names(plan.slides)
    side = plan.spec.patch_size
    rows = []
    for split in plan.splits:
        images, masks = task.split_folder(split, "images"), task.split_folder(split, "masks")
        for patch in plan.cut(plan.in_split(split)):
            name = f"{patch_name(names, patch.place)}.png"
            write_rgb_png(images / name, patch.image)
            mask = task.coding.encode(patch.labels)
            write_palette_png(masks / name, [mask], (side, side), palette=task.coding.palette)
            rows.append(_row(plan, patch.place, name))
            task.step()
    (task.folder / "classes.json").write_text(json_text(task.coding.describe()), encoding="utf-8")
    table = io.StringIO()
    writer = csv.DictWriter(table, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    (task.folder / "patches.csv").write_text(table.getvalue(), encoding="utf-8", newline="")


def write_rgb_png(path: Path, image: NDArray[np.uint8]) -> None:
    """Write RGB pixels, uint8, shape (H, W, 3), without metadata."""
    Image.fromarray(image, "RGB").save(path, format="PNG", compress_level=6)


def _row(plan: PatchPlan, place: Place, name: str) -> dict[str, str]:
    record = plan.labels[place.slide].record
    annotated = 1 - place.counts[0] / place.counts.sum()
    x, y = place.location
    return {
        "split": place.split,
        "file": name,
        "slide": record.name,
        "patient": record.patient,
        "x": f"{x:.10g}",
        "y": f"{y:.10g}",
        "mpp": f"{plan.spec.mpp:g}",
        "annotated": f"{annotated:.4f}",
        "kind": kind_of(place),
        "annotators": annotators_of(plan, place),
    }
