"""Annotated slides as datasets on disk.

An export is planned, written beside its place, described by a manifest, and only then moved there. It is equal byte for
byte when it is repeated, and nothing is left behind when it fails or is stopped.
"""

from napari_histoanno.datasets.export.dataset import export_dataset
from napari_histoanno.datasets.export.manifest import Manifest
from napari_histoanno.datasets.export.spec import ExportKind, ExportSpec

__all__ = ["ExportKind", "ExportSpec", "Manifest", "export_dataset"]
