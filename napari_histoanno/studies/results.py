"""What cells gave, kept as JSON lines: one is appended when a cell ends, so nothing that ended is lost or redone."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

from napari_histoanno.studies.grid import Cell, StudyError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Result:
    """Metrics of one cell, and how they came about; ``seconds`` by the clock, ``cpu_seconds`` of this process."""

    key: str
    cell: Cell
    metrics: dict[str, float]
    seconds: float
    cpu_seconds: float
    device: str
    when: str
    versions: str

    def to_json(self) -> str:
        """One line; NaN becomes null, since JSON has no NaN."""
        record = asdict(self) | {
            "cell": {"params": [list(pair) for pair in self.cell.params], "seed": self.cell.seed},
            "metrics": {k: None if math.isnan(v) else v for k, v in self.metrics.items()},
        }
        return json.dumps(record, allow_nan=False)

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Result written by `to_json`; raises ValueError if it is none."""
        try:
            record: dict[str, Any] = json.loads(line)
            cell = record.pop("cell")
            record["cell"] = Cell(tuple((name, value) for name, value in cell["params"]), cell["seed"])
            record["metrics"] = {k: math.nan if v is None else float(v) for k, v in record["metrics"].items()}
            return cls(**record)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a result: {error}") from error


class ResultLog:
    """``results.jsonl``: append-only, and readable after a kill in the middle of a line.

    Parameters
    ----------
    path : Path
        The file; made with the first result.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, Result]:
        """Results by key; of several with one key the last.

        Raises
        ------
        StudyError
            If a line other than the last is damaged.
        """
        if not self.path.exists():
            return {}
        lines = self.path.read_text(encoding="utf-8").split("\n")
        found: dict[str, Result] = {}
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                result = Result.from_json(line)
            except ValueError as error:
                if number == len(lines):
                    continue  # the process was killed while it wrote this; the cell is run again
                raise StudyError(f"{self.path}, line {number}, is damaged ({error}). Delete that line.") from error
            found[result.key] = result
        return found

    def append(self, result: Result) -> None:
        """Add one result and see it onto the disk."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as file:
            file.seek(0, os.SEEK_END)
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    self._drop_partial_line()
            file.write(result.to_json().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def _drop_partial_line(self) -> None:
        content = self.path.read_bytes()
        os.truncate(self.path, content.rfind(b"\n") + 1)
