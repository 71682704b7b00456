"""A dataset is there in full or not at all, equal when repeated, and never in place of somebody's files."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from napari_histoanno.datasets import DatasetError, ExportCancelled, ExportKind, ExportSpec, Manifest, export_dataset
from napari_histoanno.datasets.export import png
from tests.datasets.conftest import MPP, annotate_region

if TYPE_CHECKING:
    from pathlib import Path

    from napari_histoanno.project import Project

SPEC = ExportSpec(kind="png", mpp=MPP, patch_size=64)
KINDS = [ExportSpec(kind=kind, mpp=0.75, patch_size=96) for kind in ExportKind]


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("spec", KINDS, ids=lambda spec: str(spec.kind))
def test_repeating_an_export_gives_the_same_bytes(
    project: Project, slide: str, tmp_path: Path, spec: ExportSpec
) -> None:
    annotate_region(project, slide)
    manifest = export_dataset(project, tmp_path / "one", spec)
    export_dataset(project, tmp_path / "two", spec)
    files = files_of(tmp_path / "one")
    assert files == files_of(tmp_path / "two")
    assert set(files) == {*manifest.files, "manifest.json"}
    assert Manifest.load(tmp_path / "one") == manifest
    assert str(tmp_path).encode() not in b"".join(files.values())


def test_the_manifest_says_what_and_where_from(project: Project, slide: str, tmp_path: Path) -> None:
    annotate_region(project, slide)
    manifest = export_dataset(project, tmp_path / "out", SPEC)
    (described,) = manifest.slides
    assert described["fingerprint"] == project.find_slide(slide).fingerprint
    assert described["name"] == "first"
    assert [entry["name"] for entry in manifest.scheme] == ["tumour", "stroma", "Background"]
    assert manifest.spec["patch_size"] == 64
    assert manifest.unlabelled == 255
    assert "napari-histoanno" in manifest.versions
    assert manifest.verify(tmp_path / "out") == ()
    (tmp_path / "out" / "classes.json").write_text("{}", encoding="utf-8")
    assert manifest.verify(tmp_path / "out") == ("classes.json",)


def test_an_older_export_is_replaced(project: Project, slide: str, tmp_path: Path) -> None:
    annotate_region(project, slide)
    export_dataset(project, tmp_path / "out", SPEC)
    export_dataset(project, tmp_path / "out", ExportSpec(kind="png", mpp=2.0, patch_size=64))
    assert Manifest.load(tmp_path / "out").spec["mpp"] == 2.0
    assert Manifest.load(tmp_path / "out").verify(tmp_path / "out") == ()
    assert {path.name for path in tmp_path.iterdir()} == {"out", "project", "first.tif"}


def test_somebodys_files_are_never_replaced(project: Project, slide: str, tmp_path: Path) -> None:
    annotate_region(project, slide)
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(DatasetError, match="not empty"):
        export_dataset(project, out, SPEC)
    (out / "thesis.txt").unlink()
    export_dataset(project, out, SPEC)
    (out / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"'notes.txt' was added"):
        export_dataset(project, out, SPEC)
    with pytest.raises(DatasetError, match="a file of this name"):
        export_dataset(project, out / "notes.txt", SPEC)


def test_a_foreign_manifest_protects_its_folder(project: Project, slide: str, tmp_path: Path) -> None:
    annotate_region(project, slide)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "manifest.json").write_text('{"name": "web app"}', encoding="utf-8")
    with pytest.raises(DatasetError, match="not a dataset of this program"):
        export_dataset(project, tmp_path / "out", SPEC)


def test_a_full_disk_leaves_nothing_behind(
    project: Project, slide: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    annotate_region(project, slide)
    write, written = png.write_rgb_png, []

    def full_after_three(path: Path, image: object) -> None:
        if len(written) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path)
        write(path, image)

    monkeypatch.setattr(png, "write_rgb_png", full_after_three)
    with pytest.raises(DatasetError, match=r"the disk is full.*nothing was left behind"):
        export_dataset(project, tmp_path / "out", SPEC)
    assert {path.name for path in tmp_path.iterdir()} == {"project", "first.tif"}


def test_a_failed_export_keeps_the_one_before(
    project: Project, slide: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    annotate_region(project, slide)
    export_dataset(project, tmp_path / "out", SPEC)
    before = files_of(tmp_path / "out")

    def fail(path: Path, image: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(png, "write_rgb_png", fail)
    with pytest.raises(DatasetError, match="Input/output error"):
        export_dataset(project, tmp_path / "out", SPEC)
    assert files_of(tmp_path / "out") == before


@pytest.mark.parametrize("spec", KINDS, ids=lambda spec: str(spec.kind))
def test_a_stopped_export_leaves_nothing_behind(project: Project, slide: str, tmp_path: Path, spec: ExportSpec) -> None:
    annotate_region(project, slide)
    steps: list[tuple[int, int]] = []
    with pytest.raises(ExportCancelled):
        export_dataset(
            project,
            tmp_path / "out",
            spec,
            progress=lambda done, total: steps.append((done, total)),
            cancelled=lambda: bool(steps),
        )
    assert {path.name for path in tmp_path.iterdir()} == {"project", "first.tif"}


@pytest.mark.parametrize("spec", KINDS, ids=lambda spec: str(spec.kind))
def test_progress_ends_with_everything_done(project: Project, slide: str, tmp_path: Path, spec: ExportSpec) -> None:
    annotate_region(project, slide)
    steps: list[tuple[int, int]] = []
    export_dataset(project, tmp_path / "out", spec, progress=lambda done, total: steps.append((done, total)))
    assert [done for done, _ in steps] == list(range(1, steps[-1][1] + 1))


@pytest.mark.parametrize("spec", KINDS, ids=lambda spec: str(spec.kind))
def test_nothing_annotated_is_an_error_and_not_an_empty_folder(
    project: Project, slide: str, tmp_path: Path, spec: ExportSpec
) -> None:
    with pytest.raises(DatasetError, match="nothing is annotated"):
        export_dataset(project, tmp_path / "out", spec)
    assert not (tmp_path / "out").exists()
