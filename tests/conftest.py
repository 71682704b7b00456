"""Fixtures that every part shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The first call of a compiled kernel takes seconds, and machines are shared: a deadline would measure those. On the
# build machine the same examples are tried each time, so that a red build means a change.
settings.register_profile("ours", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("build", parent=settings.get_profile("ours"), derandomize=True)
settings.load_profile("build" if os.environ.get("CI") else "ours")

REAL_DATA = Path(os.environ.get("HISTOANNO_REAL_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real slides and annotation files; the test is skipped where it is absent."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"no real data: {REAL_DATA} does not exist (set HISTOANNO_REAL_DATA)")
    return REAL_DATA


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave tests marked slow out, unless the command line's -m says what to do with them."""
    if "slow" in str(config.getoption("-m") or ""):
        return
    slow = {item for item in items if item.get_closest_marker("slow")}
    if slow:
        config.hook.pytest_deselected(items=list(slow))
        items[:] = [item for item in items if item not in slow]
