"""One engine for all tests of the jobs: starting a worker costs a second."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from napari_histoanno.jobs import Engine

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """A ready engine with a worker that has imported nothing in advance."""
    with Engine(preload=False) as engine:
        engine.wait_ready(60)
        yield engine
