"""Reading and writing by file name or by looking inside.

A format is an object with the few methods of :class:`.AnnotationFormat`; :func:`register` adds one. Formats are told
apart by content first, because ``.json`` and ``.xml`` mean a different thing in every tool; the ending decides only
for writing and for files that no format recognises.
"""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from napari_histoanno.formats.asap import Asap
from napari_histoanno.formats.base import AnnotationFile, AnnotationFormat, FormatError
from napari_histoanno.formats.geojson import GeoJson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_histoanno.annotation.model import Annotation
    from napari_histoanno.annotation.scheme import LabelScheme

_HEAD = 65536
_GZIP_MAGIC = b"\x1f\x8b"

_formats: dict[str, AnnotationFormat] = {}


def register(annotation_format: AnnotationFormat) -> None:
    """Make a format known to :func:`read_annotations` and :func:`write_annotations`."""
    _formats[annotation_format.name] = annotation_format


for _known in (GeoJson(), Asap()):
    register(_known)


def formats() -> tuple[AnnotationFormat, ...]:
    """Every known format, in the order in which files are tried."""
    return tuple(_formats.values())


def read_annotations(path: str | os.PathLike[str], format: str | None = None) -> AnnotationFile:  # noqa: A002
    """Annotations of a file written by this or another tool.

    Parameters
    ----------
    path : path-like
        The file; gzip is undone.
    format : str, optional
        Name of the format; by default found out from the content.

    Returns
    -------
    AnnotationFile
        Annotations in level-0 pixels, the classes they name, and what could not be read.

    Raises
    ------
    FormatError
        If the file cannot be read, or no format fits.
    """
    path = Path(path)
    data = _content(path)
    if format is not None:
        return _named(path, format).read(data, path)
    if not data.strip():
        raise FormatError(path, "the file is empty", "Export the annotations again.")
    for candidate in formats():
        if candidate.sniff(data[:_HEAD]):
            return candidate.read(data, path)
    for candidate in formats():
        if _bare_name(path).endswith(candidate.suffixes):
            return candidate.read(data, path)
    raise FormatError(path, "no known format fits its content", f"Known are {_titles()}; name one with format=….")


def write_annotations(
    path: str | os.PathLike[str],
    annotations: Sequence[Annotation],
    scheme: LabelScheme,
    format: str | None = None,  # noqa: A002
) -> None:
    """Write annotations to a file, whole or not at all.

    Parameters
    ----------
    path : path-like
        Where; a name that ends in ``.gz`` is compressed.
    annotations : sequence of Annotation
        Level-0 pixels.
    scheme : LabelScheme
        Classes of the annotations.
    format : str, optional
        Name of the format; by default found out from the file's ending.

    Raises
    ------
    FormatError
        If the format is unknown or cannot be written, or the file cannot.
    """
    path = Path(path)
    chosen = _named(path, format) if format is not None else _by_ending(path)
    if not chosen.writable:
        raise FormatError(path, f"{chosen.title} can only be read", "Write GeoJSON instead.")
    data = chosen.write(annotations, scheme, path)
    if path.suffix.lower() == ".gz":
        data = gzip.compress(data, compresslevel=6, mtime=0)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        unfinished.write_bytes(data)
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise FormatError(path, f"it cannot be written ({error.strerror})", "Choose another folder.") from error


def _content(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FormatError(
            path, f"it cannot be read ({error.strerror})", "Check the path and its permissions."
        ) from error
    if not data.startswith(_GZIP_MAGIC):
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise FormatError(path, f"it is compressed but damaged ({error})", "Copy or export it again.") from error


def _named(path: Path, name: str) -> AnnotationFormat:
    if name not in _formats:
        raise FormatError(path, f"there is no format {name!r}", f"Known are {', '.join(_formats)}.")
    return _formats[name]


def _by_ending(path: Path) -> AnnotationFormat:
    for candidate in formats():
        if candidate.writable and _bare_name(path).endswith(candidate.suffixes):
            return candidate
    endings = [ending for candidate in formats() if candidate.writable for ending in candidate.suffixes]
    raise FormatError(path, "its ending names no format that can be written", f"Use one of {', '.join(endings)}.")


def _bare_name(path: Path) -> str:
    return path.name.lower().removesuffix(".gz")


def _titles() -> str:
    return ", ".join(f"{candidate.title} ({candidate.name})" for candidate in formats())
