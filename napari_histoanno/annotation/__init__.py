"""What was drawn, as pure data: no files, no slides, no screen."""

from napari_histoanno.annotation.clicks import ClickMasks, ClickMethod, ClickOptions, click_masks
from napari_histoanno.annotation.consensus import Agreement, agreement, consensus, fleiss, pairwise_agreement
from napari_histoanno.annotation.convert import ImageSource, convert, convert_all
from napari_histoanno.annotation.errors import AnnotationError
from napari_histoanno.annotation.geometry import Area, Bounds, Box, Ellipse, Geometry, Point, Scribble, WholeSlide
from napari_histoanno.annotation.instances import boxes_of, convert_mask, ellipses_of, interior_points_of
from napari_histoanno.annotation.model import Annotation, Granularity, Review, Source, new_id
from napari_histoanno.annotation.nuclear import Channel
from napari_histoanno.annotation.rasterize import rasterize
from napari_histoanno.annotation.scheme import UNLABELLED, LabelClass, LabelScheme
from napari_histoanno.annotation.vectorize import vectorize

__all__ = [
    "UNLABELLED",
    "Agreement",
    "Annotation",
    "AnnotationError",
    "Area",
    "Bounds",
    "Box",
    "Channel",
    "ClickMasks",
    "ClickMethod",
    "ClickOptions",
    "Ellipse",
    "Geometry",
    "Granularity",
    "ImageSource",
    "LabelClass",
    "LabelScheme",
    "Point",
    "Review",
    "Scribble",
    "Source",
    "WholeSlide",
    "agreement",
    "boxes_of",
    "click_masks",
    "consensus",
    "convert",
    "convert_all",
    "convert_mask",
    "ellipses_of",
    "fleiss",
    "interior_points_of",
    "new_id",
    "pairwise_agreement",
    "rasterize",
    "vectorize",
]
