"""One mask for each slide, at any resolution, of any size.

Masks are rendered in blocks and go straight into the file, so a slide of a hundred thousand pixels a side takes no more
memory than a small one. Every level of the pyramid is rendered at its own pixel centres; none is a picture of another.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
import tifffile

from napari_histoanno.datasets.export.context import Task, file_names
from napari_histoanno.datasets.export.manifest import json_text
from napari_histoanno.datasets.export.masks import write_palette_png
from napari_histoanno.datasets.export.spec import ExportKind
from napari_histoanno.datasets.patches import annotations_digest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_histoanno.datasets.labels import SlideLabels

TILE = 512
_BLOCK_TILES = 8
_SMALLEST_LEVEL = 1024


class SlideMask:
    """The mask of one slide at one resolution, readable in blocks.

    Parameters
    ----------
    labels : SlideLabels
        What is annotated.
    task : Task
        The export; one of its steps is a row of blocks.
    downsample : float
        Level-0 pixels per pixel of the mask.
    """

    def __init__(self, labels: SlideLabels, task: Task, downsample: float) -> None:
        self.labels = labels
        self.downsample = downsample
        self.size = (
            max(1, math.ceil(labels.extent[0] / downsample)),
            max(1, math.ceil(labels.extent[1] / downsample)),
        )
        self._task = task
        spec = task.spec
        self._becomes = 0 if spec.unlabelled is None else labels.scheme[spec.unlabelled].id

    @property
    def rows(self) -> int:
        """Number of rows of tiles."""
        return math.ceil(self.size[1] / TILE)

    def bands(self) -> Iterator[NDArray[np.uint8]]:
        """Rows of tiles from top to bottom, uint8, shape (<= 512, width)."""
        for row in range(self.rows):
            height = min(TILE, self.size[1] - row * TILE)
            yield np.concatenate([block[:height] for block in self._blocks(row)], axis=1)[:, : self.size[0]]
            self._task.step()

    def tiles(self) -> Iterator[NDArray[np.uint8]]:
        """Tiles row by row, uint8, shape (512, 512); beyond the edge they hold the value of unlabelled pixels.

        A row counts as done when the next one begins, as a reader need not come back after the last tile; whoever reads
        them counts the last row.
        """
        for row in range(self.rows):
            if row:
                self._task.step()
            for block in self._blocks(row):
                for x in range(0, block.shape[1], TILE):
                    yield np.ascontiguousarray(block[:, x : x + TILE])

    def _blocks(self, row: int) -> Iterator[NDArray[np.uint8]]:
        columns = math.ceil(self.size[0] / TILE)
        for first in range(0, columns, _BLOCK_TILES):
            count = min(_BLOCK_TILES, columns - first)
            location = (first * TILE * self.downsample, row * TILE * self.downsample)
            self._task.check()
            size = (count * TILE, TILE)
            block = self.labels.render(location, self.downsample, size, unlabelled=self._becomes)
            yield self._task.coding.encode(block)


def export_slide_masks(views: dict[str, SlideLabels], splits: dict[str, str], task: Task) -> None:
    """Write one PNG or OME-TIFF mask for each slide (in a folder for each split) and ``classes.json``.

    Parameters
    ----------
    views : dict from slide id to SlideLabels
        In the order of export.
    splits : dict from slide id to split
        "all" where it is not split.
    task : Task
        The export.
    """
    names = file_names([labels.record for labels in views.values()])
    as_tiff = task.spec.kind is ExportKind.LABEL_OME_TIFF
    pyramids = {slide: _pyramid(labels, task, tiff=as_tiff) for slide, labels in views.items()}
    task.total = sum(mask.rows for pyramid in pyramids.values() for mask in pyramid)
    for slide, pyramid in pyramids.items():
        folder = task.split_folder(splits[slide])
        if as_tiff:
            _write_ome_tiff(folder / f"{names[slide]}.ome.tif", pyramid, task)
        else:
            path = folder / f"{names[slide]}.png"
            write_palette_png(path, pyramid[0].bands(), pyramid[0].size, palette=task.coding.palette, mpp=task.spec.mpp)
    (task.folder / "classes.json").write_text(json_text(task.coding.describe()), encoding="utf-8")


def _pyramid(labels: SlideLabels, task: Task, *, tiff: bool) -> list[SlideMask]:
    masks = [SlideMask(labels, task, task.spec.mpp / labels.mpp)]
    while tiff and max(masks[-1].size) > _SMALLEST_LEVEL:
        masks.append(SlideMask(labels, task, masks[-1].downsample * 2))
    return masks


def _write_ome_tiff(path: Path, pyramid: list[SlideMask], task: Task) -> None:
    options: dict[str, Any] = {
        "dtype": np.uint8,
        "tile": (TILE, TILE),
        "photometric": "minisblack",
        "compression": "zlib",
        "resolutionunit": "CENTIMETER",
        "maxworkers": 1,
    }
    labels, (width, height) = pyramid[0].labels, pyramid[0].size
    with tifffile.TiffWriter(path, ome=True, bigtiff=width * height > 1 << 31) as tiff:
        for number, mask in enumerate(pyramid):
            mpp = mask.downsample * labels.mpp
            tiff.write(
                mask.tiles(),
                shape=mask.size[::-1],
                resolution=(1e4 / mpp, 1e4 / mpp),
                subifds=len(pyramid) - 1 if number == 0 else 0,
                subfiletype=0 if number == 0 else 1,
                metadata=_ome(labels, task) if number == 0 else None,
                **options,
            )
            task.step()


def _ome(labels: SlideLabels, task: Task) -> dict[str, Any]:
    """OME metadata; the identifier follows from the contents, as a random one would make every export different."""
    said = json.dumps([labels.record.fingerprint, annotations_digest(labels), task.spec.model_dump(mode="json")])
    identifier = UUID(bytes=hashlib.sha256(said.encode()).digest()[:16], version=5)
    mpp = task.spec.mpp
    return {
        "axes": "YX",
        "UUID": f"urn:uuid:{identifier}",
        "Name": labels.record.name,
        "PhysicalSizeX": mpp,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": mpp,
        "PhysicalSizeYUnit": "µm",
        "Channel": {"Name": "class"},
        "MapAnnotation": {
            **{str(label.id): label.name for label in task.coding.classes},
            **({} if task.spec.unlabelled else {str(task.coding.unlabelled): "unlabelled"}),
        },
    }
