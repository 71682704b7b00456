"""Synthetic haematoxylin and eosin slides with exact ground truth.

Everything is made from random numbers: no pixel comes from a patient. ``python -m sample_data.generator --help``
tells how to write slides; :func:`make_slide` makes one in memory.
"""

from .slide import make_slide
from .stain import STYLES, StainStyle
from .truth import MPP, NUCLEUS_CLASSES, REGION_CLASSES, SyntheticSlide

__all__ = ["MPP", "NUCLEUS_CLASSES", "REGION_CLASSES", "STYLES", "StainStyle", "SyntheticSlide", "make_slide"]
