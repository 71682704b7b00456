"""Whole-slide images, read lazily, whatever their format.

>>> from napari_histoanno.slides import open_slide
>>> with open_slide("slide.svs") as slide:                            # doctest: +SKIP
...     slide.dimensions, slide.mpp
...     slide.read_region((10_000, 8_000), 0, (256, 256)).shape       # uint8 (256, 256, 3)
"""

from napari_histoanno.slides.cache import tile_cache
from napari_histoanno.slides.errors import SlideError
from napari_histoanno.slides.open import open_slide
from napari_histoanno.slides.pyramid import LazyLevel
from napari_histoanno.slides.slide import Level, Slide
from napari_histoanno.slides.tissue import TissueMask, tissue_mask

__all__ = ["LazyLevel", "Level", "Slide", "SlideError", "TissueMask", "open_slide", "tile_cache", "tissue_mask"]
