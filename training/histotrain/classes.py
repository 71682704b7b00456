"""Which class a channel stands for, and how an older model's channels meet a newer list of classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from histotrain.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class ClassList:
    """Channel c is the class ``names[c]``, which is ``ids[c]`` in masks."""

    names: tuple[str, ...]
    ids: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.names:
            raise TrainingError("a model needs classes", "none are known", "Name the classes, or give a label scheme.")
        if len(self.names) != len(self.ids) or len(set(self.ids)) != len(self.ids):
            raise TrainingError("class names and ids do not fit", f"{self.names} and {self.ids}")
        if not all(1 <= i <= 255 for i in self.ids):
            raise TrainingError("class ids must lie in 1 … 255", f"they are {self.ids}")

    def __len__(self) -> int:
        return len(self.names)


def resolve_classes(
    data: object, classes: Sequence[str] | None, class_ids: Sequence[int] | None, scheme: Mapping[str, Any] | None
) -> ClassList:
    """The classes to learn: as named; else those of the data; else those of the scheme.

    Ids are as given; else by name from the scheme; else from the data; else 1 … C.
    """
    in_scheme = {str(c["name"]): int(c["id"]) for c in (scheme or {}).get("classes", ())}
    in_data = dict(zip(getattr(data, "classes", ()) or (), getattr(data, "class_ids", ()) or (), strict=False))
    names = tuple(classes or in_data or in_scheme)
    if class_ids is not None:
        return ClassList(names, tuple(class_ids))
    for known in (in_scheme, in_data):
        if names and all(name in known for name in names):
            return ClassList(names, tuple(known[name] for name in names))
    return ClassList(names, tuple(range(1, len(names) + 1)))


def match_classes(old: ClassList, new: ClassList) -> dict[int, int]:
    """Channel of the old model for each channel of the new one that it knows.

    The same name is the same class; a class that kept its id under a name neither side has otherwise was renamed.

    Examples
    --------
    >>> match_classes(ClassList(("gland", "fat"), (1, 2)), ClassList(("Fat", "tubule", "nerve"), (2, 1, 3)))
    {0: 1, 1: 0}
    """
    old_names, new_names = ([name.casefold() for name in side.names] for side in (old, new))
    found: dict[int, int] = {}
    for channel, (name, class_id) in enumerate(zip(new_names, new.ids, strict=True)):
        if name in old_names:
            found[channel] = old_names.index(name)
        elif class_id in old.ids and old_names[old.ids.index(class_id)] not in new_names:
            found[channel] = old.ids.index(class_id)
    return found
