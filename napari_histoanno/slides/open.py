"""Find the reader for a file by looking into it, never by its name alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_histoanno.slides import openslide as vendor_formats
from napari_histoanno.slides.errors import SlideError
from napari_histoanno.slides.openslide import OpenSlideSlide
from napari_histoanno.slides.raster import RasterSlide
from napari_histoanno.slides.tiff import TiffSlide

if TYPE_CHECKING:
    import os

    from napari_histoanno.slides.slide import Slide

TIFF_MAGIC = {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}
ZARR_METADATA = ("zarr.json", ".zgroup")
READ_AS_TIFF = {None, "aperio", "generic-tiff"}


def open_slide(path: str | os.PathLike[str]) -> Slide:
    """Open a slide or picture for lazy reading.

    Parameters
    ----------
    path : path-like
        A file; or a folder: an OME-Zarr, the files of one DICOM slide, or an MRXS slide with its ``.mrxs`` beside it.

    Returns
    -------
    Slide
        A context manager; may be shared between threads and pickled to other processes.

    Raises
    ------
    SlideError
        If it is missing, unreadable, damaged, or of a kind that no reader knows; says which, and what to try.

    Examples
    --------
    >>> with open_slide("slide.svs") as slide:                        # doctest: +SKIP
    ...     corner = slide.read_region((0, 0), level=0, size=(256, 256))
    """
    path = Path(path).absolute()
    try:
        if path.is_dir():
            return _open_folder(path)
        return _open_file(path)
    except FileNotFoundError as error:
        raise SlideError(path, "there is no such file", "check the path, or locate the slide anew") from error
    except PermissionError as error:
        raise SlideError(path, "you are not allowed to read it", "ask for read permission, or copy the file") from error
    except OSError as error:
        raise SlideError(path, f"it cannot be read ({error.strerror or error})", "check the disk or network") from error


def _open_file(path: Path) -> Slide:
    with path.open("rb") as stream:
        magic = stream.read(4)
    if not magic:
        raise SlideError(path, "the file is empty", "copy it again from its source")
    vendor = vendor_formats.detect(path)
    if magic in TIFF_MAGIC and vendor in READ_AS_TIFF:
        return TiffSlide(path)
    if vendor is not None:
        return OpenSlideSlide(path, path)
    return RasterSlide(path)


def _open_folder(path: Path) -> Slide:
    beside = path.with_name(path.name + ".mrxs")
    if beside.is_file():
        return _open_file(beside)
    if any((path / name).is_file() for name in ZARR_METADATA):
        from napari_histoanno.slides.zarr import ZarrSlide

        return ZarrSlide(path)
    for file in sorted(path.iterdir()):
        if file.is_file() and vendor_formats.detect(file) == "dicom":
            return OpenSlideSlide(path, file)
    raise SlideError(
        path, "it is a folder without a slide in it", "choose the slide file itself, or a DICOM or OME-Zarr folder"
    )
