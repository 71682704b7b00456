"""Encoded tiles and strips of one TIFF page: where they lie, and how they decode.

tifffile reads the structure of a file once; its array readers are slow for regions, so the tiles are fetched and
decoded directly. No number in the file is believed before it is checked: an offset may point past the end, a tile may
claim to decode to terabytes, and a JPEG inside a 256 px tile may say that it is 65,535 px wide.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import numpy.typing as npt

from napari_histoanno.slides.errors import SlideError
from napari_histoanno.slides.rgb import CMYK, RGB, YCBCR, Samples

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tifffile import TiffPage

JPEG = {6, 7, 33007, 34892}
OLD_JPEG = 6
JPEG2000 = {33003, 33004, 33005, 34712}
APERIO_YCBCR = 33003
WEBP = 50001
MAX_SEGMENT_BYTES = 1 << 30
MAX_SIDE = 1 << 31
STRIP_ROWS = 256


class PositionedFile:
    """Reads at positions, from many threads at once.

    The descriptor closes when the last user lets go of it, so that a reader in another thread never meets a descriptor
    number that meanwhile belongs to another file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        status = os.fstat(self._descriptor)
        self.size = status.st_size
        self.identity = (str(path), status.st_size, status.st_mtime_ns)
        self._lock = threading.Lock()

    def read(self, offset: int, count: int) -> bytes:
        """Exactly ``count`` bytes.

        Raises
        ------
        SlideError
            If the file ends before.
        """
        if offset < 0 or count < 0 or offset + count > self.size:
            raise truncated(self.path, offset, count, self.size)
        try:
            if hasattr(os, "pread"):
                data = os.pread(self._descriptor, count, offset)
            else:
                with self._lock:
                    os.lseek(self._descriptor, offset, os.SEEK_SET)
                    data = os.read(self._descriptor, count)
        except OSError as error:
            raise SlideError(self.path, f"reading failed: {error}", "check the disk or network connection") from error
        if len(data) != count:
            raise truncated(self.path, offset, count, self.size)
        return data

    def __del__(self) -> None:
        """Close."""
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)


def truncated(path: Path, offset: int, count: int, size: int) -> SlideError:
    """The error for data that lies beyond the end of a file."""
    reason = f"the file is truncated or damaged: {count} bytes at {offset} lie beyond its end ({size} bytes)"
    return SlideError(path, reason, "copy the file again from its source")


@dataclass(frozen=True)
class Segments:
    """The encoded blocks of one plane of an image.

    Parameters
    ----------
    height, width : int
        Of a block in pixels; strips are as wide as the image.
    offsets, counts : ndarray, int64, shape (n,)
        Where each block lies in the file; a count of 0 is a block that was never written.
    decode : callable
        (bytes, index) -> (h, w, samples), h and w at most those of a block.
    """

    height: int
    width: int
    offsets: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    decode: Any


