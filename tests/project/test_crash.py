"""What was acknowledged survives kill -9; the disk that fills up takes nothing with it."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from itertools import takewhile
from uuid import UUID

import numpy as np
import pytest

from napari_histoanno.annotation import Annotation, Granularity, Point
from napari_histoanno.project import Change, Project, ProjectError, SlideRecord
from napari_histoanno.project.chunks import CHUNK

KILLS = 20

# Starts a worker for each line it reads. A worker draws points and paints bars, with undo and redo now and then, and
# says what holds when each call has returned.
NURSERY = """
import os
import sys
import numpy as np
from napari_histoanno.annotation import Annotation, Granularity, Point
from napari_histoanno.project import Project

def work(folder, slide, first):
    with Project.open(folder) as project:
        assert not project.read_only
        raster = project.raster(slide)
        print(os.getpid(), flush=True)
        for n in range(first, 10**9):
            if n % 2:
                (record,) = project.annotations.add([Annotation(slide, Granularity.POINT, Point(n, n), 1)])
                done = f"drawn {n} {record.id}"
            else:
                y, x = n % 7000 * 11, n // 7000 * 800 + 400
                raster.write(y, x, np.full((9, 700), 1 + n % 3, np.uint8))
                done = f"painted {n}"
            if n % 5 == 0:
                project.history.undo()
                project.history.redo()
            os.write(1, f"{done}\\n".encode())  # in one piece, even where Python does not buffer

for line in sys.stdin:
    folder, slide, first = line.split("|")
    pid = os.fork()
    if pid == 0:
        work(folder, slide, int(first))
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status)
    print("ended", flush=True)
"""


def killed_at_random(nursery: subprocess.Popen[str], job: str, moment: random.Random) -> list[str]:
    """What a worker acknowledged before it was killed."""
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    nursery.stdin.write(job + "\n")
    nursery.stdin.flush()
    pid = int(nursery.stdout.readline())
    timer = threading.Timer(moment.uniform(0, 0.3), os.kill, [pid, signal.SIGKILL])
    timer.start()
    lines = list(takewhile(lambda line: line != "ended\n", nursery.stdout))
    timer.join()
    return lines


def assert_holds(project: Project, slide: SlideRecord, acknowledged: list[str]) -> None:
    raster = project.raster(slide.id)
    points = {record.id: record.geometry for record in project.annotations.query(slide.id)}
    for line in acknowledged:
        what, number, *identifier = line.split()
        n = int(number)
        if what == "drawn":
            assert points[UUID(identifier[0])] == Point(n, n)
        else:
            y, x = n % 7000 * 11, n // 7000 * 800 + 400
            assert (raster.read(0, y, y + 9, x, x + 700) == 1 + n % 3).all()


def assert_levels_derived(project: Project, slide: SlideRecord) -> None:
    raster = project.raster(slide.id)
    for cy, cx in sorted(raster.keys())[:: max(1, len(raster.keys()) // 8)]:
        pixels = raster.read(0, cy * CHUNK, (cy + 1) * CHUNK, cx * CHUNK, (cx + 1) * CHUNK)
        for level in range(1, 4):
            pixels = np.maximum.reduce([pixels[i::2, j::2] for i in (0, 1) for j in (0, 1)])
            y, x, size = (cy * CHUNK) >> level, (cx * CHUNK) >> level, CHUNK >> level
            np.testing.assert_array_equal(raster.read(level, y, y + size, x, x + size), pixels)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kill -9 and fork are of POSIX systems")
def test_nothing_acknowledged_is_lost_by_kill_9(project: Project, slide: SlideRecord) -> None:
    project.close()
    moment, acknowledged = random.Random(9), list[str]()
    command = [sys.executable, "-c", NURSERY]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as nursery:
        for _ in range(KILLS):
            # A worker may have been killed between its commit and its word: start beyond that.
            job = f"{project.path}|{slide.id}|{len(acknowledged) + KILLS}"
            acknowledged += killed_at_random(nursery, job, moment)
            with Project.open(project.path) as again:
                assert not again.read_only
                assert_holds(again, slide, acknowledged)
            with closing(sqlite3.connect(project.path / "project.db")) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
                assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert nursery.stdin is not None
        nursery.stdin.close()
    with Project.open(project.path) as again:
        assert_levels_derived(again, slide)
        assert len(acknowledged) > KILLS
        assert again.history.undo() is not None


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4, (3 * CHUNK, 3 * CHUNK), dtype=np.uint8)


def fill_up(project: Project, pages: int) -> None:
    """Let the database grow by a few pages more and no further."""
    used = project._database.writer.execute("PRAGMA page_count").fetchone()[0]
    project._database.writer.execute(f"PRAGMA max_page_count = {used + pages}")


def make_room(project: Project) -> None:
    project._database.writer.execute("PRAGMA max_page_count = 1000000")


@pytest.mark.parametrize("pages", [0, 3, 20, 60])
def test_a_full_disk_loses_the_action_and_nothing_else(project: Project, slide: SlideRecord, pages: int) -> None:
    raster = project.raster(slide.id)
    raster.write(0, 0, noise(0))
    trail, heard = project.history.entries(), list[Change]()
    project.changed.connect(heard.append)
    fill_up(project, pages)
    with pytest.raises(ProjectError, match=r"full.*make room and do it again"):
        raster.write(0, 0, noise(1))
    with pytest.raises(ProjectError, match="make room"):
        project.annotations.add(Annotation(slide.id, Granularity.POINT, Point(i, i), 1) for i in range(5000))
    assert heard == []
    assert project.history.entries() == trail
    assert project.annotations.count() == 0
    np.testing.assert_array_equal(raster.read(0, 0, 3 * CHUNK, 0, 3 * CHUNK), noise(0))
    make_room(project)
    raster.write(0, 0, noise(1))
    project.history.undo()
    np.testing.assert_array_equal(raster.read(0, 0, 3 * CHUNK, 0, 3 * CHUNK), noise(0))


@pytest.mark.parametrize("carries_on", [False, True])
def test_a_group_that_met_a_full_disk_is_not_saved(project: Project, slide: SlideRecord, carries_on: bool) -> None:
    raster, dot = project.raster(slide.id), Annotation(slide.id, Granularity.POINT, Point(1, 1), 1)

    def group() -> None:
        with project.transaction("group"):
            project.annotations.add([dot])
            fill_up(project, 3)
            with pytest.raises(ProjectError, match="make room"):
                raster.write(0, 0, noise(1))
            make_room(project)
            if carries_on:
                project.annotations.add([dot.derived()])

    with pytest.raises(ProjectError, match="was not saved"):
        group()
    assert project.annotations.count() == 0
    assert raster.counts() == {}
    project.annotations.add([dot])
    assert project.annotations.count() == 1
