"""What can be said of tissue in a project: an ordered hierarchy of label classes.

Class ids are 1 ... C and stable: renaming or reordering never changes what a painted pixel means. 0 is never a class;
in every mask it means unlabelled, which is "not known", not "background". The class marked ``background`` is what
unlabelled pixels inside an exhaustive region become.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

UNLABELLED = 0
MAX_CLASSES = 255

PALETTE: tuple[tuple[int, int, int], ...] = (
    (228, 26, 28),
    (55, 126, 184),
    (77, 175, 74),
    (152, 78, 163),
    (255, 127, 0),
    (255, 217, 47),
    (166, 86, 40),
    (247, 129, 191),
    (23, 190, 207),
    (148, 103, 189),
)


@dataclass(frozen=True, slots=True)
class LabelClass:
    """One class.

    Parameters
    ----------
    id : int
        1 ... 255; the value in masks.
    name : str
        Shown to the annotator; unique in the scheme.
    color : tuple of int
        RGB, 0 ... 255.
    parent : int, optional
        Id of the class this one refines.
    grade : int
        Order for "the highest grade wins" decisions; higher is worse.
    hotkey : str, optional
        Key that selects the class, "1" ... "9".
    background : bool
        Whether this class is what lies between annotated objects in an exhaustive region.
    """

    id: int
    name: str
    color: tuple[int, int, int]
    parent: int | None = None
    grade: int = 0
    hotkey: str | None = None
    background: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.id <= MAX_CLASSES:
            raise ValueError(f"class id must lie in 1 … {MAX_CLASSES}, not {self.id}")
        if not self.name.strip():
            raise ValueError("a class needs a name")
        if len(self.color) != 3 or not all(0 <= channel <= 255 for channel in self.color):
            raise ValueError(f"a colour is three values in 0 … 255, not {self.color}")


@dataclass(frozen=True, slots=True)
class LabelScheme:
    """An immutable, ordered set of label classes; every change returns a new scheme.

    Examples
    --------
    >>> scheme = LabelScheme.from_names(["tumour", "stroma"])
    >>> [(c.id, c.name) for c in scheme]
    [(1, 'tumour'), (2, 'stroma')]
    >>> scheme["stroma"].id
    2
    """

    classes: tuple[LabelClass, ...] = ()

    def __post_init__(self) -> None:
        ids = [c.id for c in self.classes]
        names = [c.name.casefold() for c in self.classes]
        hotkeys = [c.hotkey for c in self.classes if c.hotkey]
        for what, values in (("ids", ids), ("names", names), ("hotkeys", hotkeys)):
            if len(set(values)) != len(values):
                raise ValueError(f"class {what} must be unique")
        if sum(c.background for c in self.classes) > 1:
            raise ValueError("only one class can be the background")
        for label in self.classes:
            self._check_ancestry(label)

    def _check_ancestry(self, label: LabelClass) -> None:
        seen = {label.id}
        by_id = {c.id: c for c in self.classes}
        while label.parent is not None:
            if label.parent not in by_id:
                raise ValueError(f"class {label.name!r} has an unknown parent {label.parent}")
            if label.parent in seen:
                raise ValueError(f"class {label.name!r} is its own ancestor")
            seen.add(label.parent)
            label = by_id[label.parent]

    @classmethod
    def from_names(cls, names: Sequence[str], *, background: str | None = None) -> LabelScheme:
        """Scheme with palette colours, hotkeys 1-9 and grades in the given order."""
        return cls(
            tuple(
                LabelClass(
                    id=i,
                    name=name,
                    color=PALETTE[(i - 1) % len(PALETTE)],
                    grade=i - 1,
                    hotkey=str(i) if i <= 9 else None,
                    background=name == background,
                )
                for i, name in enumerate(names, 1)
            )
        )

    def __iter__(self) -> Iterator[LabelClass]:
        return iter(self.classes)

    def __len__(self) -> int:
        return len(self.classes)

    def __contains__(self, key: int | str) -> bool:
        return self.find(key) is not None

    def __getitem__(self, key: int | str) -> LabelClass:
        found = self.find(key)
        if found is None:
            raise KeyError(
                f"no class {key!r} in this scheme; it has {', '.join(c.name for c in self.classes) or 'none'}"
            )
        return found

    def find(self, key: int | str) -> LabelClass | None:
        """Class by id, or by name without regard to case; None if there is none."""
        if isinstance(key, str):
            return next((c for c in self.classes if c.name.casefold() == key.casefold()), None)
        return next((c for c in self.classes if c.id == key), None)

    @property
    def background(self) -> LabelClass | None:
        return next((c for c in self.classes if c.background), None)

    def with_class(
        self, name: str, *, color: tuple[int, int, int] | None = None, background: bool = False
    ) -> LabelScheme:
        """Scheme with one more class at the end: the smallest free id, a palette colour and the next free hotkey."""
        used = {c.id for c in self.classes}
        free = next((i for i in range(1, MAX_CLASSES + 1) if i not in used), None)
        if free is None:
            raise ValueError(f"a scheme holds at most {MAX_CLASSES} classes")
        hotkeys = {c.hotkey for c in self.classes}
        label = LabelClass(
            id=free,
            name=name,
            color=color or PALETTE[(free - 1) % len(PALETTE)],
            grade=max((c.grade for c in self.classes), default=-1) + 1,
            hotkey=next((k for k in "123456789" if k not in hotkeys), None),
            background=background,
        )
        return LabelScheme((*self.classes, label))

    def with_changed(self, class_id: int, **changes: Any) -> LabelScheme:
        """Scheme in which one class has other values; its id cannot change."""
        if "id" in changes:
            raise ValueError("a class keeps its id")
        self[class_id]
        return LabelScheme(tuple(replace(c, **changes) if c.id == class_id else c for c in self.classes))

    def without(self, class_id: int) -> LabelScheme:
        """Scheme without one class; its children move up to its parent."""
        gone = self[class_id]
        kept = (c for c in self.classes if c.id != class_id)
        return LabelScheme(tuple(replace(c, parent=gone.parent) if c.parent == class_id else c for c in kept))

    def by_grade(self) -> tuple[LabelClass, ...]:
        """Classes from the lowest grade to the highest."""
        return tuple(sorted(self.classes, key=lambda c: (c.grade, c.id)))

    def to_json(self) -> str:
        return json.dumps([asdict(c) for c in self.classes], sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> LabelScheme:
        """Scheme written by :meth:`to_json`; raises ValueError on anything else."""
        try:
            return cls(tuple(LabelClass(**{**entry, "color": tuple(entry["color"])}) for entry in json.loads(text)))
        except (TypeError, KeyError) as error:
            raise ValueError(f"not a label scheme: {error}") from error
