"""A study that computes instead of training, for tests of the framework."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from napari_histoanno.studies import Cell, Finding, PaperNumber, Quantity, Study, StudyOptions, TableSpec
from napari_histoanno.studies.tables import difference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_histoanno.studies import Result

EFFECT = {"low": 0.0, "high": 0.2}


class ToyStudy(Study[list[str]]):
    """Quality is the effect of a setting plus noise of a seed; ``stop_at`` is the cell at which it is interrupted."""

    name = "toy"
    line = "High is better than low."
    citation = "Nobody, 2020"
    tables = (TableSpec("Quality", (Quantity("quality", "Quality"), Quantity("odd", "Odd", 1)), only={"kind": "main"}),)
    paper = (PaperNumber("quality", 0.7, "table 1", {"level": "high"}),)

    def __init__(self, stop_at: int | None = None, scale: float = 1.0) -> None:
        self.stop_at, self.scale = stop_at, scale
        self.ran: list[tuple[str, int]] = []

    def cells(self, options: StudyOptions) -> list[Cell]:
        levels = EFFECT if options.quick else [*EFFECT, "highest"]
        return [Cell.of(kind="main", level=level) for level in levels]

    def facts(self, cell: Cell, options: StudyOptions) -> Mapping[str, Any]:
        return {"scale": self.scale}

    def prepare(self, options: StudyOptions) -> list[str]:
        return []

    def run_cell(self, cell: Cell, data: list[str]) -> dict[str, float]:
        if self.stop_at is not None and len(self.ran) == self.stop_at:
            raise KeyboardInterrupt
        self.ran.append((str(cell["level"]), cell.seed))
        noise = np.random.default_rng(cell.seed).normal(0, 0.05)
        quality = 0.5 + self.scale * EFFECT[str(cell["level"])] + float(noise)
        return {"quality": quality, "odd": float("nan")}

    def finding(self, results: Sequence[Result]) -> Finding:
        found = difference(results, "quality", {"level": "high"}, {"level": "low"})
        return Finding("High beats low", found.positive if found.enough else None, found.text())

    def plot(self, results: Sequence[Result]) -> Figure:
        return Figure(figsize=(2, 2))
