"""One process writes; others read, follow, and know whom to ask."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_histoanno.annotation import Annotation, Granularity, Point
from napari_histoanno.project import Project, ProjectError, SlideRecord, lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OWN = """
import sys
from napari_histoanno.project import Project
project = Project.open(sys.argv[1])
print(project.read_only, flush=True)
sys.stdin.readline()
"""
FOLLOW = """
import sys
from napari_histoanno.project import Project
with Project.open(sys.argv[1]) as project:
    raster = project.raster(sys.argv[2])
    for _ in sys.stdin:
        print(project.read_only, project.lock_owner.pid, project.annotations.count(), raster.read(0, 0, 9, 0, 9).sum(),
              raster.read(3, 0, 9, 0, 9).max(), raster.counts(), flush=True)
"""


@contextmanager
def process(script: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", script, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            yield child
        finally:
            child.kill()


def ask(child: subprocess.Popen[str]) -> str:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write("\n")
    child.stdin.flush()
    return child.stdout.readline().strip()


def dot(slide: SlideRecord) -> Annotation:
    return Annotation(slide.id, Granularity.POINT, Point(1, 2), 1)


def test_a_second_handle_is_read_only_and_names_the_owner(
    project: Project, slide: SlideRecord, reopen: Callable[[], Project]
) -> None:
    with reopen() as second:
        assert second.read_only
        assert second.lock_owner is not None
        assert (second.lock_owner.host, second.lock_owner.pid) == (socket.gethostname(), os.getpid())
        for act in (
            lambda: second.annotations.add([dot(slide)]),
            lambda: second.raster(slide.id).write(0, 0, np.ones((1, 1), np.uint8)),
            lambda: second.set_scheme(second.scheme.with_class("fat")),
            lambda: second.set_setting("a", 1),
            lambda: second.remove_slide(slide.id),
            second.history.undo,
        ):
            with pytest.raises(ProjectError, match=rf"read-only: .*process {os.getpid()}\) is working on it"):
                act()
    assert project.annotations.add([dot(slide)])


def test_another_process_follows_the_owner(project: Project, slide: SlideRecord) -> None:
    raster = project.raster(slide.id)
    with process(FOLLOW, str(project.path), slide.id) as child:
        assert ask(child) == f"True {os.getpid()} 0 0 0 {{}}"
        project.annotations.add([dot(slide)])
        raster.write(0, 0, np.full((2, 3), 2, np.uint8))
        assert ask(child) == f"True {os.getpid()} 1 12 2 {{2: 6}}"
        project.history.undo()
        assert ask(child) == f"True {os.getpid()} 1 0 0 {{}}"


def test_the_lock_ends_with_its_process_even_by_kill(project: Project, reopen: Callable[[], Project]) -> None:
    project.close()
    with process(OWN, str(project.path)) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "False\n"
        with reopen() as second:
            assert second.lock_owner is not None
            assert second.lock_owner.pid == child.pid
        child.send_signal(signal.SIGKILL)
        child.wait()
    with reopen() as third:
        assert not third.read_only


def test_closing_gives_the_lock_back(project: Project, reopen: Callable[[], Project]) -> None:
    project.close()
    with reopen() as second:
        assert not second.read_only


def test_asking_for_read_only_takes_no_lock(project: Project, reopen: Callable[[], Project]) -> None:
    project.close()
    with Project.open(project.path, read_only=True) as reader, reopen() as writer:
        assert reader.read_only
        assert reader.lock_owner is None
        assert not writer.read_only
        writer.set_setting("a", 1)
        assert reader.get_setting("a") == 1


@pytest.mark.parametrize(
    ("host", "pid", "taken_over"),
    [(socket.gethostname(), "dead", True), (socket.gethostname(), "alive", False), ("elsewhere", "dead", False)],
)
def test_without_locks_of_the_system_the_text_decides(
    project: Project, monkeypatch: pytest.MonkeyPatch, host: str, pid: str, taken_over: bool
) -> None:
    project.close()
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    owner = {"owner": "bob", "host": host, "pid": gone.pid if pid == "dead" else os.getpid()}
    (project.path / lock.LOCK_NAME).write_text(json.dumps(owner))

    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOLCK, "no locks here")

    monkeypatch.setattr(lock, "_lock", refuse)
    with Project.open(project.path) as again:
        assert again.read_only is not taken_over
        assert (again.lock_owner is None) is taken_over


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that other users can reach."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextmanager
def without_write_access(folder: Path) -> Iterator[None]:
    """Nobody can write in the folder, not even the super-user running the test."""
    user = os.geteuid()
    folder.chmod(0o555)
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        if user == 0:
            os.seteuid(0)
        folder.chmod(0o755)


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of folders work otherwise on Windows")
@pytest.mark.parametrize("killed", [False, True])
def test_a_folder_without_write_access_can_be_read(
    public_folder: Path, make_slide: Callable[..., Path], opener: Callable[[Path], object], killed: bool
) -> None:
    folder = public_folder / "p"
    with Project.create(folder, opener=opener) as project:
        slide = project.add_slide(make_slide(public_folder / "a.svs"))
        project.annotations.add([dot(slide)])
        if killed:  # commits are in the log only, and the log's index is gone
            saved = {name: (folder / name).read_bytes() for name in ("project.db", "project.db-wal")}
    if killed:
        for name, content in saved.items():
            (folder / name).write_bytes(content)
    with without_write_access(folder), Project.open(folder) as reader:
        assert reader.read_only
        assert reader.annotations.count() == 1
        with pytest.raises(ProjectError, match="you may not write"):
            reader.set_annotator("bob")
    with Project.open(folder) as writer:
        assert writer.annotations.count() == 1
