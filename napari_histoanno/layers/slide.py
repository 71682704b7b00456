"""A slide as a napari layer: lazily read, in micrometres, to the exact pixel.

World coordinates are level-0 pixels times the pixel size, corner-based: world (0, 0) is the outer corner of the
first pixel. napari puts the centre of a pixel at an integer data coordinate, so every raster layer is
translated by half of its own pixel and vector layers, whose data are level-0 (y, x), are not translated at all.
All layers carry units: one without them switches napari's scale bar off for all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_histoanno.layers._napari_private import ExactImage

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_histoanno.slides import Slide

UNITS = ("um", "um")
FALLBACK_MPP = 0.5
SLIDE_LAYER = "Slide"


def raster_placement(
    mpp: float, *, downsample: float = 1.0, location: tuple[float, float] = (0.0, 0.0)
) -> dict[str, Any]:
    """Keyword arguments that place a raster layer over a slide.

    Parameters
    ----------
    mpp : float
        Micrometres per level-0 pixel.
    downsample : float
        Level-0 pixels per pixel of the raster.
    location : tuple of float
        (x, y) of the raster's outer corner, level-0 pixels.

    Returns
    -------
    dict
        ``scale``, ``translate`` and ``units``.

    Examples
    --------
    >>> raster_placement(0.5, downsample=4, location=(100, 0))["translate"]
    (1.0, 51.0)
    """
    pixel = mpp * downsample
    x, y = location
    return {
        "scale": (pixel, pixel),
        "translate": (y * mpp + pixel / 2, x * mpp + pixel / 2),
        "units": UNITS,
    }


def effective_mpp(mpp: float | None) -> float:
    """Micrometres per level-0 pixel, with the value that stands in where neither file nor user gives one."""
    return mpp or FALLBACK_MPP


def vector_placement(mpp: float) -> dict[str, Any]:
    """Keyword arguments for a layer whose data are level-0 (y, x), corner-based."""
    return {"scale": (mpp, mpp), "units": UNITS}


def add_slide(viewer: Any, slide: Slide, name: str = SLIDE_LAYER, *, mpp: float | None = None) -> Image:
    """Show a slide as a multiscale image in micrometres, with a scale bar.

    Parameters
    ----------
    viewer : napari.Viewer
        Where to show it.
    slide : Slide
        The open slide; the layer reads from it while it exists.
    name : str
        Name of the layer.
    mpp : float, optional
        Micrometres per level-0 pixel, where it is known better than by the file.

    Returns
    -------
    napari.layers.Image
        The layer, with world coordinates = level-0 coordinates (corner-based) x mpp.
    """
    levels = slide.pyramid
    factors = [float(getattr(level, "downsample", 0) or levels[0].shape[0] / level.shape[0]) for level in levels]
    layer = ExactImage(
        levels,
        factors,
        rgb=True,
        name=name,
        contrast_limits=(0, 255),
        # Slides are looked at pixel by pixel; smoothing would hide where a label ends.
        interpolation2d="nearest",
        cache=False,
        **raster_placement(effective_mpp(mpp or slide.mpp)),
    )
    viewer.add_layer(layer)
    show_scale_bar(viewer)
    return layer


def show_scale_bar(viewer: Any) -> None:
    """Make the scale bar visible, in micrometres."""
    bar = viewer.canvas.overlays.scale_bar
    bar.visible = True
