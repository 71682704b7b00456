"""Results to tables: mean and spread over seeds, the paper's numbers beside, and paired differences.

The spread is the standard deviation over seeds with n - 1. Two settings are compared seed by seed, because the same
seed means the same slides and the same first weights: the difference is then measured on like and like.
"""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from napari_histoanno.studies.grid import Cell, PaperNumber, Study, TableSpec, Value
    from napari_histoanno.studies.results import Result

ENOUGH = 3
"""Seeds below which nothing is concluded."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and standard deviation (n - 1) of n values; NaN where undefined."""

    mean: float
    sd: float
    count: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Of the values that are not NaN.

        Examples
        --------
        >>> Spread.of([1.0, 3.0])
        Spread(mean=2.0, sd=1.4142135623730951, count=2)
        """
        known = np.array([value for value in values if not math.isnan(value)])
        mean = float(known.mean()) if len(known) else math.nan
        return cls(mean, float(known.std(ddof=1)) if len(known) > 1 else math.nan, len(known))

    @property
    def error(self) -> float:
        """Standard error of the mean."""
        return self.sd / math.sqrt(self.count) if self.count > 1 else math.nan

    def text(self, digits: int = 3) -> str:
        """As ``0.812 ± 0.010``."""
        if math.isnan(self.mean):
            return "–"
        return f"{self.mean:.{digits}f}" + ("" if math.isnan(self.sd) else f" ± {self.sd:.{digits}f}")


@dataclass(frozen=True, slots=True)
class Difference:
    """How much better one setting is than another, paired over seeds; ``agreeing`` seeds have it better."""

    spread: Spread
    agreeing: int

    @property
    def enough(self) -> bool:
        return self.spread.count >= ENOUGH

    @property
    def positive(self) -> bool:
        return self.spread.mean > 0

    @property
    def clear(self) -> bool:
        """Whether the mean difference is positive and larger than twice its standard error."""
        return self.spread.mean > 0 and not self.spread.mean <= 2 * self.spread.error

    def text(self) -> str:
        """As ``+0.021 ± 0.010 (3 of 3 seeds)``."""
        sign = "" if self.spread.mean < 0 or math.isnan(self.spread.mean) else "+"
        return f"{sign}{self.spread.text()} ({self.agreeing} of {self.spread.count} seeds)"


def by_seed(results: Iterable[Result], metric: str, where: Mapping[str, Value]) -> dict[int, float]:
    """The metric of the setting with these values, by seed; the mean where several settings fit."""
    found: dict[int, list[float]] = {}
    for result in results:
        value = result.metrics.get(metric, math.nan)
        if result.cell.fits(where) and not math.isnan(value):
            found.setdefault(result.cell.seed, []).append(value)
    return {seed: float(np.mean(values)) for seed, values in found.items()}


def spread(results: Iterable[Result], metric: str, where: Mapping[str, Value]) -> Spread:
    """Mean and deviation over seeds of `by_seed`."""
    return Spread.of(by_seed(results, metric, where).values())


def difference(
    results: Sequence[Result], metric: str, better: Mapping[str, Value], worse: Mapping[str, Value]
) -> Difference:
    """How much larger the metric is with the first values than with the second, over the seeds that both have."""
    first, second = (by_seed(results, metric, where) for where in (better, worse))
    pairs = [first[seed] - second[seed] for seed in sorted(first.keys() & second.keys())]
    return Difference(Spread.of(pairs), sum(pair > 0 for pair in pairs))


@dataclass(frozen=True, slots=True)
class Entry:
    """One setting of a table: its spread for every quantity, and the paper's numbers where it gives some."""

    cell: Cell
    spreads: tuple[Spread, ...]
    paper: tuple[PaperNumber | None, ...]


@dataclass(frozen=True, slots=True)
class StudyTable:
    """A filled table."""

    spec: TableSpec
    entries: tuple[Entry, ...]

    @property
    def columns(self) -> list[str]:
        """Names of the values that tell the rows apart."""
        hidden = {*self.spec.only, *self.spec.hidden}
        names = dict.fromkeys(name for entry in self.entries for name, _ in entry.cell.params)
        return [name for name in names if name not in hidden]

    @property
    def head(self) -> list[str]:
        """Head of `rows`."""
        heads = list(self.columns)
        for index, quantity in enumerate(self.spec.quantities):
            heads.append(quantity.label)
            if self._quoted(index):
                heads.append(f"{quantity.label}, paper")
        return [*heads, "seeds"]

    def rows(self) -> list[list[str]]:
        """Cells of text, a row for each setting."""
        return [self._row(entry) for entry in self.entries]

    def _row(self, entry: Entry) -> list[str]:
        row = [str(entry.cell.get(name)) for name in self.columns]
        for index, quantity in enumerate(self.spec.quantities):
            row.append(entry.spreads[index].text(quantity.digits))
            if self._quoted(index):
                number = entry.paper[index]
                row.append("" if number is None else f"{number.value:.{quantity.digits}f}")
        return [*row, str(max((spread.count for spread in entry.spreads), default=0))]

    def _quoted(self, index: int) -> bool:
        return any(entry.paper[index] is not None for entry in self.entries)

    def markdown(self) -> str:
        """With its title as a heading of the third level."""
        lines = [self.head, ["---"] * len(self.head), *self.rows()]
        body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        sources = dict.fromkeys(n.source for entry in self.entries for n in entry.paper if n is not None)
        quoted = f"\n\nPaper: {'; '.join(sources)}." if sources else ""
        return f"### {self.spec.title}\n\n{body}{quoted}\n"


def fill(study: Study[Any], settings: Sequence[Cell], results: Sequence[Result]) -> list[StudyTable]:
    """The tables of a study; every setting has a row, also one without results."""
    tables = []
    for spec in study.tables:
        entries = tuple(
            Entry(
                cell,
                tuple(spread(_exactly(results, cell), q.name, {}) for q in spec.quantities),
                tuple(_quoted(study, cell, q.name) for q in spec.quantities),
            )
            for cell in settings
            if cell.fits(spec.only)
        )
        if entries:
            tables.append(StudyTable(spec, entries))
    return tables


def to_csv(tables: Iterable[StudyTable]) -> str:
    """One line for each setting and quantity: table, setting, quantity, mean, sd, seeds, paper, source."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["table", "setting", "quantity", "mean", "sd", "seeds", "paper", "source"])
    for table in tables:
        for entry in table.entries:
            setting = "; ".join(f"{name}={value}" for name, value in entry.cell.params)
            for quantity, found, paper in zip(table.spec.quantities, entry.spreads, entry.paper, strict=True):
                known = ("", "") if paper is None else (paper.value, paper.source)
                writer.writerow(
                    [
                        table.spec.title,
                        setting,
                        quantity.name,
                        _exact(found.mean),
                        _exact(found.sd),
                        found.count,
                        *known,
                    ]
                )
    return text.getvalue()


def _exactly(results: Iterable[Result], cell: Cell) -> list[Result]:
    return [result for result in results if result.cell.params == cell.params]


def _quoted(study: Study[Any], cell: Cell, quantity: str) -> PaperNumber | None:
    return next((n for n in study.paper if n.quantity == quantity and n.covers(cell)), None)


def _exact(value: float) -> str:
    return "" if math.isnan(value) else repr(value)
