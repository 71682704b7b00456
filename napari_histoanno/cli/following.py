"""Following a job in the terminal: a progress bar, and Ctrl-C as a way to stop it that keeps what it has."""

from __future__ import annotations

import queue
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from histotrain.events import Finished, Notice, Progressed, Validated
from napari_histoanno.cli.app import CANCELLED, output
from napari_histoanno.jobs import Engine, InlineEngine, JobState
from napari_histoanno.session import Session, SessionError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import FrameType

    from histotrain.events import Event, Status
    from napari_histoanno.jobs import Job
    from napari_histoanno.project import ModelRun

_MOMENT = 0.2


@contextmanager
def session_for_jobs(project: Path, scheduler: str | None) -> Iterator[Session]:
    """A session whose jobs run in this process, or on the cluster of a dask scheduler."""
    engine = Engine(scheduler) if scheduler else InlineEngine()
    session = Session(engine=engine)
    try:
        session.open_project(project)
        yield session
    finally:
        engine.close()
        session.close()


def follow(job: Job | None, title: str) -> Status:
    """Show a job until it has ended.

    Raises
    ------
    SessionError
        If it failed.
    """
    if job is None:
        raise SessionError(f"{title} did not begin.")
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    job.event.connect(events.put)
    with _interruptible(job), _bar() as bar:
        task = bar.add_task(title, total=None, note="")
        while not job.done.is_set():
            try:
                event = events.get(timeout=_MOMENT)
            except queue.Empty:
                continue
            if isinstance(event, Progressed):
                note = "" if event.loss != event.loss else f"loss {event.loss:.3f}"
                bar.update(task, completed=event.step, total=event.total_steps, note=note)
            elif isinstance(event, Validated):
                score = event.metrics.get("mean_iou", float("nan"))
                output.say(f"step {event.step}: validation loss {event.loss:.3f}, mean IoU {score:.3f}")
            elif isinstance(event, Notice):
                output.say(event.message)
            elif isinstance(event, Finished):
                break
        job.wait()
    if job.state is JobState.FAILED:
        raise SessionError(job.message or f"{title} failed.")
    return job.status


def exit_if_cancelled(job: Job | None) -> None:
    """End with the exit code for what was stopped on request."""
    if job is not None and job.state is JobState.CANCELLED:
        raise typer.Exit(CANCELLED)


@contextmanager
def _interruptible(job: Job) -> Iterator[None]:
    """The first Ctrl-C stops the job at its next step; the second one ends the program."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        output.say("Stopping at the next step; press Ctrl-C again to end at once.")
        job.cancel()

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=output.progress,
        disable=output.as_json,
        transient=True,
    )


def find_run(session: Session, key: str | None) -> str | None:
    """Id of a model run from its id, the end or beginning of it, or its name; None stays None.

    Raises
    ------
    SessionError
        If none or several fit.
    """
    if key is None:
        return None
    runs = session.runs()
    exact = [run for run in runs if key == run.id]
    found: list[ModelRun] = exact or [
        run for run in runs if run.id.startswith(key) or run.id.endswith(key) or run.name.casefold() == key.casefold()
    ]
    if len(found) != 1:
        known = ", ".join(f"{run.name} ({run.id[-8:]})" for run in runs) or "none"
        what = "No model run" if not found else "More than one model run"
        raise SessionError(f"{what} is called {key!r}. There are: {known}.")
    return found[0].id
