"""Running a study: cell after cell as a generator of events, with every result on disk before the next cell begins.

    StudyStarted -> (CellStarted, CellFinished)* -> StudyEnded(completed | budget)

Killing it at any moment loses the cell in flight and nothing else; the next run goes on with that cell. Whoever drives
the generator may stop between two events.
"""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Literal

from napari_histoanno.studies.grid import seed_major
from napari_histoanno.studies.results import Result, ResultLog

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from napari_histoanno.studies.grid import Cell, Study, StudyOptions

RESULTS = "results.jsonl"


@dataclass(frozen=True, slots=True)
class StudyStarted:
    """``found`` of ``total`` cells are done already."""

    study: str
    total: int
    found: int


@dataclass(frozen=True, slots=True)
class CellStarted:
    """Cell ``number`` of ``total`` begins; ``eta_seconds`` until the last has ended, NaN before the first has."""

    number: int
    total: int
    cell: Cell
    eta_seconds: float


@dataclass(frozen=True, slots=True)
class CellFinished:
    """A cell has ended and its result is on disk."""

    number: int
    total: int
    result: Result


@dataclass(frozen=True, slots=True)
class StudyEnded:
    """All cells are done, or the next would not end within the budget."""

    reason: Literal["completed", "budget"]
    missing: int


StudyEvent = StudyStarted | CellStarted | CellFinished | StudyEnded


class StudyRun:
    """One study in one folder.

    Parameters
    ----------
    study : Study
        Which.
    folder : Path
        Where results are kept, and looked for.
    options : StudyOptions
        How.
    """

    def __init__(self, study: Study[Any], folder: Path, options: StudyOptions) -> None:
        self.study, self.folder, self.options = study, folder, options
        self.settings = study.cells(options)
        self._log = ResultLog(folder / RESULTS)
        self._keys = {study.key(cell, options): cell for cell in seed_major(self.settings, options.seeds)}
        known = self._log.read()
        self._done = {key: known[key] for key in self._keys if key in known}

    @property
    def results(self) -> list[Result]:
        """Those of this grid, in its order; what else the file holds is of other versions or settings."""
        return [self._done[key] for key in self._keys if key in self._done]

    @property
    def missing(self) -> list[Cell]:
        """Cells without a result."""
        return [cell for key, cell in self._keys.items() if key not in self._done]

    def events(self) -> Iterator[StudyEvent]:
        """Run what is missing."""
        total = len(self._keys)
        yield StudyStarted(self.study.name, total, len(self._done))
        begun = time.monotonic()
        data = None
        for number, (key, cell) in enumerate(self._keys.items(), 1):
            if key in self._done:
                continue
            if self._over_budget(cell, time.monotonic() - begun):
                yield StudyEnded("budget", len(self.missing))
                return
            yield CellStarted(number, total, cell, sum(map(self._expected, self.missing)))
            data = self.study.prepare(self.options) if data is None else data
            result = self._measured(key, cell, data)
            self._log.append(result)
            self._done[key] = result
            yield CellFinished(number, total, result)
        yield StudyEnded("completed", 0)

    def _over_budget(self, cell: Cell, seconds: float) -> bool:
        if self.options.budget is None:
            return False
        expected = self._expected(cell)
        return seconds + (0.0 if expected != expected else expected) > 60 * self.options.budget

    def _expected(self, cell: Cell) -> float:
        """Seconds that a cell will take: as the same setting took, else as all took in the mean; NaN if none did."""
        same = [r.seconds for r in self._done.values() if r.cell.params == cell.params]
        known = same or [r.seconds for r in self._done.values()]
        return sum(known) / len(known) if known else float("nan")

    def _measured(self, key: str, cell: Cell, data: object) -> Result:
        clock, processor = time.perf_counter(), time.process_time()
        metrics = self.study.run_cell(cell, data)
        return Result(
            key=key,
            cell=cell,
            metrics={name: float(value) for name, value in metrics.items()},
            seconds=time.perf_counter() - clock,
            cpu_seconds=time.process_time() - processor,
            device=device_name(self.options.device),
            when=f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
            versions=versions(),
        )


def device_name(device: str) -> str:
    """What computes, in words: the graphics card, or the processor with the threads torch uses."""
    import histotrain.devices as devices

    return devices.describe(device)


def versions() -> str:
    """Of python and of the packages that decide results."""
    found = [f"python {platform.python_version()}"]
    for package in ("napari-histoanno", "torch", "numpy"):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"{package} not installed")
    return ", ".join(found)


def wall_and_cpu(results: Sequence[Result]) -> tuple[float, float]:
    """Seconds of all cells by the clock, and of their process."""
    return sum(r.seconds for r in results), sum(r.cpu_seconds for r in results)