def segments_of(path: Path, page: TiffPage) -> Segments:
    """Check a page's structure and prepare its decoding; the file must still be open in tifffile.

    Raises
    ------
    SlideError
        If the page is damaged, or compressed in a way that cannot be read here.
    """
    height, width = int(page.imagelength), int(page.imagewidth)
    if not (0 < height < MAX_SIDE and 0 < width < MAX_SIDE) or page.imagedepth != 1:
        raise SlideError(path, f"the image claims to measure {width} × {height} px", "check that it is an image")
    tiled = bool(page.is_tiled)
    rows = int(page.tilelength if tiled else min(page.rowsperstrip, height))
    columns = int(page.tilewidth if tiled else width)
    contiguous = int(page.samplesperpixel) if page.planarconfig == 1 else 1
    if rows <= 0 or columns <= 0:
        raise SlideError(path, f"the image claims tiles of {columns} × {rows} px", "check the file in another program")
    planes = 1 if page.planarconfig == 1 else int(page.samplesperpixel)
    needed = -(-height // rows) * -(-width // columns) * planes
    if min(len(page.dataoffsets), len(page.databytecounts)) < needed:
        reason = f"the image needs {needed} tiles or strips but the file lists {len(page.dataoffsets)}"
        raise SlideError(path, f"the file is damaged: {reason}", "copy the file again from its source")
    offsets = np.asarray(page.dataoffsets[:needed], np.int64)
    counts = np.asarray(page.databytecounts[:needed], np.int64)
    segments = Segments(rows, columns, offsets, counts, _decoder(path, page))
    if _is_plain(page) and not tiled:
        segments = _split_strips(segments, page, contiguous)
    decoded = segments.height * segments.width * contiguous * page.dtype.itemsize
    if decoded > MAX_SEGMENT_BYTES:
        reason = f"one block of it decodes to {decoded >> 20} MB, too much to read regions from"
        raise SlideError(path, reason, "save it as a tiled, pyramidal TIFF (QuPath, Bio-Formats and vips can)")
    return segments


def _is_plain(page: TiffPage) -> bool:
    """Whether the bytes in the file are the samples."""
    return (
        page.compression == 1
        and page.predictor == 1
        and page.fillorder == 1
        and page.bitspersample in {8, 16, 32, 64}
        and page.dtype.itemsize * 8 == page.bitspersample
    )


def _split_strips(segments: Segments, page: TiffPage, samples: int) -> Segments:
    """The same uncompressed strips in pieces of at most `STRIP_ROWS` rows; many programs write one strip in all."""
    height, rows = int(page.imagelength), segments.height
    dtype = page.dtype.newbyteorder(page.parent.byteorder)
    row_bytes = segments.width * samples * dtype.itemsize

    def decode(data: bytes, index: int) -> Samples:
        strip: Samples = np.frombuffer(data, dtype).reshape(-1, segments.width, samples)
        return strip

    if rows <= STRIP_ROWS or rows < height:
        step = next((n for n in range(min(rows, STRIP_ROWS), 0, -1) if rows % n == 0), rows)
    else:
        step = STRIP_ROWS
    offsets, counts = [], []
    strips = -(-height // rows)
    for i, (offset, count) in enumerate(zip(segments.offsets, segments.counts, strict=True)):
        here = min(rows, height - i % strips * rows)
        for first in range(0, here, step):
            offsets.append(offset + first * row_bytes)
            counts.append(min(step, here - first) * row_bytes if count else 0)
    return Segments(step, segments.width, np.asarray(offsets, np.int64), np.asarray(counts, np.int64), decode)


def _decoder(path: Path, page: TiffPage) -> Any:
    decode, tables = page.decode, page.jpegtables

    def general(data: bytes, index: int) -> Samples:
        block: Samples = decode(data, index, jpegtables=tables)[0][0]
        return block

    try:
        decode(None, 0)
    except Exception as error:
        reason = f"its compression or sample type is not supported here ({error})"
        raise SlideError(path, reason, "convert it to a tiled TIFF with JPEG or deflate compression") from error
    if page.compression in JPEG:
        return _jpeg_decoder(page, general)
    if page.compression in JPEG2000:
        return _bounded(page, _jpeg2000_size, general)
    if page.compression == WEBP:
        return _bounded(page, _webp_size, general)
    return general


def _jpeg_decoder(page: TiffPage, general: Any) -> Any:
    """libjpeg-turbo into a buffer of the tile's own size; what does not fit it takes the slower, general way."""
    samples = int(page.samplesperpixel) if page.planarconfig == 1 else 1
    shape = (int(page.tilelength), int(page.tilewidth), samples) if page.is_tiled else None
    tables = page.jpegtables
    colours, wanted = None, None
    if page.planarconfig != 1 or samples < 3:
        wanted = "GRAYSCALE" if samples == 1 else None
    elif page.photometric == YCBCR:
        wanted = "RGB"
    elif page.photometric == RGB:
        colours, wanted = (None if page.is_jfif else "RGB"), "RGB"
    elif page.photometric == CMYK:
        wanted = "CMYK"
    bounded = _bounded(page, jpeg_size, general)
    if shape is None or samples not in {1, 3} or page.bitspersample != 8 or page.compression == OLD_JPEG:
        return bounded

    def fast(data: bytes, index: int) -> Samples:
        tile = np.empty(shape if samples > 1 else shape[:2], np.uint8)
        try:
            imagecodecs.jpeg8_decode(data, tables=tables, colorspace=colours, outcolorspace=wanted, out=tile)
        except (ValueError, imagecodecs.Jpeg8Error):
            return np.asarray(bounded(data, index))
        return tile.reshape(shape)

    return fast


def _bounded(page: TiffPage, size_of: Callable[[bytes], tuple[int, int] | None], decode: Any) -> Any:
    """Refuse blocks whose own header claims more pixels than a block of this page may have."""
    limit = (
        (int(page.tilelength), int(page.tilewidth)) if page.is_tiled else (int(page.rowsperstrip), int(page.imagewidth))
    )
    limit = min(limit[0], max(int(page.imagelength), limit[0] if page.is_tiled else 0)), limit[1]

    def decode_bounded(data: bytes, index: int) -> Samples:
        claimed = size_of(data)
        if claimed is not None and (claimed[0] > limit[0] or claimed[1] > limit[1]):
            raise ValueError(f"a block of {limit[1]} × {limit[0]} px claims to hold {claimed[1]} × {claimed[0]} px")
        return np.asarray(decode(data, index))

    return decode_bounded


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """(height, width) in the frame header of a JPEG stream, or None if there is none."""
    position = 2
    while position + 9 < len(data):
        if data[position] != 0xFF:
            return None
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            return int.from_bytes(data[position + 5 : position + 7]), int.from_bytes(data[position + 7 : position + 9])
        if marker == 0xDA:
            return None
        position += 2 if 0xD0 <= marker <= 0xD9 else 2 + int.from_bytes(data[position + 2 : position + 4])
    return None


def _jpeg2000_size(data: bytes) -> tuple[int, int] | None:
    """(height, width) in the SIZ marker of a JPEG 2000 code stream."""
    start = data.find(b"\xff\x4f\xff\x51", 0, 4096)
    if start < 0 or len(data) < start + 24:
        return None
    right, bottom, left, top = (int.from_bytes(data[start + 8 + 4 * i : start + 12 + 4 * i]) for i in range(4))
    return bottom - top, right - left


def _webp_size(data: bytes) -> tuple[int, int] | None:
    """(height, width) in the first chunk of a WebP file."""
    kind = data[12:16]
    if kind == b"VP8X":
        return int.from_bytes(data[27:30], "little") + 1, int.from_bytes(data[24:27], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    if kind == b"VP8 ":
        return int.from_bytes(data[28:30], "little") & 0x3FFF, int.from_bytes(data[26:28], "little") & 0x3FFF
    return None
