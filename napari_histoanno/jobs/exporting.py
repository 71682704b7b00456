"""Exporting a dataset as a job.

The exporter reports through a callback; a job is a generator. A thread with a queue between them turns one into the
other and lets the job be stopped between two patches.
"""

from __future__ import annotations

import math
import queue
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from histotrain.events import Finished, Progressed
from napari_histoanno.datasets import ExportCancelled
from napari_histoanno.datasets.export import export_dataset
from napari_histoanno.project import Project

if TYPE_CHECKING:
    from collections.abc import Iterator

    from histotrain.events import Event
    from napari_histoanno.datasets.export import Manifest
    from napari_histoanno.jobs.channel import Channel
    from napari_histoanno.jobs.specs import DatasetExportSpec


def run(spec: DatasetExportSpec, channel: Channel) -> Iterator[Event]:
    """Write a dataset, yielding its progress; stopped, it leaves nothing behind.

    Raises
    ------
    DatasetError
        If nothing is annotated or the folder cannot be written.
    """
    steps: queue.SimpleQueue[tuple[int, int] | None] = queue.SimpleQueue()
    started = time.monotonic()
    with Project.open(spec.project, read_only=True) as project, ThreadPoolExecutor(1) as thread:

        def export() -> Manifest:
            try:
                return export_dataset(
                    project,
                    spec.output,
                    spec.dataset,
                    progress=lambda done, total: steps.put((done, total)),
                    cancelled=channel.cancelled,
                )
            finally:
                steps.put(None)

        result = thread.submit(export)
        last = 0
        while (step := steps.get()) is not None:
            last, total = step
            pace = last / max(time.monotonic() - started, 1e-6)
            yield Progressed(last, total, math.nan, math.nan, pace, (total - last) / pace)
        try:
            manifest = result.result()
        except ExportCancelled as error:
            yield Finished("cancelled", step=last, best_step=0, message=str(error))
            return
    yield Finished(
        "completed",
        step=last,
        best_step=last,
        path=str(spec.output),
        message=f"{len(manifest.files)} files in {spec.output}",
    )
