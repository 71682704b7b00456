"""The project on screen: napari layers bound to a session.

Everything outside of this package counts in level-0 pixels, (x, y), corner-based. Only here that is turned into
napari's (row, column), centre-based data coordinates and into micrometres.
"""

from napari_histoanno.layers.labels import PyramidLabels
from napari_histoanno.layers.predictions import PredictionLayers
from napari_histoanno.layers.sessions import session_of, view_of
from napari_histoanno.layers.slide import add_slide
from napari_histoanno.layers.vectors import VectorLayers
from napari_histoanno.layers.view import ProjectView

__all__ = [
    "PredictionLayers",
    "ProjectView",
    "PyramidLabels",
    "VectorLayers",
    "add_slide",
    "session_of",
    "view_of",
]
