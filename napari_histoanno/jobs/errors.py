"""What a user can meet in background work."""

from __future__ import annotations

from histotrain.errors import TrainingError
from napari_histoanno.datasets import DatasetError
from napari_histoanno.project import ProjectError
from napari_histoanno.slides import SlideError


class EngineError(Exception):
    """Background work is not possible; says what, why and what to do."""


class PredictionError(EngineError):
    """A prediction cannot be read or written; says what, why and what to do."""


REFUSALS = (ProjectError, SlideError, DatasetError, TrainingError, EngineError, OSError)
"""What a job may raise to say that it cannot be done; anything else is a fault of the program."""
