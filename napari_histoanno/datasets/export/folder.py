"""A folder that is there in full or not at all.

A dataset is written beside its place and moved there when it is complete. What was there before is replaced only if
this program wrote it and nobody has added to it; a person's files are never deleted.
"""

from __future__ import annotations

import errno
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

from napari_histoanno.datasets.errors import DatasetError
from napari_histoanno.datasets.export.manifest import FILE_NAME, Manifest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_IGNORED = {".DS_Store", "Thumbs.db", "desktop.ini"}


@contextmanager
def complete_folder(out: Path) -> Iterator[Path]:
    """A fresh folder to write to, which becomes ``out`` when the block ends without an exception.

    Parameters
    ----------
    out : Path
        Where the dataset shall be; may exist if it is empty or holds a dataset of this program.

    Raises
    ------
    DatasetError
        If ``out`` holds anything else, or cannot be written.
    """
    check_replaceable(out)
    scratch = out.parent / f".{out.name}.{uuid4().hex[:8]}.partial"
    try:
        scratch.mkdir(parents=True)
        yield scratch
        _move(scratch, out)
    except OSError as error:
        raise DatasetError(_explain(out, error)) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def check_replaceable(out: Path) -> None:
    """Raise DatasetError unless ``out`` is absent, empty, or a dataset of this program to which nothing was added."""
    refusal = f"Cannot write a dataset to {out}"
    if not out.exists():
        return
    if not out.is_dir():
        raise DatasetError(f"{refusal}: there is a file of this name. Choose another folder.")
    files = (path for path in out.rglob("*") if path.is_file() and path.name not in _IGNORED)
    present = {path.relative_to(out).as_posix() for path in files}
    if not present:
        return
    if FILE_NAME not in present:
        raise DatasetError(f"{refusal}: the folder is not empty and not a dataset of ours. Choose another folder.")
    foreign = sorted(present - set(Manifest.load(out).files) - {FILE_NAME})
    if foreign:
        raise DatasetError(
            f"{refusal}: {foreign[0]!r} was added to the dataset there and would be lost. Move it away, or choose "
            "another folder."
        )


def _move(scratch: Path, out: Path) -> None:
    if not out.exists():
        scratch.rename(out)
        return
    old = scratch.with_suffix(".old")
    out.rename(old)
    try:
        scratch.rename(out)
    except OSError:
        old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _explain(out: Path, error: OSError) -> str:
    refusal = f"Cannot write the dataset to {out}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{refusal}: the disk is full. Free some space, or choose another disk; nothing was left behind."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{refusal}: no permission. Choose a folder you may write to."
    return f"{refusal}: {error.strerror or error}. Nothing was left behind."
