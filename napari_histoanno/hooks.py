"""What napari calls by name: the reader for dropped slides, and the sample data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari

from napari_histoanno.layers.slide import effective_mpp, raster_placement, show_scale_bar
from napari_histoanno.slides import SlideError, open_slide

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    LayerData = tuple[Any, dict[str, Any], str]

# Plain TIFFs below this size are left to napari: stacks and fluorescence images are not ours to interpret.
_LEAST_SLIDE_SIDE = 2048
_PLAIN = {".tif", ".tiff"}


def get_reader(path: str | Sequence[str]) -> Callable[[str | Sequence[str]], list[LayerData]] | None:
    """Reader for whole-slide images, or None for what is better left to others.

    Parameters
    ----------
    path : str or sequence of str
        What was dropped.
    """
    paths = _paths(path)
    return _read if paths and all(_is_slide(each) for each in paths) else None


def _paths(path: str | Sequence[str]) -> list[Path]:
    return [Path(path)] if isinstance(path, str) else [Path(each) for each in path]


def _is_slide(path: Path) -> bool:
    if path.suffix.lower() not in _PLAIN and not path.is_dir():
        return True
    try:
        with open_slide(path) as slide:
            return len(slide.levels) > 1 or max(slide.dimensions) >= _LEAST_SLIDE_SIDE or path.is_dir()
    except SlideError:
        return False


def _read(path: str | Sequence[str]) -> list[LayerData]:
    """Slides as lazy layers in µm; the running viewer, if there is one, gets a scale bar."""
    layers: list[LayerData] = []
    for each in _paths(path):
        slide = open_slide(each)
        options = {
            "name": each.stem,
            "rgb": True,
            "multiscale": True,
            "contrast_limits": (0, 255),
            "interpolation2d": "nearest",
            "cache": False,
            **raster_placement(effective_mpp(slide.mpp)),
        }
        layers.append((slide.pyramid, options, "image"))
    viewer = napari.current_viewer()
    if viewer is not None:
        show_scale_bar(viewer)
    return layers


def open_harbour() -> list[LayerData]:
    """The first synthetic slide."""
    return _sample("harbour")


def open_meadow() -> list[LayerData]:
    """The second synthetic slide, stained and scanned by another laboratory."""
    return _sample("meadow")


def _sample(name: str) -> list[LayerData]:
    from napari_histoanno.samples import sample_slides  # not needed for reading slides

    return _read(str(next(path for path in sample_slides() if path.name.startswith(name))))
