"""What a dataset consists of and where it comes from, in a file beside it.

Everything in it follows from the project and the spec: no times, no paths of the machine, files in order. A dataset
that is exported again is therefore equal byte for byte, the manifest included, and a difference means that something
changed.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from napari_histoanno import __version__
from napari_histoanno.datasets.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILE_NAME = "manifest.json"
FORMAT = "napari-histoanno dataset"
_VERSION = 1
_LIBRARIES = ("imagecodecs", "numpy", "pillow", "pycocotools", "shapely", "tifffile", "zarr")


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a dataset."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """Contents and lineage of an exported dataset.

    Parameters
    ----------
    kind : str
        Kind of export.
    files : mapping from path to FileEntry
        Relative, with forward slashes, sorted; all but the manifest itself.
    splits : mapping from split to dict
        Numbers of what was exported: patches and labelled pixels of each class, or slides.
    slides : tuple of dict
        Id, name, size, mpp, patient, split, fingerprint and annotations digest.
    scheme, classes : list of dict
        The project's label scheme, and the classes that this dataset shows.
    unlabelled : int or None
        Value of unlabelled pixels in masks; None where they became a class or the format has no masks.
    spec : dict
        What was asked for.
    versions : mapping from name to str
        This program and the libraries that wrote the files.
    """

    kind: str
    files: Mapping[str, FileEntry]
    splits: Mapping[str, Mapping[str, Any]]
    slides: tuple[Mapping[str, Any], ...]
    scheme: list[dict[str, Any]]
    classes: list[dict[str, Any]]
    unlabelled: int | None
    spec: Mapping[str, Any]
    versions: Mapping[str, str] = field(default_factory=lambda: library_versions())

    def save(self, folder: Path) -> None:
        """Write ``manifest.json`` into the dataset's folder."""
        values = {"format": FORMAT, "version": _VERSION, **asdict(self)}
        (folder / FILE_NAME).write_text(json_text(values), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """Manifest of a dataset; raises DatasetError if the folder holds none."""
        try:
            values = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
            if values.pop("format") != FORMAT or values.pop("version") > _VERSION:
                raise ValueError("it is of another program or a newer version")
            files = {path: FileEntry(**entry) for path, entry in values.pop("files").items()}
            return cls(files=files, slides=tuple(values.pop("slides")), **values)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DatasetError(
                f"{folder} is not a dataset of this program: {error}. Choose the folder of an export."
            ) from error

    def verify(self, folder: Path) -> tuple[str, ...]:
        """Files of the dataset that are missing or changed, sorted."""
        wrong = []
        for path, entry in self.files.items():
            file = folder / path
            if not file.is_file() or _hash(file) != entry:
                wrong.append(path)
        return tuple(sorted(wrong))


def hash_files(folder: Path) -> dict[str, FileEntry]:
    """Every file below a folder by its relative path, sorted, without a manifest at the top."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    entries = {name: _hash(found[name]) for name in sorted(found)}
    entries.pop(FILE_NAME, None)
    return entries


def library_versions() -> dict[str, str]:
    """Version of this program and of the libraries that write datasets."""
    found = {"napari-histoanno": __version__}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def json_text(values: Any) -> str:
    """JSON in one fixed form: sorted keys, readable, a newline at the end."""
    return json.dumps(values, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _hash(path: Path) -> FileEntry:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return FileEntry(digest.hexdigest(), path.stat().st_size)
