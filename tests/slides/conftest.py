"""Every test of slides starts with an empty tile cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from napari_histoanno.slides import tile_cache

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _empty_cache() -> Iterator[None]:
    """A test must not pass because an earlier one left the right tile behind."""
    tile_cache().clear()
    yield
    tile_cache().clear()
