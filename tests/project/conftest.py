"""A project with one slide, and slides that are nothing but their header."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from napari_histoanno.annotation import LabelScheme
from napari_histoanno.project import Project, SlideRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType

SCHEME = LabelScheme.from_names(["tumour", "stroma"])


class HeaderSlide:
    """A slide that is a JSON file with its size; its fingerprint is that of the text."""

    def __init__(self, path: Path) -> None:
        self.path = path
        header = json.loads(path.read_text())
        self.dimensions = (header["width"], header["height"])
        self.mpp = header.get("mpp")

    def fingerprint(self) -> str:
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    def close(self) -> None:
        pass

    def __enter__(self) -> HeaderSlide:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def write_slide(path: Path, width: int = 100_000, height: int = 80_000, **more: object) -> Path:
    path.write_text(json.dumps({"width": width, "height": height, "mpp": 0.25, **more}))
    return path


@pytest.fixture
def make_slide() -> Callable[..., Path]:
    return write_slide


@pytest.fixture
def opener() -> type[HeaderSlide]:
    return HeaderSlide


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "project"


@pytest.fixture
def project(folder: Path) -> Iterator[Project]:
    with Project.create(folder, scheme=SCHEME, annotator="ann", opener=HeaderSlide) as project:
        yield project


@pytest.fixture
def slide(project: Project, tmp_path: Path) -> SlideRecord:
    return project.add_slide(write_slide(tmp_path / "a.svs"))


@pytest.fixture
def reopen(folder: Path) -> Callable[[], Project]:
    return lambda: Project.open(folder, opener=HeaderSlide)
