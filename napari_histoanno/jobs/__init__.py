"""Background work: training, prediction, export and evaluation as jobs that report events and can be stopped.

Importing this package imports neither torch nor the parts of it that run on the worker.
"""

from histotrain.events import Event
from napari_histoanno.jobs.channel import Channel, LocalChannel
from napari_histoanno.jobs.engine import Engine, EngineError, EngineState
from napari_histoanno.jobs.events import (
    JobState,
    PredictionBlock,
    PreviewRequest,
    PreviewResult,
    Running,
)
from napari_histoanno.jobs.inline import run_inline
from napari_histoanno.jobs.job import Job
from napari_histoanno.jobs.specs import JobSpec, SelfTestSpec

__all__ = [
    "Channel",
    "Engine",
    "EngineError",
    "EngineState",
    "Event",
    "Job",
    "JobSpec",
    "JobState",
    "LocalChannel",
    "PredictionBlock",
    "PreviewRequest",
    "PreviewResult",
    "Running",
    "SelfTestSpec",
    "run_inline",
]
