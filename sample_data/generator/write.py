"""Writing slides as tiled, pyramidal OME-TIFF, and their truth in files that any tool reads.

Equal input gives equal bytes: the OME identifier is computed, not drawn.
"""

from __future__ import annotations

import uuid
from dataclasses import asdict
from typing import TYPE_CHECKING

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from .truth import MPP, SyntheticSlide

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUALITY = 85
TILE = 256
MOSAIC_TILE = 512
SMALLEST_LEVEL = 512
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "napari-histoanno/sample-data")

Rgb = NDArray[np.uint8]


def write_slide(path: Path, image: Rgb, *, step: int = 2, mpp: float = MPP, quality: int = QUALITY) -> None:
    """Write an image as pyramidal OME-TIFF with JPEG tiles.

    Parameters
    ----------
    path : Path
        File to write.
    image : ndarray of uint8, (h, w, 3)
        RGB.
    step : int
        Each level is this many times smaller than the one before, down to at most 512 px.
    mpp : float
        Micrometres per pixel.
    quality : int
        Of the JPEG tiles.
    """
    levels = [image]
    while max(levels[-1].shape) > SMALLEST_LEVEL:
        levels.append(_smaller(levels[-1], step))
    with tifffile.TiffWriter(path, ome=True) as tiff:
        for index, level in enumerate(levels):
            options = _first(path.name, len(levels) - 1, mpp) if index == 0 else {"subfiletype": 1, "metadata": None}
            tiff.write(level, tile=(TILE, TILE), **_jpeg(mpp * image.shape[1] / level.shape[1], quality), **options)


def write_mosaic(path: Path, image: Rgb, size: tuple[int, int], *, mpp: float = MPP) -> None:
    """Write a slide of any size by laying a small one out again and again, mirrored so that no seam shows.

    For measuring speed: it holds as much detail per tile as a real slide, and memory for one small slide is enough.

    Parameters
    ----------
    path : Path
        File to write.
    image : ndarray of uint8, (h, w, 3)
        What is repeated.
    size : (int, int)
        Width and height of the slide.
    mpp : float
        Micrometres per pixel.
    """
    width, height = size
    count = 1
    while max(size) >> count > SMALLEST_LEVEL:
        count += 1
    with tifffile.TiffWriter(path, ome=True, bigtiff=True) as tiff:
        for index in range(count + 1):
            shape = (height >> index, width >> index, 3)
            options = _first(path.name, count, mpp) if index == 0 else {"subfiletype": 1, "metadata": None}
            tiff.write(
                _mirrored_tiles(image, shape),
                shape=shape,
                dtype=np.uint8,
                tile=(MOSAIC_TILE, MOSAIC_TILE),
                **_jpeg(mpp * 2**index, QUALITY),
                **options,
            )
            image = _smaller(image, 2)


def _mirrored_tiles(image: Rgb, shape: tuple[int, int, int]) -> Iterator[Rgb]:
    rows, columns = (_mirrored(shape[axis], image.shape[axis]) for axis in (0, 1))
    for top in range(0, shape[0], MOSAIC_TILE):
        band = image[rows[top : top + MOSAIC_TILE]]
        for left in range(0, shape[1], MOSAIC_TILE):
            yield band[:, columns[left : left + MOSAIC_TILE]]


def _mirrored(size: int, period: int) -> NDArray[np.int64]:
    place = np.arange(-(-size // MOSAIC_TILE) * MOSAIC_TILE) % (2 * period)
    return np.minimum(place, 2 * period - 1 - place)


def _smaller(image: Rgb, step: int) -> Rgb:
    size = (max(image.shape[1] // step, 1), max(image.shape[0] // step, 1))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _jpeg(mpp: float, quality: int) -> dict[str, object]:
    per_centimetre = 1e4 / mpp
    return {
        "photometric": "rgb",
        "compression": "jpeg",
        "compressionargs": {"level": quality},
        "resolution": (per_centimetre, per_centimetre),
        "resolutionunit": "CENTIMETER",
        "software": "napari-histoanno sample data",
        "maxworkers": 1,
    }


def _first(name: str, levels: int, mpp: float) -> dict[str, object]:
    metadata = {
        "axes": "YXS",
        "Name": name.split(".")[0],
        "UUID": f"urn:uuid:{uuid.uuid5(_NAMESPACE, name)}",
        "PhysicalSizeX": mpp,
        "PhysicalSizeY": mpp,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeYUnit": "µm",
    }
    return {"subifds": levels, "metadata": metadata}


def write_truth(folder: Path, name: str, slide: SyntheticSlide) -> None:
    """Write what is true of a slide beside it.

    ``<name>.regions.png`` (class ids), ``<name>.instances.tif`` (nucleus ids, uint16 or uint32, zstd) and
    ``<name>.nuclei.npz`` (the columns of :class:`NucleusTable`).
    """
    cv2.imwrite(str(folder / f"{name}.regions.png"), slide.regions, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    narrow = np.uint16 if len(slide.nucleus_classes) < 2**16 else np.uint32
    tifffile.imwrite(
        folder / f"{name}.instances.tif",
        slide.instances.astype(narrow),
        tile=(512, 512),
        compression="zstd",
        compressionargs={"level": 19},
        metadata=None,
        software="napari-histoanno sample data",
    )
    table = asdict(slide.nuclei())
    for column in ("ellipses", "points"):
        table[column] = table[column].astype(np.float32)
    np.savez_compressed(folder / f"{name}.nuclei.npz", **table)
