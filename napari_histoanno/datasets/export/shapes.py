"""The annotations of each slide as GeoJSON, as QuPath reads and writes it.

This is an exchange, not a training set: everything that counts is written in its own geometry, coarser records beside
finer ones. Painted masks become areas with holes, exact to the pixel. They are traced in blocks and joined along the
seams, so that a slide's whole mask is never in memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID, uuid5

import numpy as np
import shapely

from napari_histoanno.annotation import Annotation, Area, Granularity, Source, vectorize
from napari_histoanno.datasets.errors import DatasetError
from napari_histoanno.datasets.export.context import Task, file_names
from napari_histoanno.formats import FormatError, write_annotations

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_histoanno.datasets.labels import SlideLabels
    from napari_histoanno.project import MaskPart

_BLOCK = 4096
_NAMESPACE = UUID("5f0a2c0e-6d0b-4a55-9d4e-6f1f3f6d3a10")


def export_geojson(views: dict[str, SlideLabels], splits: dict[str, str], task: Task) -> None:
    """Write one GeoJSON file for each slide, in a folder for each split."""
    names = file_names([labels.record for labels in views.values()])
    task.total = len(views)
    for slide, labels in views.items():
        path = task.split_folder(splits[slide]) / f"{names[slide]}.geojson"
        try:
            write_annotations(path, list(shapes_of(labels, task)), task.coding.classes, format="geojson")
        except FormatError as error:
            if isinstance(error.__cause__, OSError):  # a full disk is no matter of the format
                raise error.__cause__ from None
            raise DatasetError(f"Cannot export slide {labels.record.name!r}: {error}") from error
        task.step()


def shapes_of(labels: SlideLabels, task: Task) -> Iterator[Annotation]:
    """Everything annotated on a slide as records with the classes that are exported, shapes before painted masks."""
    for record in labels.counted:
        shown = labels.shown(record.class_id)
        if shown or record.granularity is Granularity.EXHAUSTIVE:
            yield record if shown == record.class_id else record.changed(class_id=shown, modified=record.modified)
    for masks, source in ((labels.masks, Source.DRAWN), (labels.guesses, Source.PREDICTED)):
        for annotator, mask in masks.items():
            for number, (class_id, polygon) in enumerate(_trace(mask.part, task)):
                if shown := labels.shown(class_id):
                    yield Annotation(
                        slide=labels.record.id,
                        granularity=Granularity.PIXEL,
                        geometry=Area(polygon),
                        class_id=shown,
                        annotator=annotator,
                        source=source,
                        created=labels.record.added,
                        id=uuid5(_NAMESPACE, f"{labels.record.fingerprint} {annotator} {number} {source}"),
                    )


def _trace(part: MaskPart, task: Task) -> list[tuple[int, shapely.Polygon]]:
    """Connected areas of a painted mask by class and position, level-0 pixels."""
    side = part.chunk
    keys = part.keys()
    blocks = sorted({(cy * side // _BLOCK, cx * side // _BLOCK) for cy, cx in keys})
    pieces: dict[int, list[shapely.Polygon]] = {}
    for row, column in blocks:
        task.check()
        y, x = row * _BLOCK, column * _BLOCK
        mask = part.read(y, y + _BLOCK, x, x + _BLOCK)
        for class_id, area in vectorize(mask, origin=(x, y)):
            pieces.setdefault(class_id, []).extend(shapely.get_parts(area.polygon))
    whole = []
    for class_id in sorted(pieces):
        whole += [(class_id, polygon) for polygon in _joined(pieces[class_id])]
    return sorted(whole, key=lambda pair: (pair[0], pair[1].bounds))


def _joined(polygons: list[shapely.Polygon]) -> list[shapely.Polygon]:
    """Polygons with those that touch along a seam between blocks made one; the others are left alone."""
    bounds = np.array([polygon.bounds for polygon in polygons])
    at_seam = (bounds % _BLOCK == 0).any(axis=1)
    alone = [polygon for polygon, seam in zip(polygons, at_seam, strict=True) if not seam]
    joined = shapely.union_all([polygon for polygon, seam in zip(polygons, at_seam, strict=True) if seam])
    return alone + [part for part in shapely.get_parts(joined) if isinstance(part, shapely.Polygon)]
