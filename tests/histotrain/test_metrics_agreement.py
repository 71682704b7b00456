"""Kappa against the formulas with their tables written out."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from histotrain.metrics import cohen_kappa, confusion, fleiss_kappa, kappa_of

VOTES = hnp.arrays(np.uint8, st.tuples(st.integers(2, 4), st.integers(0, 12)), elements=st.integers(0, 3))


def literal_cohen(a: np.ndarray, b: np.ndarray, power: int) -> float:
    pairs = [(int(x), int(y)) for x, y in zip(a, b, strict=True) if x and y]
    if not pairs:
        return float("nan")
    observed = sum(abs(x - y) ** power if x != y else 0 for x, y in pairs) / len(pairs)
    every = [(x, y) for x, _ in pairs for _, y in pairs]
    chance = sum(abs(x - y) ** power if x != y else 0 for x, y in every) / len(every)
    return 1 - observed / chance if chance else float("nan")


def literal_fleiss(votes: np.ndarray) -> float:
    items = [column for column in votes.T.tolist() if all(column)]
    if not items:
        return float("nan")
    agree = [sum(x == y for x, y in combinations(item, 2)) / len(list(combinations(item, 2))) for item in items]
    everything = [vote for item in items for vote in item]
    chance = sum((everything.count(c) / len(everything)) ** 2 for c in (1, 2, 3))
    return (sum(agree) / len(agree) - chance) / (1 - chance) if chance < 1 else float("nan")


@given(VOTES)
def test_cohen_is_the_literal_one(votes: np.ndarray) -> None:
    for power, weights in enumerate(("none", "linear", "quadratic")):
        found = cohen_kappa(votes[0], votes[1], classes=3, weights=weights)
        assert found == pytest.approx(literal_cohen(votes[0], votes[1], power), nan_ok=True, abs=1e-12)


@given(VOTES)
def test_fleiss_is_the_literal_one(votes: np.ndarray) -> None:
    assert fleiss_kappa(votes, classes=3) == pytest.approx(literal_fleiss(votes), nan_ok=True, abs=1e-12)


def test_published_examples() -> None:
    """Cohen's table of 50 grant proposals; Fleiss' (1971) agreement of the worked example with 14 raters."""
    first, second = np.repeat([1, 1, 2, 2], [20, 5, 10, 15]), np.repeat([1, 2, 1, 2], [20, 5, 10, 15])
    assert cohen_kappa(first, second, classes=2) == pytest.approx(0.4)
    table = [
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ]  # fmt: skip
    votes = np.stack([np.repeat(np.arange(1, 6), row) for row in table], axis=1)
    assert fleiss_kappa(votes, classes=5) == pytest.approx(0.210, abs=5e-4)


def test_kappa_adds_up_over_images() -> None:
    a, b = np.array([1, 1, 2, 2, 3]), np.array([1, 2, 2, 2, 3])
    parts = confusion(a[:2], b[:2], classes=3) + confusion(a[2:], b[2:], classes=3)
    assert kappa_of(parts) == cohen_kappa(a, b, classes=3)


def test_maps_of_any_shape() -> None:
    image = np.array([[1, 2], [3, 0]])
    assert cohen_kappa(image, image, classes=3) == 1
    assert fleiss_kappa([image, image, image], classes=3) == pytest.approx(1)


def test_one_class_throughout_is_undefined() -> None:
    assert np.isnan(cohen_kappa([1, 1], [1, 1], classes=2))
    assert np.isnan(fleiss_kappa([[2, 2], [2, 2]], classes=2))


@pytest.mark.parametrize(
    ("maps", "message"),
    [([[1]], "two or more"), ([[1], [1, 2]], "shape"), ([[1], [4]], "outside"), ([[1], [-1]], "outside")],
)
def test_misfits(maps: list[list[int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fleiss_kappa(maps, classes=3)


def test_unknown_weights() -> None:
    with pytest.raises(ValueError, match="quadratic"):
        cohen_kappa([1], [1], classes=1, weights="cubic")  # type: ignore[arg-type]
