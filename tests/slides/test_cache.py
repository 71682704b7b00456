"""The tile cache stays within its bound and never mixes files up."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_histoanno.slides import open_slide, tile_cache
from napari_histoanno.slides.cache import TileCache
from tests.slides.pictures import picture, write_pyramid

if TYPE_CHECKING:
    from pathlib import Path


def tile(value: int, side: int = 10) -> np.ndarray:
    return np.full((side, side, 1), value, np.uint8)


def test_the_least_recently_used_tile_goes_first() -> None:
    cache = TileCache(1000)
    for i in range(10):
        cache.put(i, tile(i))
    assert cache.get(0) is not None
    cache.put(10, tile(10))
    assert cache.get(1) is None
    assert cache.get(0) is not None
    assert cache.nbytes == 1000


def test_replacing_shrinking_and_clearing_keep_the_count_right() -> None:
    cache = TileCache(1000)
    cache.put("a", tile(1))
    cache.put("a", tile(2))
    assert cache.nbytes == 100
    cache.put("huge", tile(3, side=100))
    assert cache.get("huge") is None
    cache.resize(50)
    assert (cache.nbytes, cache.max_bytes, cache.get("a")) == (0, 50, None)
    cache.clear()
    assert cache.nbytes == 0


def test_cached_tiles_cannot_be_written_to() -> None:
    cache = TileCache(10_000)
    cache.put("a", tile(1))
    kept = cache.get("a")
    assert kept is not None
    with pytest.raises(ValueError, match="read-only"):
        kept[:] = 2


def test_threads_keep_the_bound() -> None:
    cache = TileCache(5_000)

    def work(seed: int) -> None:
        for key in np.random.default_rng(seed).integers(0, 200, 2000):
            if cache.get(int(key)) is None:
                cache.put(int(key), tile(int(key)))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache.nbytes <= 5_000
    assert all(value is None or value[0, 0, 0] == key for key in range(200) for value in [cache.get(key)])


def test_a_replaced_file_does_not_show_its_predecessor(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    for seed in (1, 2):
        write_pyramid(path, [picture(300, 300, seed)])
        os.utime(path, ns=(seed * 10**9, seed * 10**9))
        with open_slide(path) as slide:
            np.testing.assert_array_equal(slide.read_region((0, 0), 0, (300, 300)), picture(300, 300, seed))


def test_the_shared_cache_serves_a_second_opening(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "slide.tif", [picture(300, 300)])
    with open_slide(path) as slide:
        slide.read_region((0, 0), 0, (300, 300))
    used = tile_cache().nbytes
    assert used > 0
    with open_slide(path) as slide:
        slide.read_region((0, 0), 0, (300, 300))
    assert tile_cache().nbytes == used


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_reads_with_threads_of_its_own(tmp_path: Path) -> None:
    image = picture(600, 600)
    path = write_pyramid(tmp_path / "slide.tif", [image])
    with open_slide(path) as slide:
        slide.read_region((0, 0), 0, (600, 600))
        child = os.fork()
        if child == 0:
            equal = np.array_equal(slide.read_region((0, 0), 0, (600, 600)), image)
            os._exit(0 if equal else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
