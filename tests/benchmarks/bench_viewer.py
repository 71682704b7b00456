"""Time to the first painted view, beside napari's plain tifffile + dask reading; brush moves on a huge raster.

Run as ``python tests/benchmarks/bench_viewer.py [slide.tif …]`` with a display (or under xvfb-run). Without a slide
a pyramid of 8192² is generated. Medians are printed in milliseconds; on a shared machine only the ratios mean
something.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import dask.array as da
import napari
import numpy as np
import tifffile
import zarr
from qtpy.QtWidgets import QApplication
from rich.console import Console

from napari_histoanno.annotation.scheme import LabelScheme
from napari_histoanno.layers._napari_private import native_canvas
from napari_histoanno.layers.labels import PyramidLabels
from napari_histoanno.layers.slide import add_slide, raster_placement
from napari_histoanno.project import Project
from napari_histoanno.slides import open_slide, tile_cache

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

console = Console()
ROUNDS = 5
RASTER = (80_000, 100_000)


def milliseconds(action: Callable[[], Any]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    action()
    return (time.perf_counter() - start) * 1e3


def paint(viewer: Any) -> None:
    """Draw the canvas now, as the window would."""
    QApplication.processEvents()
    native_canvas(viewer).grabFramebuffer()


def open_ours(viewer: Any, path: Path) -> None:
    """First painted view through the slide reader."""
    tile_cache().clear()
    with open_slide(path) as slide:
        add_slide(viewer, slide)
        viewer.reset_view()
        paint(viewer)
        viewer.layers.clear()


def open_plain(viewer: Any, path: Path) -> None:
    """First painted view through tifffile, zarr and dask, as napari's own documentation does it."""
    with tifffile.imread(path, aszarr=True) as store:
        group = zarr.open(store, mode="r")
        levels = [group[key] for key in sorted(group)] if isinstance(group, zarr.Group) else [group]
        arrays = [da.from_array(level) for level in levels]
        viewer.add_image(arrays if len(arrays) > 1 else arrays[0], rgb=True, multiscale=len(arrays) > 1)
        viewer.reset_view()
        paint(viewer)
        viewer.layers.clear()


def generated_slide(folder: Path, size: int = 8192) -> Path:
    """Tiled JPEG pyramid with 4x steps, as scanners write them."""
    rng = np.random.default_rng(0)
    small = rng.integers(120, 250, (size // 16, size // 16, 3), np.uint8)
    image = np.kron(small, np.ones((16, 16, 1), np.uint8))
    path = folder / "generated.tif"
    options: dict[str, Any] = {"tile": (256, 256), "photometric": "rgb", "compression": "jpeg", "metadata": None}
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for step in (1, 4, 16):
            tiff.write(image[::step, ::step], subfiletype=1 if step > 1 else 0, **options)
    return path


def bench_opening(viewer: Any, path: Path) -> None:
    """Alternate both ways, so that a busy machine hurts both."""
    ours, plain = [], []
    open_ours(viewer, path)
    for _ in range(ROUNDS):
        ours.append(milliseconds(lambda: open_ours(viewer, path)))
        plain.append(milliseconds(lambda: open_plain(viewer, path)))
    console.print(
        f"{path.name}: first painted view {median(ours):.0f} ms, tifffile + dask {median(plain):.0f} ms"
        f" ({median(plain) / median(ours):.1f} x)"
    )


def bench_brush(viewer: Any, folder: Path) -> None:
    """Strokes of fifty moves, a brush of forty screen pixels, at zooms from one to the whole slide."""
    slide = folder / "blank.tif"
    tifffile.imwrite(slide, np.full((512, 512, 3), 255, np.uint8), tile=(256, 256), photometric="rgb")
    with Project.create(folder / "project", scheme=LabelScheme.from_names(["a", "b"])) as project:
        record = project.add_slide(slide)
        project.update_slide(record.id, mpp=0.25)
        raster = project.raster(record.id)
        # The raster is sparse: only its size matters here, not that of the slide below.
        raster.shape = RASTER
        while max(raster.level_shape(raster.levels - 1)) > 1024:
            raster.levels += 1
        labels = PyramidLabels(raster, project.scheme, name="Labels", **raster_placement(0.25))
        viewer.add_layer(labels)
        labels.mode = "paint"
        for zoom in (1.0, 0.25, 0.05, 0.01):
            stroke(viewer, labels, zoom)
        labels.close()
        viewer.layers.clear()


def stroke(viewer: Any, labels: PyramidLabels, zoom: float) -> None:
    """One stroke at a zoom (screen pixels per level-0 pixel)."""
    viewer.scene.camera.zoom = zoom / 0.25
    viewer.scene.camera.center = (0, RASTER[0] / 8, RASTER[1] / 8)
    paint(viewer)
    labels.brush_size = int(40 / zoom)
    place = np.array([RASTER[0] / 2, RASTER[1] / 2])
    moves = []
    for _ in range(50):
        end = place + np.array([2.0, 4.0]) / zoom
        moves.append(milliseconds(lambda a=place, b=end: labels.stroke_to(a, b, 1)))
        place = end
    release = milliseconds(labels.end_stroke)
    stored = milliseconds(labels.flush)
    console.print(
        f"zoom {zoom:g}: brush move {median(moves):.2f} ms (worst {max(moves):.1f}),"
        f" release {release:.1f} ms, stored after {stored:.0f} ms"
    )


def main(arguments: Sequence[str]) -> None:
    """Run everything."""
    viewer = napari.Viewer(show=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for path in [Path(argument) for argument in arguments] or [generated_slide(folder)]:
            bench_opening(viewer, path)
        bench_brush(viewer, folder)
    viewer.close()


if __name__ == "__main__":
    main(sys.argv[1:])
