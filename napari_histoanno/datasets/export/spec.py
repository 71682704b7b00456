"""What an export is asked to be."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import model_validator

from napari_histoanno.datasets.spec import PatchSpec
from napari_histoanno.datasets.splits import SplitBy


class ExportKind(StrEnum):
    """The kinds of datasets that can be written.

    ``PNG`` patches and masks as pictures, ``COCO`` patches with instances, ``PATCHSET`` a zarr group for training,
    ``LABEL_PNG`` and ``LABEL_OME_TIFF`` one mask for each slide, ``GEOJSON`` the shapes of each slide for QuPath.
    """

    PNG = "png"
    COCO = "coco"
    PATCHSET = "patchset"
    LABEL_PNG = "label-png"
    LABEL_OME_TIFF = "label-ome-tiff"
    GEOJSON = "geojson"

    @property
    def of_patches(self) -> bool:
        """Whether patches are exported, and not whole slides."""
        return self in (ExportKind.PNG, ExportKind.COCO, ExportKind.PATCHSET)


class ExportSpec(PatchSpec):
    """Which dataset to write.

    In masks, classes have their ids of the project's label scheme and unlabelled pixels have ``unlabelled_value``,
    unless ``unlabelled`` names a class that they become. ``segmentation`` says how COCO instances are written: "auto"
    keeps drawn outlines as polygons and uses run lengths where a polygon cannot say it (holes, painted masks).
    """

    kind: ExportKind
    unlabelled_value: Literal[0, 255] = 255
    segmentation: Literal["auto", "polygon", "rle"] = "auto"

    @model_validator(mode="after")
    def _slides_are_whole(self) -> ExportSpec:
        if not self.kind.of_patches and self.split.by is SplitBy.BLOCK:
            raise ValueError(f"{self.kind} writes one file for each slide, which cannot be split into blocks")
        return self
