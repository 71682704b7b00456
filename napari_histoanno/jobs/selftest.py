"""A job that only counts, for ``histoanno doctor`` and for whoever wants to know that a cluster works."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from histotrain.events import Event, Finished, Progressed
from napari_histoanno.jobs.events import PreviewResult

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_histoanno.jobs.channel import Channel
    from napari_histoanno.jobs.specs import SelfTestSpec

_PREVIEW_SIZE = 16


def run(spec: SelfTestSpec, channel: Channel) -> Iterator[Event]:
    """Count to ``spec.steps``, answering preview requests with the step number as the class of every pixel.

    Raises
    ------
    RuntimeError
        At step ``spec.fail_at``, to show how a failure is reported.
    """
    started = time.monotonic()
    for step in range(1, spec.steps + 1):
        if channel.cancelled():
            yield Finished("cancelled", step=step - 1, best_step=0, message="stopped on request")
            return
        if step == spec.fail_at:
            raise RuntimeError(f"the self-test was told to fail at step {step}")
        time.sleep(spec.seconds_per_step)
        pace = step / (time.monotonic() - started)
        yield Progressed(
            step=step,
            total_steps=spec.steps,
            loss=1 / step,
            learning_rate=0.0,
            items_per_second=pace,
            eta_seconds=(spec.steps - step) / pace,
        )
        request = channel.preview_request()
        if request is not None:
            plane = np.full((_PREVIEW_SIZE, _PREVIEW_SIZE), step % 256, np.uint8)
            yield PreviewResult(
                slide=request.slide,
                location=(request.x0, request.y0),
                downsample=1.0,
                mpp=1.0,
                classes=plane,
                confidence=np.full_like(plane, 255),
                probabilities=plane[None],
                class_ids=(1,),
                step=step,
            )
    yield Finished("completed", step=spec.steps, best_step=0)
