"""What napari calls by name: the reader for dropped slides, and the sample data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari

from napari_histoanno.layers.slide import add_slide, effective_mpp, raster_placement
from napari_histoanno.slides import SlideError, open_slide

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    LayerData = tuple[Any, dict[str, Any], str] | tuple[None]

# Plain TIFFs below this size are left to napari: stacks and fluorescence images are not ours to interpret.
_LEAST_SLIDE_SIDE = 2048
_PLAIN = {".tif", ".tiff"}
_NOTHING_TO_ADD: list[LayerData] = [(None,)]


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
    """Show slides in the running viewer, in µm with a scale bar; without a viewer, return them as layer data."""
    viewer = napari.current_viewer()
    layers: list[LayerData] = []
    for each in _paths(path):
        slide = open_slide(each)
        if viewer is not None:
            add_slide(viewer, slide, each.stem)
            continue
        placement = raster_placement(effective_mpp(slide.mpp))
        layers.append((slide.pyramid, {"name": each.stem, "rgb": True, "multiscale": True, **placement}, "image"))
    if viewer is not None:
        viewer.reset_view()
    return layers or _NOTHING_TO_ADD


def open_harbour() -> list[LayerData]:
    """The first synthetic slide."""
    return _sample("harbour")


def open_meadow() -> list[LayerData]:
    """The second synthetic slide, stained and scanned by another laboratory."""
    return _sample("meadow")


def _sample(name: str) -> list[LayerData]:
    from napari_histoanno.samples import sample_slides  # not needed for reading slides

    return _read(str(next(path for path in sample_slides() if path.name.startswith(name))))
