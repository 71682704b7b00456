"""What a study is: a grid of cells, the numbers its paper gives, and the finding that should come out.

A cell is one training with one seed. Cells run seed by seed, not setting by setting, so that a run that is stopped has
every setting with the same few seeds rather than a few settings with all of them: the spread is there from the start.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Self, TypeVar

import platformdirs

from napari_histoanno.session import SessionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

    from napari_histoanno.studies.results import Result

Value = str | int | float | bool
Mode = Literal["quick", "full"]
Data = TypeVar("Data")


class StudyError(SessionError):
    """A study that cannot be run as asked; says what and why."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One training: named values in the order of a table's columns, and a seed."""

    params: tuple[tuple[str, Value], ...]
    seed: int = 0

    @classmethod
    def of(cls, **params: Value) -> Self:
        """Cell with these values and seed 0.

        Examples
        --------
        >>> Cell.of(network="unet", size=64)["size"]
        64
        """
        return cls(tuple(params.items()))

    def __getitem__(self, name: str) -> Value:
        return dict(self.params)[name]

    def get(self, name: str, default: Value = "") -> Value:
        """The value of that name, or the default."""
        return dict(self.params).get(name, default)

    def seeded(self, seed: int) -> Self:
        """The same setting with another seed."""
        return type(self)(self.params, seed)

    def fits(self, wanted: Mapping[str, Value]) -> bool:
        """Whether all wanted values are those of this cell."""
        own = dict(self.params)
        return all(own.get(name) == value for name, value in wanted.items())

    @property
    def label(self) -> str:
        """The values in words."""
        return ", ".join(str(value) for _, value in self.params)


@dataclass(frozen=True, slots=True)
class StudyOptions:
    """How a study is run.

    Parameters
    ----------
    mode : "quick" or "full"
        A reduced grid of some ten minutes on two CPU cores, or the paper's.
    seeds : int
        Trainings of every setting.
    budget : float, optional
        Minutes after which no further cell is begun.
    nuclei : Path, optional
        Folder with real nuclei: ``images/*.png`` and ``labels/*.tif`` of the same names.
    costs : Path, optional
        JSON of the seconds that annotating takes, for studies that count effort.
    device : str
        "auto", "cpu", "cuda:0", …
    cache : Path, optional
        Folder in which synthetic slides are kept; by default the user's cache.
    """

    mode: Mode = "quick"
    seeds: int = 3
    budget: float | None = None
    nuclei: Path | None = None
    costs: Path | None = None
    device: str = "auto"
    cache: Path | None = None

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise StudyError(f"A study needs at least one seed, not {self.seeds}.")
        if self.budget is not None and not self.budget > 0:
            raise StudyError(f"The budget must be more than 0 minutes, not {self.budget}.")

    @property
    def quick(self) -> bool:
        return self.mode == "quick"

    @property
    def slide_cache(self) -> Path:
        """Where synthetic slides are kept."""
        return self.cache or platformdirs.user_cache_path("napari-histoanno") / "studies"


@dataclass(frozen=True, slots=True)
class Quantity:
    """A metric that a table shows: its name in the results, and what people read."""

    name: str
    label: str
    digits: int = 3


@dataclass(frozen=True, slots=True)
class TableSpec:
    """One table of a study.

    Parameters
    ----------
    title : str
        Heading.
    quantities : tuple of Quantity
        Columns.
    only : mapping
        The cells it shows: those with these values.
    hidden : tuple of str
        Values that are the same in all its rows and need no column.
    """

    title: str
    quantities: tuple[Quantity, ...]
    only: Mapping[str, Value] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PaperNumber:
    """A number that a paper gives for the settings with these values; ``source`` names its table or section."""

    quantity: str
    value: float
    source: str
    where: Mapping[str, Value]

    def covers(self, cell: Cell) -> bool:
        return cell.fits(self.where)


@dataclass(frozen=True, slots=True)
class Finding:
    """What the paper found and whether it came out here; ``holds`` is None if there is not enough data."""

    statement: str
    holds: bool | None
    evidence: str

    @property
    def verdict(self) -> str:
        return {True: "holds", False: "does not hold", None: "not enough data"}[self.holds]


class Study(ABC, Generic[Data]):
    """A study that can be run in part, stopped and continued. Subclasses are stateless.

    ``version`` is part of every cell's key: raise it when the code of a study changes what its cells mean, and results
    from before are not mixed with those from after.
    """

    name: ClassVar[str]
    line: ClassVar[str]
    citation: ClassVar[str]
    version: ClassVar[int] = 1
    tables: ClassVar[tuple[TableSpec, ...]]
    paper: ClassVar[tuple[PaperNumber, ...]] = ()
    notes: ClassVar[tuple[str, ...]] = ()
    """What was decided where the paper is silent, and what the quick grid leaves out."""

    @abstractmethod
    def cells(self, options: StudyOptions) -> list[Cell]:
        """Every setting of the grid once, with seed 0, in the order of the tables."""

    @abstractmethod
    def prepare(self, options: StudyOptions) -> Data:
        """What all cells share. Cheap: slides are made when a cell first needs them."""

    @abstractmethod
    def run_cell(self, cell: Cell, data: Data) -> dict[str, float]:
        """Train and measure; metrics by name, NaN where undefined. Equal cells give equal metrics."""

    @abstractmethod
    def finding(self, results: Sequence[Result]) -> Finding:
        """Whether the paper's finding came out."""

    @abstractmethod
    def plot(self, results: Sequence[Result]) -> Figure:
        """The results as a picture."""

    def facts(self, cell: Cell, options: StudyOptions) -> Mapping[str, Any]:
        """JSON-able: whatever decides the outcome of a cell beside its own values.

        A recipe goes in without its defaults: a choice that recipes get later, at its default, changes no outcome and
        must not make results useless. Raise ``version`` when a default itself changes.
        """
        return {}

    def remarks(self, results: Sequence[Result]) -> list[str]:
        """Further sentences for the report, computed from the results."""
        return []

    def key(self, cell: Cell, options: StudyOptions) -> str:
        """Name of a cell's result: equal only if everything that decides it is."""
        known = [self.name, self.version, cell.params, cell.seed, dict(self.facts(cell, options))]
        return hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode()).hexdigest()[:16]


def seed_major(settings: Iterable[Cell], seeds: int) -> Iterator[Cell]:
    """All settings with seed 0, then all with seed 1, …

    Examples
    --------
    >>> [(c.label, c.seed) for c in seed_major([Cell.of(a=1), Cell.of(a=2)], 2)]
    [('1', 0), ('2', 0), ('1', 1), ('2', 1)]
    """
    listed = list(settings)
    return (cell.seeded(seed) for seed in range(seeds) for cell in listed)
