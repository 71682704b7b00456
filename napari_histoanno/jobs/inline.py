"""The same jobs without a cluster, in the caller's own process: for scripts, the command line and tests."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from napari_histoanno.jobs.channel import Channel, LocalChannel
from napari_histoanno.jobs.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from histotrain.events import Event
    from napari_histoanno.jobs.specs import JobSpec


def run_inline(spec: JobSpec, channel: Channel | None = None) -> Iterator[Event]:
    """Run a job here and now, yielding what it says; the last event is always a ``Finished``.

    Parameters
    ----------
    spec : JobSpec
        The job.
    channel : Channel, optional
        To stop it or to ask for previews from elsewhere.

    Examples
    --------
    >>> from napari_histoanno.jobs import SelfTestSpec
    >>> [type(event).__name__ for event in run_inline(SelfTestSpec(steps=1))]
    ['Progressed', 'Finished']
    """
    module, _, name = spec.target.partition(":")
    run = getattr(importlib.import_module(module), name)
    return guarded(lambda: run(spec, channel or LocalChannel()))
