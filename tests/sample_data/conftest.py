"""One small slide of each laboratory, made once."""

from __future__ import annotations

import pytest

from sample_data.generator import STYLES, SyntheticSlide, make_slide

SIZE = (1152, 896)


@pytest.fixture(scope="session", params=sorted(STYLES))
def slide(request: pytest.FixtureRequest) -> SyntheticSlide:
    return make_slide(5, SIZE, request.param)
