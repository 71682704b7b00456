"""OME-Zarr images (versions 0.4 and 0.5) in a folder.

A chunk that a Zarr store lacks has the fill value by definition, so an incomplete copy cannot be told from an empty
place; what can be checked is that every level named in the metadata exists and has the shape of an image.
"""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from napari_histoanno.slides.errors import SlideError
from napari_histoanno.slides.mosaic import Mosaic
from napari_histoanno.slides.rgb import RGB, ColourModel, white_of
from napari_histoanno.slides.slide import Slide, SlideInfo, levels_of
from napari_histoanno.slides.tiff_metadata import PLAUSIBLE_MPP

if TYPE_CHECKING:
    from pathlib import Path

    from napari_histoanno.slides.cache import Pixels
    from napari_histoanno.slides.rgb import Samples

METADATA = ("zarr.json", ".zgroup")
UNITS = {"meter": 1e6, "centimeter": 1e4, "millimeter": 1e3, "micrometer": 1.0, "nanometer": 1e-3}
TILE = 512
CONVERT = "export it as an RGB OME-Zarr or OME-TIFF"


class ZarrSlide(Slide):
    """An OME-Zarr image; see `Slide`."""

    def __init__(self, path: Path) -> None:
        metadata = next(path / name for name in METADATA if (path / name).is_file())
        self._identity = (str(path), metadata.stat().st_mtime_ns)
        self._closed = False
        try:
            group = zarr.open_group(path, mode="r")
            attributes = dict(group.attrs)
            multiscale = attributes.get("ome", attributes)["multiscales"][0]
            self._axes = [str(axis["name"] if isinstance(axis, dict) else axis) for axis in multiscale["axes"]]
            self._arrays: list[Any] = [group[entry["path"]] for entry in multiscale["datasets"]]
            sizes = [(self._side(array, "x"), self._side(array, "y")) for array in self._arrays]
            mpp = _mpp(multiscale)
        except (Exception, MemoryError) as error:
            reason = f"it is not an OME-Zarr image that can be read, or it is damaged ({error!r})"
            raise SlideError(path, reason, "copy it again, with all its folders") from error
        self.path = path
        self._colour = self._colours()
        super().__init__(path, SlideInfo(levels=levels_of(sizes), vendor="ome-zarr", mpp_xy=mpp))
        self._mosaics = [
            Mosaic(height, width, *self.tile_size, (*self._identity, level), partial(self._load, level))
            for level, (width, height) in enumerate(sizes)
        ]

    @property
    def cache_key(self) -> tuple[Any, ...]:
        """Path and modification time."""
        return self._identity

    @property
    def tile_size(self) -> tuple[int, int]:
        """The chunks of level 0 where they are of a sensible size, else a size of ours."""
        chunks = self._arrays[0].chunks
        sides = chunks[self._axes.index("y")], chunks[self._axes.index("x")]
        return sides if all(64 <= side <= 4 * TILE for side in sides) else (TILE, TILE)

    def close(self) -> None:
        """Nothing stays open between reads."""
        self._closed = True

    def fingerprint(self) -> str:
        """Hex SHA-256 of the metadata and of the coarsest level's middle."""
        digest = hashlib.sha256()
        for array in self._arrays:
            digest.update(f"{array.shape};{array.dtype};".encode())
        width, height = self.levels[-1].width, self.levels[-1].height
        w, h = min(width, 2 * TILE), min(height, 2 * TILE)
        digest.update(self.read_inside(len(self.levels) - 1, (width - w) // 2, (height - h) // 2, w, h).tobytes())
        return digest.hexdigest()

    def read_inside(self, level: int, x: int, y: int, w: int, h: int) -> Pixels:
        if self._closed:
            raise SlideError(self.path, "the slide has been closed", "open it again")
        return self._mosaics[level].read(x, y, w, h)

    def _load(self, level: int, row: int, column: int) -> Pixels:
        top, left, height, width = self._mosaics[level].box(row, column)
        return self._colour.to_rgb(self._samples(level, slice(top, top + height), slice(left, left + width)))

    def _samples(self, level: int, rows: slice, columns: slice) -> Samples:
        """Samples (h, w, c) at the first time point and the middle of a focus stack."""
        array = self._arrays[level]
        places = {"y": rows, "x": columns, "c": slice(None)}
        index = tuple(
            places.get(axis, length // 2 if axis == "z" else 0)
            for axis, length in zip(self._axes, array.shape, strict=True)
        )
        try:
            block = np.asarray(array[index])
        except (Exception, MemoryError) as error:
            reason = f"the file is damaged: level {level} cannot be decoded at {rows.start}, {columns.start} ({error})"
            raise SlideError(self.path, reason, "copy it again, with all its folders") from error
        kept = [axis for axis in self._axes if axis in places]
        if "c" not in kept:
            return block[..., None]
        return np.moveaxis(block, kept.index("c"), -1) if kept.index("y") < kept.index("x") else block

    def _colours(self) -> ColourModel:
        array = self._arrays[0]
        channels = self._side(array, "c") if "c" in self._axes else 1
        if channels not in {1, 3} or array.dtype.kind not in "uf" or self._axes.index("y") > self._axes.index("x"):
            reason = f"it holds {channels} channel(s) of {array.dtype}, not the three colours of a brightfield image"
            raise SlideError(self.path, reason, CONVERT)
        bits = array.dtype.itemsize * 8
        brightest = 255.0
        if array.dtype != np.uint8:
            side = slice(0, 4 * TILE)
            brightest = float(np.nanmax(self._samples(len(self._arrays) - 1, side, side)))
        return ColourModel(RGB, channels, white=white_of(array.dtype, bits, brightest))

    def _side(self, array: Any, axis: str) -> int:
        if len(array.shape) != len(self._axes):
            raise ValueError(f"{len(self._axes)} axes are named but an array has {len(array.shape)}")
        return int(array.shape[self._axes.index(axis)])


def _mpp(multiscale: dict[str, Any]) -> tuple[float, float] | None:
    """µm per pixel of the finest level; OME-Zarr gives a scale per axis, and units where its writer cared."""
    axes = multiscale["axes"]
    steps = [
        *multiscale["datasets"][0].get("coordinateTransformations", []),
        *multiscale.get("coordinateTransformations", []),
    ]
    scale = np.ones(len(axes))
    for step in steps:
        if step.get("type") == "scale":
            scale = scale * np.asarray(step["scale"], float)
    found = {
        axis["name"]: float(factor) * UNITS[axis["unit"]]
        for axis, factor in zip(axes, scale, strict=True)
        if isinstance(axis, dict) and axis.get("unit") in UNITS
    }
    if not all(PLAUSIBLE_MPP[0] <= found.get(axis, 0) <= PLAUSIBLE_MPP[1] for axis in "xy"):
        return None
    return found["x"], found["y"]
