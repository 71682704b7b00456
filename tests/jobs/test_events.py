"""Events and previews survive the way between processes, and a status on disk tells what its events told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from histotrain.events import Finished, Progressed, Validated
from napari_histoanno.jobs import PredictionBlock, PreviewResult, Running, SelfTestSpec, read_status, run_inline
from napari_histoanno.jobs.events import from_dict, to_dict
from napari_histoanno.jobs.runlog import RUN_LOG, RunLog

if TYPE_CHECKING:
    from pathlib import Path

EVENTS = [
    Running(process=7, host="here"),
    PredictionBlock(bounds=(0.0, 1.5, 2.0, 3.0), done=1, total=9),
    Progressed(1, 2, 0.5, 1e-3, 3.0, 4.0),
    Validated(1, 0.4, {"mean_iou": 0.25}),
    Finished("completed", step=2, best_step=1, metrics={"mean_iou": 0.25}, path="x"),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_events_survive_as_plain_values(event: Running) -> None:
    assert from_dict(to_dict(event)) == event


def test_a_preview_survives_as_bytes() -> None:
    rng = np.random.default_rng(1)
    planes = rng.integers(0, 256, (3, 5, 7), dtype=np.uint8)
    result = PreviewResult("s", (1.5, 2.0), 4.0, 2.0, planes[0], planes[1], planes, (1, 2, 9), 17)
    back = PreviewResult.from_bytes(result.to_bytes())
    assert (back.slide, back.location, back.class_ids, back.step) == ("s", (1.5, 2.0), (1, 2, 9), 17)
    assert back.bounds == (1.5, 2.0, 1.5 + 7 * 4, 2 + 5 * 4)
    for name in ("classes", "confidence", "probabilities"):
        np.testing.assert_array_equal(getattr(back, name), getattr(result, name))
    with pytest.raises(TypeError):
        to_dict(result)


def test_an_unfinished_last_line_is_passed_over(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log:
        for event in EVENTS[2:]:
            log.write(event)
    assert read_status(tmp_path).metrics == {"mean_iou": 0.25}
    with (tmp_path / RUN_LOG).open("a") as file:
        file.write('{"event": "Progr')
    assert read_status(tmp_path).step == 2
    assert read_status(tmp_path / "nothing").step == 0


def test_a_job_inline_ends_with_one_finished_event() -> None:
    *_, last = run_inline(SelfTestSpec(steps=2))
    assert isinstance(last, Finished)
    assert last.reason == "completed"
    *_, last = run_inline(SelfTestSpec(fail_at=1))
    assert isinstance(last, Finished)
    assert last.reason == "failed"
