"""What was drawn, as pure data: no files, no slides, no screen."""

from napari_histoanno.annotation.geometry import Area, Bounds, Box, Ellipse, Geometry, Point, Scribble, WholeSlide
from napari_histoanno.annotation.model import Annotation, Granularity, Review, Source, new_id
from napari_histoanno.annotation.scheme import UNLABELLED, LabelClass, LabelScheme

__all__ = [
    "UNLABELLED",
    "Annotation",
    "Area",
    "Bounds",
    "Box",
    "Ellipse",
    "Geometry",
    "Granularity",
    "LabelClass",
    "LabelScheme",
    "Point",
    "Review",
    "Scribble",
    "Source",
    "WholeSlide",
    "new_id",
]
