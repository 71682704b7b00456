"""A project is shared by the screen, which reads, and threads that commit."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_histoanno.annotation import Annotation, Granularity, Point
from napari_histoanno.project.chunks import CHUNK

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_histoanno.project import Change, Project, SlideRecord


@pytest.mark.parametrize("handle", ["the owner's", "a follower's"])
def test_readers_see_whole_commits(
    project: Project, slide: SlideRecord, reopen: Callable[[], Project], handle: str
) -> None:
    """A square over four chunks has one value at any time, at every level."""
    raster, stop = project.raster(slide.id), threading.Event()
    follower = reopen()
    shown = raster if handle == "the owner's" else follower.raster(slide.id)
    shown._cache.limit = 4 * CHUNK * CHUNK  # most reads go to the database
    origin = CHUNK - 200

    def paint() -> None:
        try:
            for n in range(100):
                raster.write(origin, origin, np.full((400, 400), 1 + n, np.uint8))
        finally:
            stop.set()

    def read() -> int:
        seen, last = set[int](), 0
        while not stop.is_set():
            for level in (0, 1):
                low, high = (origin + 1) >> level, (origin + 399) >> level
                values = np.unique(shown.read(level, low, high, low, high))
                assert len(values) == 1
                assert values[0] >= last
                last = int(values[0])
                seen.add(last)
        return len(seen)

    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        pool.submit(paint).result()
        assert max(reader.result() for reader in readers) > 1
    follower.close()


def test_writers_wait_for_each_other(project: Project, slide: SlideRecord) -> None:
    raster = project.raster(slide.id)

    def work(n: int) -> None:
        with raster.edit() as edit:  # all of them on one chunk
            edit.chunk(0, 0)[n] += 1
        project.annotations.add([Annotation(slide.id, Granularity.POINT, Point(n, n), 1)])
        with project.transaction("both"):
            raster.write(1000 + n, 0, np.ones((1, 1), np.uint8))
            project.annotations.add([Annotation(slide.id, Granularity.POINT, Point(n, 500), 2)])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(24)))
    assert raster.counts() == {1: 24 * CHUNK + 24}
    assert project.annotations.count() == 48
    for _ in range(24 * 3):
        project.history.undo()
    assert raster.counts() == {}
    assert project.annotations.count() == 0


def test_another_thread_sees_nothing_of_a_transaction_before_its_end(project: Project, slide: SlideRecord) -> None:
    raster = project.raster(slide.id)

    def look() -> tuple[int, int]:
        return project.annotations.count(), int(raster.read(0, 0, 1, 0, 1)[0, 0])

    with ThreadPoolExecutor(1) as pool:
        with project.transaction("both"):
            project.annotations.add([Annotation(slide.id, Granularity.POINT, Point(1, 1), 1)])
            raster.write(0, 0, np.ones((9, 9), np.uint8))
            assert look() == (1, 1)
            assert pool.submit(look).result() == (0, 0)
        assert pool.submit(look).result() == (1, 1)


def test_listeners_are_called_when_nothing_is_locked(project: Project, slide: SlideRecord) -> None:
    """As one needs that hands over to the screen's thread while that one draws."""
    limits: list[int] = []
    with ThreadPoolExecutor(1) as pool:

        def listen(change: Change) -> None:
            pool.submit(setattr, project.history, "limit", len(change.chunks)).result(10)
            limits.append(project.history.limit)

        project.changed.connect(listen, check_nargs=False)
        project.raster(slide.id).write(0, 0, np.ones((2, 2), np.uint8))
    assert limits == [1]
