"""What survives: slides, annotations, masks, history and models of a project, in one folder."""

from napari_histoanno.project.annotations import AnnotationStore
from napari_histoanno.project.changes import Change, HistoryEntry
from napari_histoanno.project.errors import ProjectError
from napari_histoanno.project.history import History
from napari_histoanno.project.lock import LockOwner
from napari_histoanno.project.predictions import PredictionRecord, Predictions
from napari_histoanno.project.project import Project
from napari_histoanno.project.provenance import MaskPart, is_predicted_key, predicted_key
from napari_histoanno.project.raster_edit import RasterEdit
from napari_histoanno.project.rasters import LabelRaster
from napari_histoanno.project.runs import ModelRun, ModelRuns
from napari_histoanno.project.slide_table import SlideRecord

__all__ = [
    "AnnotationStore",
    "Change",
    "History",
    "HistoryEntry",
    "LabelRaster",
    "LockOwner",
    "MaskPart",
    "ModelRun",
    "ModelRuns",
    "PredictionRecord",
    "Predictions",
    "Project",
    "ProjectError",
    "RasterEdit",
    "SlideRecord",
    "is_predicted_key",
    "predicted_key",
]
