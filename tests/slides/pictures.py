"""Pictures with a different colour at every pixel, and the slides made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
import zarr

if TYPE_CHECKING:
    from pathlib import Path


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Position-coded noise: any displacement, however small, changes every pixel."""
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(seed).integers(0, 64, (height, width))
    return np.stack([x % 256, y % 256, (3 * x + 5 * y + noise) % 256], axis=-1).astype(np.uint8)


def smooth_picture(height: int, width: int) -> np.ndarray:
    """What survives lossy compression."""
    y, x = np.mgrid[:height, :width]
    return np.stack([120 + 100 * np.sin(x / 90), 128 + 90 * np.cos(y / 70), 90 + (x + y) / 30], axis=-1).astype(
        np.uint8
    )


def write_pyramid(path: Path, levels: list[np.ndarray], **options: Any) -> Path:
    """Tiled TIFF with one page per level, as most scanners and vips write it."""
    options = {"tile": (256, 256), "photometric": "rgb", "compression": "deflate", "metadata": None} | options
    with tifffile.TiffWriter(
        path, bigtiff=options.pop("bigtiff", False), byteorder=options.pop("byteorder", None)
    ) as tiff:
        for i, level in enumerate(levels):
            tiff.write(level, subfiletype=1 if i else 0, **options)
    return path


def write_ome(path: Path, levels: list[np.ndarray], *, mpp: float = 0.25) -> Path:
    """OME-TIFF with its lower levels in SubIFDs, as QuPath and Bio-Formats write it."""
    metadata = {
        "axes": "YXS",
        "PhysicalSizeX": mpp,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": mpp,
        "PhysicalSizeYUnit": "µm",
    }
    options = {"tile": (128, 128), "photometric": "rgb", "compression": "deflate"}
    with tifffile.TiffWriter(path, ome=True) as tiff:
        tiff.write(levels[0], subifds=len(levels) - 1, metadata=metadata, **options)
        for level in levels[1:]:
            tiff.write(level, subfiletype=1, **options)
    return path


def write_zarr(path: Path, levels: list[np.ndarray], *, version: str = "0.5", axes: str = "tczyx") -> Path:
    """OME-Zarr with a channel axis, as its converters write it."""
    group = zarr.open_group(path, mode="w", zarr_format=3 if version == "0.5" else 2)
    datasets = []
    for i, level in enumerate(levels):
        image = np.moveaxis(level, -1, 0)[None, :, None] if axes == "tczyx" else level
        chunks = (1, 1, 1, 128, 128) if axes == "tczyx" else (128, 128, 3)
        group.create_array(str(i), data=image, chunks=chunks)
        scale = [0.25 * 2**i if axis in "yx" else 1.0 for axis in axes]
        datasets.append({"path": str(i), "coordinateTransformations": [{"type": "scale", "scale": scale}]})
    named = [{"name": axis, **({"type": "space", "unit": "micrometer"} if axis in "zyx" else {})} for axis in axes]
    multiscales = {"multiscales": [{"axes": named, "datasets": datasets}]}
    group.attrs.update({"ome": {"version": version, **multiscales}} if version == "0.5" else multiscales)
    return path


def halved(image: np.ndarray) -> np.ndarray:
    """Mean of each 2 × 2 block, rounded half up; an odd last row or column is dropped."""
    h, w = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
    blocks = image[:h, :w].astype(int).reshape(h // 2, 2, w // 2, 2, 3)
    return ((blocks.sum(axis=(1, 3)) + 2) // 4).astype(np.uint8)


def region(reference: np.ndarray, x: int, y: int, w: int, h: int) -> np.ndarray:
    """The pixels of a region one by one; white outside."""
    result = np.full((h, w, 3), 255, np.uint8)
    for i in range(h):
        if 0 <= y + i < reference.shape[0]:
            columns = [j for j in range(w) if 0 <= x + j < reference.shape[1]]
            result[i, columns] = reference[y + i, [x + j for j in columns]]
    return result
