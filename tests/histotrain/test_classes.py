"""Channels find their classes, also in an older model's list."""

from types import SimpleNamespace

import pytest

from histotrain import TrainingError
from histotrain.classes import ClassList, match_classes, resolve_classes

SCHEME = {"classes": [{"id": 3, "name": "gland"}, {"id": 8, "name": "fat"}]}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"classes": ["fat", "gland"], "scheme": SCHEME}, ClassList(("fat", "gland"), (8, 3))),
        ({"classes": ["a", "b"], "class_ids": [4, 2], "scheme": SCHEME}, ClassList(("a", "b"), (4, 2))),
        ({"scheme": SCHEME}, ClassList(("gland", "fat"), (3, 8))),
        ({"classes": ["a", "b"]}, ClassList(("a", "b"), (1, 2))),
    ],
    ids=["by scheme", "as given", "all of the scheme", "counted"],
)
def test_resolution(given: dict[str, object], expected: ClassList) -> None:
    wanted = {"classes": None, "class_ids": None, "scheme": None} | given
    assert resolve_classes(object(), **wanted) == expected  # type: ignore[arg-type]


def test_the_datas_own_classes() -> None:
    data = SimpleNamespace(classes=("x", "y"), class_ids=(5, 6))
    assert resolve_classes(data, None, None, None) == ClassList(("x", "y"), (5, 6))
    assert resolve_classes(data, ["y"], None, None) == ClassList(("y",), (6,))


def test_no_classes() -> None:
    with pytest.raises(TrainingError, match="needs classes"):
        resolve_classes(object(), None, None, None)


@pytest.mark.parametrize(
    ("new", "known"),
    [
        (ClassList(("gland", "fat"), (3, 8)), {0: 0, 1: 1}),
        (ClassList(("Fat", "Gland", "nerve"), (1, 2, 3)), {0: 1, 1: 0}),
        (ClassList(("gland", "lipocyte"), (3, 8)), {0: 0, 1: 1}),
        (ClassList(("nerve",), (30,)), {}),
    ],
    ids=["same", "by name, other ids", "renamed", "all new"],
)
def test_matching(new: ClassList, known: dict[int, int]) -> None:
    assert match_classes(ClassList(("gland", "fat"), (3, 8)), new) == known
