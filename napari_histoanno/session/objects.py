"""Records of the single objects that a model found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypedDict

import numpy as np
import shapely

from napari_histoanno.annotation import Annotation, Area, Granularity, Point, Review, Source

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_histoanno.annotation import Bounds
    from napari_histoanno.jobs.object_store import ObjectStore, StoredObject


class EditableOptions(TypedDict, total=False):
    """How a prediction becomes annotations."""

    bounds: Bounds | None
    """Only in this level-0 box (x0, y0, x1, y1); of single objects those whose centre lies in it."""
    classes: Iterable[int] | None
    """Only these class ids."""
    as_: Literal["pixel", "polygon"]
    """Into the annotator's pixel mask (the default), or as outlines; points, if that is what the model finds."""
    overwrite: bool
    """With "pixel": also where something is labelled already; not by default."""
    min_confidence: float
    """Only pixels, or single objects, at least this sure, 0 … 1; 0 by default."""
    simplify: float
    """With "polygon": tolerance of the simplification in level-0 pixels, 1 by default."""
    min_area: float
    """With "polygon": smaller outlines are left out, level-0 square pixels; 0 by default."""


def object_records(
    store: ObjectStore, slide: str, box: Bounds, author: str, options: EditableOptions
) -> list[Annotation]:
    """Unreviewed records of the objects in a level-0 box.

    Parameters
    ----------
    store : ObjectStore
        The objects of a prediction.
    slide : str
        Id of their slide.
    box : (x0, y0, x1, y1)
        Level-0 pixels.
    author : str
        Who found them.
    options : EditableOptions
        ``classes``, ``min_confidence``, ``simplify`` and ``min_area`` count.

    Returns
    -------
    list of Annotation
        Outlines at pixel granularity, or points.
    """
    surest, smallest = options.get("min_confidence", 0.0), options.get("min_area", 0.0)
    chosen = [item for item in store.query(box, options.get("classes")) if item.score >= surest]
    outlines = _simplified(chosen, options.get("simplify", 1.0))
    areas = shapely.area(np.array([item.outline for item in chosen], object))
    return [
        Annotation(
            slide=slide,
            granularity=Granularity.POINT if outline is None else Granularity.PIXEL,
            geometry=Point(item.x, item.y) if outline is None else Area(outline),
            class_id=item.class_id,
            annotator=author,
            source=Source.PREDICTED,
            review=Review.UNREVIEWED,
            confidence=min(max(item.score, 0.0), 1.0),
        )
        for item, outline, area in zip(chosen, outlines, areas.tolist(), strict=True)
        if outline is None or area >= smallest
    ]


def _simplified(objects: list[StoredObject], tolerance: float) -> list[shapely.Polygon | shapely.MultiPolygon | None]:
    """Outlines with fewer corners; the few that would lose their validity are kept as they are."""
    outlines = np.array([item.outline for item in objects], object)
    if tolerance <= 0 or not len(outlines):
        return list(outlines)
    simpler = shapely.simplify(outlines, tolerance, preserve_topology=True)
    good = shapely.is_valid(simpler) & ~shapely.is_empty(simpler) & np.isin(shapely.get_type_id(simpler), (3, 6))
    return list(np.where(good, simpler, outlines))
