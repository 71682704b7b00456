"""Annotate whole-slide images in napari, train in the background, correct, export."""

__version__ = "0.1.0"
