"""How long the window does not answer while a model is trained with the dock open.

Run as ``python tests/benchmarks/bench_gui_gaps.py [seconds]`` with a display (or under xvfb-run). The sample project is
opened, a training started and watched on each page of the dock, with the view moving. A timer ticks in the window's
event loop; a tick that comes late is a gap. For each gap, the processor time that the window's own thread took is
given beside the wall time (on a shared machine the rest is waiting for a core), and what it was doing is sampled by
another thread and summed up by the innermost frame of this project.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import napari
from qtpy.QtCore import QTimer
from rich.console import Console
from rich.table import Table

import napari_histoanno
from napari_histoanno.widgets.demo.hand import work_for, work_until
from napari_histoanno.widgets.dock import HistoAnnoDock

TICK = 0.005
LEAST = 0.05
LONG = 0.1
SAMPLE = 0.01
OURS = str(Path(napari_histoanno.__file__).parent)

console = Console()


@dataclass
class Gaps:
    """Late ticks: (wall seconds, processor seconds of the window's thread, place)."""

    seen: list[tuple[float, float, str]] = field(default_factory=list)
    _last: float = field(default_factory=time.perf_counter)
    _last_busy: float = field(default_factory=time.thread_time)
    _places: Counter[str] = field(default_factory=Counter)
    _main: int = field(default_factory=threading.get_ident)
    _stop: threading.Event = field(default_factory=threading.Event)

    def start(self) -> QTimer:
        threading.Thread(target=self._sample, daemon=True).start()
        timer = QTimer()
        timer.setInterval(round(1000 * TICK))
        timer.timeout.connect(self._tick)
        timer.start()
        return timer

    def stop(self) -> None:
        self._stop.set()

    def _tick(self) -> None:
        now, busy = time.perf_counter(), time.thread_time()
        gap = now - self._last - TICK
        if gap > LEAST:
            place = self._places.most_common(1)[0][0] if self._places else "?"
            self.seen.append((gap, busy - self._last_busy, place))
        self._places.clear()
        self._last, self._last_busy = now, busy

    def _sample(self) -> None:
        while not self._stop.wait(SAMPLE):
            if time.perf_counter() - self._last < LEAST / 2:
                continue
            frame = sys._current_frames().get(self._main)
            if frame is not None:
                self._places[_place(traceback.extract_stack(frame))] += 1


def _place(stack: list[traceback.FrameSummary]) -> str:
    mine = [frame for frame in stack if frame.filename.startswith(OURS) and "/demo/" not in frame.filename]
    if any("OpenGL" in frame.filename for frame in stack):
        return "(OpenGL: napari draws)"
    frame = mine[-1] if mine else stack[-1]
    name = Path(frame.filename).relative_to(OURS) if mine else f"({Path(frame.filename).name})"
    return f"{name}:{frame.name}"


def main(seconds: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        viewer = napari.Viewer(title="HistoAnno")
        dock = HistoAnnoDock(viewer)
        viewer.window.add_dock_widget(dock, name="HistoAnno", area="right")
        viewer.window._qt_window.resize(1600, 1000)
        dock.session.open_sample(Path(folder) / "project")
        work_for(2)
        _report("idle, moving the view", _watched(lambda: _move(dock, seconds / 3)))
        dock.show_step(3)
        job = dock.session.start_training("default")
        assert job is not None
        _report("worker starts, until the first step", _watched(lambda: work_until(lambda: job.status.step > 0, 120)))
        for step, name in ((3, "Train"), (2, "Annotate"), (1, "Slides")):
            dock.show_step(step)
            _report(f"training, page {name}, view at rest", _watched(lambda: work_for(seconds)))
        dock.show_step(3)
        _report("training, page Train, view moving", _watched(lambda: _move(dock, seconds)))
        console.print(f"{job.status.step} steps were trained")
        dock.session.stop_training()
        job.done.wait(30)
        viewer.close()
        work_for(0.5)


def _move(dock: HistoAnnoDock, seconds: float) -> None:
    end, place = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        x = 400 + 60 * (place % 12)
        dock.view.fly_to((x, 500, x + 900, 1100))
        place += 1
        work_for(0.4)


def _watched(work: object) -> Gaps:
    gaps = Gaps()
    timer = gaps.start()
    work()
    timer.stop()
    gaps.stop()
    return gaps


def _report(title: str, gaps: Gaps) -> None:
    long = [wall for wall, _, _ in gaps.seen if wall > LONG]
    longest = max((wall for wall, _, _ in gaps.seen), default=0.0)
    table = Table(
        "where",
        "gaps",
        "longest ms",
        "its processor ms",
        title=f"{title}: {len(gaps.seen)} gaps over 50 ms, {len(long)} over 100 ms, longest {1000 * longest:.0f} ms",
    )
    for place in {place for _, _, place in gaps.seen}:
        mine = [(wall, busy) for wall, busy, where in gaps.seen if where == place]
        wall, busy = max(mine)
        table.add_row(place, str(len(mine)), f"{1000 * wall:.0f}", f"{1000 * busy:.0f}")
    console.print(table)


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 15.0)
