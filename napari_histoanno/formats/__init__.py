"""Exchange of annotations with other tools, one module per format."""

from napari_histoanno.formats.base import AnnotationFile, AnnotationFormat, FormatError
from napari_histoanno.formats.registry import formats, read_annotations, register, write_annotations

__all__ = [
    "AnnotationFile",
    "AnnotationFormat",
    "FormatError",
    "formats",
    "read_annotations",
    "register",
    "write_annotations",
]
