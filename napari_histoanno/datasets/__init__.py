"""Annotated slides to training patches and exports."""

from napari_histoanno.datasets.errors import DatasetError, ExportCancelled
from napari_histoanno.datasets.export import ExportKind, ExportSpec, Manifest, export_dataset
from napari_histoanno.datasets.holdout import HeldOut
from napari_histoanno.datasets.labels import SlideLabels, render_labels
from napari_histoanno.datasets.needs import needs_of
from napari_histoanno.datasets.options import RenderOptions
from napari_histoanno.datasets.patchsets import build_patchset
from napari_histoanno.datasets.sampling import LabelSampler, build_sampler
from napari_histoanno.datasets.spec import PatchSpec, SamplingSpec
from napari_histoanno.datasets.splits import SplitBy, SplitSpec, split_slides

__all__ = [
    "DatasetError",
    "ExportCancelled",
    "ExportKind",
    "ExportSpec",
    "HeldOut",
    "LabelSampler",
    "Manifest",
    "PatchSpec",
    "RenderOptions",
    "SamplingSpec",
    "SlideLabels",
    "SplitBy",
    "SplitSpec",
    "build_patchset",
    "build_sampler",
    "export_dataset",
    "needs_of",
    "render_labels",
    "split_slides",
]
