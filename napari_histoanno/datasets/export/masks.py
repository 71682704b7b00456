"""Class masks as pictures in which the values are the classes and the colours are those of the scheme."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_histoanno.datasets.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_histoanno.annotation import LabelScheme

UNLABELLED_COLOR = (0, 0, 0)


class MaskCoding:
    """How label maps become mask values.

    Parameters
    ----------
    classes : LabelScheme
        The classes that are shown.
    unlabelled : int
        0 or 255: the value of unlabelled pixels.

    Raises
    ------
    DatasetError
        If a class has the value of unlabelled pixels.
    """

    def __init__(self, classes: LabelScheme, unlabelled: int) -> None:
        if unlabelled in classes:
            name = classes[unlabelled].name
            raise DatasetError(
                f"Class {name!r} has id {unlabelled}, which is the value of unlabelled pixels. Choose 0 for them."
            )
        self.classes = classes
        self.unlabelled = unlabelled

    def encode(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Mask values of a label map (0 = unlabelled)."""
        if self.unlabelled == 0:
            return labels
        return np.where(labels == 0, np.uint8(self.unlabelled), labels)

    @property
    def palette(self) -> NDArray[np.uint8]:
        """RGB of every value, uint8, shape (256, 3)."""
        colors = np.zeros((256, 3), np.uint8)
        colors[self.unlabelled] = UNLABELLED_COLOR
        for label in self.classes:
            colors[label.id] = label.color
        return colors

    def describe(self) -> dict[str, Any]:
        """What the values mean, as JSON values."""
        classes = [{"value": c.id, "name": c.name, "color": list(c.color), "grade": c.grade} for c in self.classes]
        return {"classes": classes, "unlabelled": {"value": self.unlabelled, "color": list(UNLABELLED_COLOR)}}


def write_palette_png(
    path: Path,
    bands: Iterable[NDArray[np.uint8]],
    size: tuple[int, int],
    *,
    palette: NDArray[np.uint8],
    mpp: float | None = None,
    text: Mapping[str, str] | None = None,
) -> None:
    """Write an indexed PNG band by band, so that its size is not bounded by memory.

    Parameters
    ----------
    path : Path
        The file.
    bands : iterable of uint8 arrays, shape (rows, width)
        From top to bottom; all together ``height`` rows.
    size : (width, height)
        In pixels.
    palette : uint8 array, shape (256, 3)
        RGB of every value.
    mpp : float, optional
        µm per pixel, kept as the physical pixel size.
    text : mapping, optional
        Latin-1 keywords and texts.
    """
    width, height = size
    with path.open("wb") as stream:

        def chunk(kind: bytes, data: bytes) -> None:
            stream.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))

        stream.write(b"\x89PNG\r\n\x1a\n")
        chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0))
        if mpp is not None:
            per_metre = round(1e6 / mpp)
            chunk(b"pHYs", struct.pack(">IIB", per_metre, per_metre, 1))
        for key, value in sorted((text or {}).items()):
            chunk(b"tEXt", key.encode("latin-1") + b"\0" + value.encode("latin-1", "replace"))
        chunk(b"PLTE", palette.tobytes())
        squeeze = zlib.compressobj(6)
        for band in bands:
            # Every row starts with its filter: none, as class ids are no gradients.
            rows = np.zeros((len(band), width + 1), np.uint8)
            rows[:, 1:] = band
            if data := squeeze.compress(rows.tobytes()):
                chunk(b"IDAT", data)
        chunk(b"IDAT", squeeze.flush())
        chunk(b"IEND", b"")
