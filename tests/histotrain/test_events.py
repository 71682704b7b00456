"""Events survive JSON, and a status is nothing but the events it has seen."""

import json
import math

import pytest

from histotrain.events import (
    CURVE_POINTS,
    Event,
    Finished,
    Notice,
    Phase,
    Progressed,
    Saved,
    Started,
    Status,
    Validated,
    reduce,
)

EVENTS = [
    Started("default", "unet/resnet18", 14, ("tumour", "stroma"), "cpu", "bf16", 0, 100),
    Progressed(1, 100, 0.7, 1e-3, 20.0, 40.0),
    Validated(1, 0.6, {"mean_iou": 0.5, "iou/tumour": 0.5}),
    Saved(1, "runs/1", best=True),
    Notice("something"),
    Finished("completed", 100, 1, {"mean_iou": 0.5}, "runs/1", ""),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda e: type(e).__name__)
def test_json_round_trip(event: Event) -> None:
    text = json.dumps(event.to_dict(), allow_nan=False)
    assert Event.from_dict(json.loads(text)) == event


def test_nan_survives_json() -> None:
    text = json.dumps(Validated(1, math.nan, {"iou/fat": math.nan}).to_dict(), allow_nan=False)
    event = Event.from_dict(json.loads(text))
    assert isinstance(event, Validated)
    assert math.isnan(event.loss)
    assert math.isnan(event.metrics["iou/fat"])


@pytest.mark.parametrize("mapping", [{}, {"event": "Exploded"}, {"event": "Notice"}, {"event": "Notice", "colour": 1}])
def test_what_is_no_event_is_refused(mapping: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="event"):
        Event.from_dict(mapping)


def test_status_after_a_run() -> None:
    status = Status()
    for event in EVENTS:
        status = reduce(status, event)
    assert status.phase is Phase.COMPLETED
    assert (status.step, status.best_step, status.path) == (100, 1, "runs/1")
    assert status.losses == ((1, 0.7),)
    assert status.validations == ((1, 0.6, {"mean_iou": 0.5, "iou/tumour": 0.5}),)
    assert status.notices == ("something",)
    assert status.classes == ("tumour", "stroma")


def test_status_runs_between_start_and_finish() -> None:
    started = reduce(Status(), EVENTS[0])
    assert started.running
    assert not reduce(started, Finished("failed", 3, 0, message="no luck")).running


def test_curve_stays_bounded_and_keeps_its_ends() -> None:
    status = Status()
    for step in range(1, 5 * CURVE_POINTS):
        status = reduce(status, Progressed(step, 10**6, 1.0, 1e-3, 1.0, 1.0))
    assert len(status.losses) <= 2 * CURVE_POINTS
    assert status.losses[0][0] == 1
    assert status.losses[-1][0] == 5 * CURVE_POINTS - 1
    assert list(status.losses) == sorted(status.losses)
