"""What was drawn, as pure data: no files, no slides, no screen."""

from napari_histoanno.annotation.errors import AnnotationError
from napari_histoanno.annotation.geometry import Area, Bounds, Box, Ellipse, Geometry, Point, Scribble, WholeSlide
from napari_histoanno.annotation.model import Annotation, Granularity, Review, Source, new_id
from napari_histoanno.annotation.rasterize import rasterize
from napari_histoanno.annotation.scheme import UNLABELLED, LabelClass, LabelScheme
from napari_histoanno.annotation.vectorize import vectorize

__all__ = [
    "UNLABELLED",
    "Annotation",
    "AnnotationError",
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
    "rasterize",
    "vectorize",
]
