"""Jobs report, answer and stop; what dies is said to have died; nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from histotrain.events import Finished, Phase, Progressed
from napari_histoanno.jobs import (
    Engine,
    EngineError,
    EngineState,
    JobState,
    PreviewRequest,
    PreviewResult,
    Running,
    SelfTestSpec,
)

if TYPE_CHECKING:
    from napari_histoanno.jobs import Job

ENDLESS = SelfTestSpec(steps=1_000_000)


def until_running(job: Job) -> None:
    deadline = time.monotonic() + 20
    while job.state is JobState.PENDING:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_job_reports_in_order_and_completes(engine: Engine) -> None:
    job = engine.submit(SelfTestSpec(steps=20))
    events: list[object] = []
    job.event.connect(events.append)
    status = job.wait(20)
    assert job.state is JobState.COMPLETED
    assert (status.phase, status.step, status.total_steps) == (Phase.COMPLETED, 20, 20)
    steps = [event.step for event in events if isinstance(event, Progressed)]
    assert steps == sorted(steps)
    assert isinstance(events[-1], Finished)


def test_events_arrive_within_a_tenth_of_a_second(engine: Engine) -> None:
    job = engine.submit(SelfTestSpec(steps=30, seconds_per_step=0.06))
    started = threading.Event()
    clock: dict[int, float] = {}

    def note(event: object) -> None:
        if isinstance(event, Running):
            clock[0] = time.monotonic()
            started.set()
        if isinstance(event, Progressed):
            clock[event.step] = time.monotonic() - event.step / event.items_per_second

    job.event.connect(note)
    job.wait(20)
    starts = [moment for step, moment in clock.items() if step]
    assert sorted(starts)[len(starts) // 2] - min(starts) < 0.1


def test_cancel_is_heard_at_the_next_step(engine: Engine) -> None:
    job = engine.submit(ENDLESS)
    until_running(job)
    asked = time.monotonic()
    job.cancel()
    assert job.state in (JobState.CANCELLING, JobState.CANCELLED)
    job.wait(5)
    assert time.monotonic() - asked < 1
    assert job.state is JobState.CANCELLED
    job.cancel()
    assert job.state is JobState.CANCELLED


def test_two_jobs_run_at_the_same_time_and_a_third_can_be_cancelled_while_it_waits(engine: Engine) -> None:
    first, second, third = (engine.submit(ENDLESS) for _ in range(3))
    until_running(first)
    until_running(second)
    assert third.state is JobState.PENDING
    third.cancel()
    third.wait(5)
    assert third.state is JobState.CANCELLED
    first.cancel()
    second.cancel()
    assert {first.wait(5).phase, second.wait(5).phase} == {Phase.CANCELLED}


def test_a_failure_is_reported_with_its_reason(engine: Engine) -> None:
    job = engine.submit(SelfTestSpec(fail_at=2))
    assert job.wait(20).phase is Phase.FAILED
    assert job.state is JobState.FAILED
    assert "told to fail at step 2" in job.message


def test_only_the_newest_preview_request_counts(engine: Engine) -> None:
    job = engine.submit(SelfTestSpec(steps=1_000_000, seconds_per_step=0.02))
    until_running(job)
    seen: list[PreviewResult] = []
    job.preview.connect(seen.append)
    for x in range(20):
        job.request_preview(PreviewRequest("s", x, 0, x + 1, 1))
    deadline = time.monotonic() + 5
    while not any(result.location == (19, 0) for result in seen):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert len({result.location for result in seen}) < 20
    job.request_preview(None)
    time.sleep(0.2)
    count = len(seen)
    time.sleep(0.2)
    assert len(seen) == count
    job.cancel()
    job.wait(5)


def test_a_listener_that_fails_harms_nobody(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    job = engine.submit(SelfTestSpec(steps=5))

    def broken(_: object) -> None:
        raise ZeroDivisionError

    seen: list[object] = []
    job.event.connect(broken)
    job.event.connect(seen.append)
    assert job.wait(20).phase is Phase.COMPLETED
    assert "a listener" in caplog.text


def test_a_killed_worker_fails_its_job_and_the_next_one_runs(engine: Engine) -> None:
    job = engine.submit(ENDLESS)
    until_running(job)
    (pid,) = engine.worker_process_ids()
    os.kill(pid, signal.SIGKILL)
    job.wait(10)
    assert job.state is JobState.FAILED
    assert "worker process died" in job.message
    started = time.monotonic()
    again = engine.submit(SelfTestSpec(steps=2))
    assert again.wait(30).phase is Phase.COMPLETED
    assert time.monotonic() - started < 15


def test_the_worker_is_niced_and_everything_listens_on_the_loopback_only(engine: Engine) -> None:
    engine.submit(SelfTestSpec(steps=1)).wait(20)
    (pid,) = engine.worker_process_ids()
    worker = psutil.Process(pid)
    assert worker.nice() == 10
    environment = worker.environ()
    assert environment["OMP_WAIT_POLICY"] == "PASSIVE"
    assert environment["OPENBLAS_NUM_THREADS"] == "1"
    for process in (psutil.Process(), worker):
        listening = [c.laddr.ip for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN]
        assert set(listening) <= {"127.0.0.1"}


def test_closing_ends_the_worker_and_cancels_its_jobs() -> None:
    engine = Engine(preload=False)
    states: list[EngineState] = []
    engine.state_changed.connect(states.append)
    job = engine.submit(ENDLESS)
    engine.wait_ready(60)
    until_running(job)
    (pid,) = engine.worker_process_ids()
    engine.close()
    assert job.state is JobState.CANCELLED
    assert not psutil.pid_exists(pid)
    assert states == [EngineState.STARTING, EngineState.READY, EngineState.CLOSED]
    with pytest.raises(EngineError, match="closed"):
        engine.submit(SelfTestSpec())


def test_a_job_cancelled_while_the_engine_starts_never_runs() -> None:
    with Engine(preload=False) as engine:
        job = engine.submit(ENDLESS)
        job.cancel()
        assert job.wait(20).phase is Phase.CANCELLED


def test_an_unreachable_cluster_is_said_to_be_so() -> None:
    with Engine("tcp://127.0.0.1:9", preload=False) as engine:
        job = engine.submit(SelfTestSpec())
        job.wait(30)
        assert job.state is JobState.FAILED
        assert "tcp://127.0.0.1:9" in job.message
        assert engine.state is EngineState.FAILED
        assert "doctor" in engine.error


def test_the_worker_ends_with_a_process_that_was_killed() -> None:
    script = textwrap.dedent(
        """
        import time
        from napari_histoanno.jobs import Engine, SelfTestSpec
        if __name__ == "__main__":
            engine = Engine(preload=False)
            job = engine.submit(SelfTestSpec(steps=1_000_000))
            engine.wait_ready(60)
            print(*engine.worker_process_ids(), flush=True)
            time.sleep(600)
        """
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        children = psutil.Process(parent.pid).children(recursive=True)
        assert worker in [child.pid for child in children]
        parent.kill()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive
