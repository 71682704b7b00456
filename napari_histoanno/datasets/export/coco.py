"""Patches with their objects in COCO's form.

COCO knows two states, object and background; ours has a third. So every image carries the run lengths of its
unlabelled pixels (``unlabelled``) and the share that is annotated, which readers that do not know these keys skip,
and a detector need not be taught that what nobody looked at is background.

What was drawn stays what it was: each annotation names its granularity, and an ellipse or click keeps its parameters in
pixels of the image beside the outline that COCO can hold. Painted masks give one object for each connected component.
Scribbles and partial regions say what a place is, not where an object ends; they are written as crowd regions.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from pycocotools import mask as coco_mask
from shapely import affinity

from napari_histoanno import __version__
from napari_histoanno.annotation import Area, Ellipse, Granularity, Point, Scribble, rasterize, vectorize
from napari_histoanno.annotation.geometry import to_native
from napari_histoanno.datasets.export.context import Task, file_names, patch_name
from napari_histoanno.datasets.export.manifest import json_text
from napari_histoanno.datasets.export.png import write_rgb_png
from napari_histoanno.datasets.patches import PatchPlan, annotators_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_histoanno.annotation import Annotation, Geometry, LabelScheme
    from napari_histoanno.datasets.patches import Patch

_DIGITS = 3


def export_coco(plan: PatchPlan, task: Task) -> None:
    """Write ``images/`` (in a folder for each split) and ``annotations/instances_<split>.json``."""
    names = file_names(plan.slides)
    (task.folder / "annotations").mkdir()
    for split in plan.splits:
        folder = task.split_folder(split, "images")
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for patch in plan.cut(plan.in_split(split)):
            name = f"{patch_name(names, patch.place)}.png"
            write_rgb_png(folder / name, patch.image)
            number = len(images) + 1
            file_name = (folder / name).relative_to(task.folder).as_posix()
            images.append({"id": number, "file_name": file_name, **_image(plan, patch)})
            for found in PatchObjects(plan, patch, task.spec.segmentation).all():
                annotations.append({"id": len(annotations) + 1, "image_id": number, **found})
            task.step()
        document = {
            "info": {"description": f"napari-histoanno export, {split}", "version": __version__},
            "licenses": [],
            "images": images,
            "annotations": annotations,
            "categories": categories(plan.classes),
        }
        (task.folder / "annotations" / f"instances_{split}.json").write_text(json_text(document), encoding="utf-8")


def categories(classes: LabelScheme) -> list[dict[str, Any]]:
    """The classes as COCO categories with the ids they have in the project."""
    return [
        {
            "id": label.id,
            "name": label.name,
            "supercategory": classes[label.parent].name if label.parent is not None else "",
            "color": list(label.color),
        }
        for label in classes
    ]


class PatchObjects:
    """The objects of one patch as COCO annotations without ids.

    Parameters
    ----------
    plan : PatchPlan
        Where the patch is from.
    patch : Patch
        The patch.
    segmentation : str
        "auto", "polygon" or "rle".
    """

    def __init__(self, plan: PatchPlan, patch: Patch, segmentation: str) -> None:
        place = patch.place
        self._view = plan.labels[place.slide]
        self._downsample = plan.grids[place.slide].downsample
        self._origin = place.location
        self._side = plan.spec.patch_size
        self._segmentation = segmentation
        self._point_radius = plan.spec.point_radius / self._view.mpp

    def all(self) -> Iterator[dict[str, Any]]:
        """Shapes, oldest first, then components of painted masks."""
        x, y = self._origin
        reach = self._side * self._downsample
        for record in self._view.records_in((x, y, x + reach, y + reach)):
            if record.granularity is not Granularity.EXHAUSTIVE and self._view.shown(record.class_id):
                yield from self._shape(record)
        for predicted, source in ((False, "painted"), (True, "predicted")):
            size = (self._side, self._side)
            labels = self._view.render_masks(self._origin, self._downsample, size, predicted=predicted)
            for class_id, area in vectorize(labels):
                yield {**self._component(class_id, area), "source": source}

    def _shape(self, record: Annotation) -> Iterator[dict[str, Any]]:
        drawn = record.geometry
        if isinstance(drawn, Point):
            drawn = Ellipse(drawn.x, drawn.y, self._point_radius, self._point_radius)
        inside = shapely.intersection(self._to_patch(drawn), shapely.box(0, 0, self._side, self._side))
        parts = [part for part in shapely.get_parts(inside) if part.geom_type == "Polygon" and part.area > 0]
        if not parts:
            return
        outline = shapely.MultiPolygon(parts)
        crowd = record.granularity is Granularity.SPARSE
        has_holes = any(part.interiors for part in parts)
        use_rle = crowd or self._segmentation == "rle" or (self._segmentation == "auto" and has_holes)
        mask = rasterize([(drawn, 1)], (self._side, self._side), origin=self._origin, downsample=self._downsample)
        # An object smaller than a pixel may hold no pixel centre; its outline is then all there is to keep.
        found: dict[str, Any] = {
            "segmentation": run_lengths(mask) if use_rle and mask.any() else _rings(parts),
            "area": round(float(mask.sum()) if use_rle and mask.any() else outline.area, _DIGITS),
            "bbox": _box(outline),
            "iscrowd": int(crowd),
            "category_id": self._view.shown(record.class_id),
            "granularity": str(record.granularity),
            "annotator": record.annotator,
            "source": str(record.source),
            "uuid": str(record.id),
        }
        if record.confidence is not None:
            found["score"] = record.confidence
        found.update(self._native(record.geometry))
        yield found

    def _component(self, class_id: int, area: Area) -> dict[str, Any]:
        mask = rasterize([(area, 1)], (self._side, self._side))
        exact = area.polygon
        use_polygon = self._segmentation == "polygon"
        return {
            "segmentation": _rings(list(shapely.get_parts(exact))) if use_polygon else run_lengths(mask),
            "area": float(exact.area),
            "bbox": _box(exact),
            "iscrowd": 0,
            "category_id": class_id,
            "granularity": str(Granularity.PIXEL),
        }

    def _to_patch(self, geometry: Geometry) -> Any:
        x, y = self._origin
        scale = 1 / self._downsample
        shape = shapely.make_valid(geometry.shape)
        return affinity.affine_transform(shape, [scale, 0, 0, scale, -x * scale, -y * scale])

    def _native(self, geometry: Geometry) -> dict[str, Any]:
        """Parameters that an outline cannot hold, in pixels of the patch."""
        (x, y), scale = self._origin, 1 / self._downsample
        match geometry:
            case Ellipse():
                cx, cy = (geometry.cx - x) * scale, (geometry.cy - y) * scale
                moved = Ellipse(cx, cy, geometry.a * scale, geometry.b * scale, geometry.angle)
                return {"ellipse": asdict(moved)}
            case Point():
                return {"point": [(geometry.x - x) * scale, (geometry.y - y) * scale]}
            case Scribble():
                path = [[(px - x) * scale, (py - y) * scale] for px, py in geometry.points]
                return {"scribble": {"points": path, "width": to_native(geometry)["width"] * scale}}
        return {}


def run_lengths(mask: NDArray[np.uint8]) -> dict[str, Any]:
    """COCO's compressed run lengths of a binary mask, shape (H, W), as JSON values."""
    encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": [int(value) for value in encoded["size"]], "counts": encoded["counts"].decode("ascii")}


def _image(plan: PatchPlan, patch: Patch) -> dict[str, Any]:
    record, side = plan.labels[patch.place.slide].record, plan.spec.patch_size
    unlabelled = patch.labels == 0
    return {
        "width": side,
        "height": side,
        "slide": record.name,
        "patient": record.patient,
        "x": patch.place.location[0],
        "y": patch.place.location[1],
        "downsample": plan.grids[patch.place.slide].downsample,
        "mpp": plan.spec.mpp,
        "annotators": annotators_of(plan, patch.place),
        "annotated": round(1 - float(unlabelled.mean()), 6),
        "unlabelled": run_lengths(unlabelled),
    }


def _rings(parts: list[Any]) -> list[list[float]]:
    return [[round(value, _DIGITS) for point in part.exterior.coords[:-1] for value in point] for part in parts]


def _box(shape: Any) -> list[float]:
    x0, y0, x1, y1 = shape.bounds
    return [round(value, _DIGITS) for value in (x0, y0, x1 - x0, y1 - y0)]
