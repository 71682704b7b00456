"""What listeners and the history hear of an action."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from uuid import UUID

ChangeKind: TypeAlias = Literal["annotations", "raster", "scheme", "slides", "runs", "predictions", "settings"]
ChunkKey: TypeAlias = tuple[int, int]
"""(row, column) of a chunk."""


@dataclass(frozen=True, slots=True)
class Change:
    """Something in the project is different now.

    Parameters
    ----------
    kind : str
        What: "annotations", "raster", "scheme", "slides", "runs", "predictions" or "settings".
    action : str
        The user's action that did it; undoing has the action's own name.
    slide : str, optional
        Id of the slide concerned; None for what concerns no single slide.
    annotations : tuple of UUID
        Records added, changed or deleted.
    annotator : str, optional
        Whose mask, for "raster".
    chunks : frozenset of (int, int)
        (row, column) of the level-0 chunks of the mask that are different.
    """

    kind: ChangeKind
    action: str
    slide: str | None = None
    annotations: tuple[UUID, ...] = ()
    annotator: str | None = None
    chunks: frozenset[ChunkKey] = frozenset()


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One line of the audit trail.

    Parameters
    ----------
    id : int
        Position on the timeline.
    when : datetime
        UTC.
    annotator, action : str
        Who did what.
    undone : bool
        Whether it was undone and not redone.
    reversible : bool
        Whether undo or redo can still reach it: not a mere note, not abandoned, and its inverse not pruned.
    """

    id: int
    when: datetime
    annotator: str
    action: str
    undone: bool = False
    reversible: bool = True


def merged(changes: Iterable[Change]) -> tuple[Change, ...]:
    """One change per kind, slide and annotator, in the order of their first."""
    groups: dict[tuple[str, str | None, str | None], Change] = {}
    for change in changes:
        key = (change.kind, change.slide, change.annotator)
        known = groups.get(key)
        if known is None:
            groups[key] = change
            continue
        groups[key] = Change(
            change.kind,
            known.action,
            change.slide,
            tuple(dict.fromkeys(known.annotations + change.annotations)),
            change.annotator,
            known.chunks | change.chunks,
        )
    return tuple(groups.values())
