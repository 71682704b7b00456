"""What a training tells the world while it runs, and the picture that its listeners keep.

Events are small frozen records that survive JSON, so that they can cross processes and be kept in a file. A view
never adds them up by itself: `reduce` is the only place that turns events into a `Status`, and every view (dock,
terminal, test) shows that.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, ClassVar, Self

CURVE_POINTS = 1024
"""A loss curve keeps at most twice this many points; older ones are thinned, so hours of training cost no memory."""

Reason = str


class Phase(StrEnum):
    """Where a training stands."""

    IDLE = "idle"
    RUNNING = "running"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events."""

    kinds: ClassVar[dict[str, type[Event]]] = {}

    def to_dict(self) -> dict[str, Any]:
        """JSON-able mapping; "event" names the kind and NaN becomes None, since JSON has no NaN."""
        return {"event": type(self).__name__} | {k: _json_able(v) for k, v in asdict(self).items()}

    @staticmethod
    def from_dict(mapping: dict[str, Any]) -> Event:
        """Event written by `to_dict`.

        Raises
        ------
        ValueError
            If the mapping names no known event or its fields do not fit.
        """
        entries = dict(mapping)
        kind = Event.kinds.get(entries.pop("event", ""))
        if kind is None:
            raise ValueError(f"unknown event {mapping.get('event')!r}; known: {', '.join(sorted(Event.kinds))}")
        try:
            return kind(
                **{f.name: _restored(f.name, entries.pop(f.name)) for f in fields(kind) if f.name in entries}, **entries
            )
        except TypeError as error:
            raise ValueError(f"not a {kind.__name__} event: {error}") from error


def _json_able(value: Any) -> Any:
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, dict):
        return {k: _json_able(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_json_able(v) for v in value]
    return value


def _restored(name: str, value: Any) -> Any:
    if name in ("metrics", "terms") and isinstance(value, dict):
        return {k: math.nan if v is None else v for k, v in value.items()}
    if name == "classes" and isinstance(value, list):
        return tuple(value)
    if name in ("loss", "learning_rate") and value is None:
        return math.nan
    return value


@dataclass(frozen=True, slots=True)
class Started(Event):
    """The first step is about to run."""

    recipe: str
    model: str
    parameters: int
    classes: tuple[str, ...]
    device: str
    precision: str
    step: int
    total_steps: int


@dataclass(frozen=True, slots=True)
class Progressed(Event):
    """One step was taken; ``items_per_second`` counts patches, ``eta_seconds`` runs to ``total_steps``.

    ``terms`` are the parts of the loss, by name, where it has more than one.
    """

    step: int
    total_steps: int
    loss: float
    learning_rate: float
    items_per_second: float
    eta_seconds: float
    terms: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Validated(Event):
    """The model was measured; ``metrics`` maps "mean_iou", "iou/<class>" … to values, NaN where undefined."""

    step: int
    loss: float
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Saved(Event):
    """Weights were written to the folder ``path``."""

    step: int
    path: str
    best: bool


@dataclass(frozen=True, slots=True)
class Notice(Event):
    """Something the user should know; the run goes on."""

    message: str


@dataclass(frozen=True, slots=True)
class Finished(Event):
    """The last event of every run; ``reason`` is "completed", "cancelled" or "failed"."""

    reason: Reason
    step: int
    best_step: int
    metrics: dict[str, float] = field(default_factory=dict)
    path: str | None = None
    message: str = ""


Event.kinds.update({kind.__name__: kind for kind in (Started, Progressed, Validated, Saved, Notice, Finished)})


@dataclass(frozen=True, slots=True)
class Status:
    """Everything a view shows of one training.

    ``losses`` are (step, loss) and ``validations`` (step, loss, metrics), in order; ``best_step`` is the step whose
    weights are kept.
    """

    phase: Phase = Phase.IDLE
    step: int = 0
    total_steps: int = 0
    loss: float = math.nan
    learning_rate: float = math.nan
    items_per_second: float = 0.0
    eta_seconds: float = math.nan
    best_step: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    losses: tuple[tuple[int, float], ...] = ()
    validations: tuple[tuple[int, float, dict[str, float]], ...] = ()
    notices: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    device: str = ""
    path: str | None = None
    message: str = ""

    @property
    def running(self) -> bool:
        return self.phase is Phase.RUNNING

    @classmethod
    def initial(cls) -> Self:
        return cls()


def reduce(status: Status, event: Event) -> Status:
    """The status after one more event; pure, and indifferent to events it does not know.

    Examples
    --------
    >>> reduce(Status(), Progressed(3, 10, 0.5, 1e-3, 20.0, 2.0)).step
    3
    """
    match event:
        case Started():
            return replace(
                status,
                phase=Phase.RUNNING,
                step=event.step,
                total_steps=event.total_steps,
                classes=event.classes,
                device=event.device,
            )
        case Progressed():
            return replace(
                status,
                phase=Phase.RUNNING,
                step=event.step,
                total_steps=event.total_steps,
                loss=event.loss,
                learning_rate=event.learning_rate,
                items_per_second=event.items_per_second,
                eta_seconds=event.eta_seconds,
                losses=_extended(status.losses, (event.step, event.loss)),
            )
        case Validated():
            seen = (*status.validations, (event.step, event.loss, event.metrics))
            return replace(status, metrics=event.metrics, validations=seen)
        case Saved():
            return replace(status, path=event.path, best_step=event.step if event.best else status.best_step)
        case Notice():
            return replace(status, notices=(*status.notices, event.message))
        case Finished():
            return replace(
                status,
                phase=Phase(event.reason),
                step=event.step,
                best_step=event.best_step,
                metrics=event.metrics or status.metrics,
                path=event.path or status.path,
                message=event.message,
                eta_seconds=0.0,
            )
        case _:
            return status


def _extended(curve: tuple[tuple[int, float], ...], point: tuple[int, float]) -> tuple[tuple[int, float], ...]:
    if len(curve) >= 2 * CURVE_POINTS:
        curve = curve[::2]
    return (*curve, point)
