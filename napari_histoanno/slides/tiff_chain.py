"""Whether a TIFF's list of pages is whole.

tifffile reads as many pages as it can and logs the rest. A pyramid cut off in copying would then open with fewer
levels and nobody would notice, so the list is walked to its end first: a page that lies beyond the file's end means
that the file is truncated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_histoanno.slides.errors import SlideError
from napari_histoanno.slides.tiff_segments import truncated

if TYPE_CHECKING:
    from typing import Literal

    from napari_histoanno.slides.tiff_segments import PositionedFile

MAX_PAGES = 100_000
CLASSIC = (42, 8, 2, 12, 4)
BIG = (43, 16, 8, 20, 8)


def check_pages(file: PositionedFile) -> None:
    """Walk the list of pages.

    Raises
    ------
    SlideError
        If it leads beyond the end of the file, or in a circle.
    """
    header = file.read(0, min(16, file.size))
    order: Literal["little", "big"] = "little" if header[:2] == b"II" else "big"
    version, size, count_bytes, tag_bytes, offset_bytes = BIG if header[2:4] in {b"+\0", b"\0+"} else CLASSIC
    if len(header) < size or int.from_bytes(header[2:4], order) != version:
        raise truncated(file.path, 0, size, file.size)
    offset = int.from_bytes(header[size - offset_bytes : size], order)
    seen: set[int] = set()
    while offset:
        if offset in seen or len(seen) > MAX_PAGES:
            raise SlideError(file.path, "the file is damaged: its list of pages has no end", "copy it again")
        seen.add(offset)
        tags = int.from_bytes(file.read(offset, count_bytes), order)
        offset = int.from_bytes(file.read(offset + count_bytes + tags * tag_bytes, offset_bytes), order)
