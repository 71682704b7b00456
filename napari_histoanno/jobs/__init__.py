"""Background work: training, prediction, export and evaluation as jobs that report events and can be stopped.

Importing this package imports neither torch nor the parts of it that run on the worker.
"""

from histotrain.events import Event
from napari_histoanno.jobs.channel import Channel, LocalChannel
from napari_histoanno.jobs.engine import Engine, EngineState
from napari_histoanno.jobs.errors import EngineError, PredictionError
from napari_histoanno.jobs.events import (
    JobState,
    PredictionBlock,
    PreviewRequest,
    PreviewResult,
    Running,
)
from napari_histoanno.jobs.inline import InlineEngine, run_inline
from napari_histoanno.jobs.job import Job
from napari_histoanno.jobs.prediction_store import PredictionStore
from napari_histoanno.jobs.runlog import read_status
from napari_histoanno.jobs.specs import (
    DatasetExportSpec,
    EvaluationSpec,
    JobSpec,
    PredictionSpec,
    SelfTestSpec,
    TrainingSpec,
)

__all__ = [
    "Channel",
    "DatasetExportSpec",
    "Engine",
    "EngineError",
    "EngineState",
    "EvaluationSpec",
    "Event",
    "InlineEngine",
    "Job",
    "JobSpec",
    "JobState",
    "LocalChannel",
    "PredictionBlock",
    "PredictionError",
    "PredictionSpec",
    "PredictionStore",
    "PreviewRequest",
    "PreviewResult",
    "Running",
    "SelfTestSpec",
    "TrainingSpec",
    "read_status",
    "run_inline",
]
