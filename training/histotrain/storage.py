"""A `PatchSet` on disk: a zarr group with one chunk per patch.

One chunk per patch makes a single patch cheap to read from outside (any zarr reader can do it) and lets equal patch
sets have equal bytes. Repeated texts (slides, annotators, kinds) are stored once each, with an index per patch.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from histotrain.data import _ARRAYS, _PER_PATCH_TEXT, PatchSet
from histotrain.errors import TrainingError

FORMAT = "histotrain.patchset"
VERSION = 1


def write_patches(patches: PatchSet, path: Path) -> None:
    """Write the patches beside ``path`` first and then move them there, so that a reader never sees half a set."""
    import zarr
    from zarr.codecs import ZstdCodec

    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        group = zarr.open_group(scratch, mode="w", zarr_format=3)
        texts: dict[str, list[str]] = {}
        arrays: dict[str, Any] = {name: getattr(patches, name) for name in _ARRAYS}
        for name in _PER_PATCH_TEXT:
            known, index = np.unique(getattr(patches, name).astype(str), return_inverse=True)
            texts[name] = known.tolist()
            arrays[name] = index.astype(np.int32)
        for name, value in arrays.items():
            if value is None:
                continue
            chunks = (1, *value.shape[1:]) if value.ndim > 1 else (max(1, len(value)),)
            array = group.create_array(
                name, shape=value.shape, dtype=value.dtype, chunks=chunks, compressors=ZstdCodec(level=3)
            )
            array[...] = value
        group.attrs.update(
            format=FORMAT,
            version=VERSION,
            classes=list(patches.classes),
            class_ids=list(patches.class_ids),
            scheme=patches.scheme,
            lineage=patches.lineage,
            texts=texts,
        )
        if path.exists():
            shutil.rmtree(path)
        scratch.rename(path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def read_patches(path: Path) -> PatchSet:
    """Patches written by `write_patches`; raises TrainingError if the folder holds none."""
    import zarr

    hint = "Choose the .zarr folder of an exported patch set."
    try:
        group = zarr.open_group(path, mode="r")
    except (FileNotFoundError, ValueError, KeyError) as error:
        raise TrainingError(f"cannot read patches from {path}", str(error) or type(error).__name__, hint) from error
    attrs = dict(group.attrs)
    if attrs.get("format") != FORMAT:
        raise TrainingError(f"{path} is not a patch set", "its attributes do not say so", hint)
    if int(str(attrs["version"])) > VERSION:
        raise TrainingError(f"cannot read patches from {path}", "a newer version wrote them", "Update this software.")
    values: dict[str, Any] = {name: np.asarray(group[name]) for name in _ARRAYS if name in group}
    texts: dict[str, list[str]] = attrs["texts"]
    for name, known in texts.items():
        values[name] = np.array(known, dtype=object)[np.asarray(group[name])]
    return PatchSet(
        **values,
        classes=tuple(attrs["classes"]),
        class_ids=tuple(attrs["class_ids"]),
        scheme=attrs["scheme"],
        lineage=attrs["lineage"],
    )
