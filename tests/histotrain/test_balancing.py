"""The weights are the paper's equations, read literally one pixel at a time."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from histotrain.balancing import Balancing, pixel_weights

SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5))
LABELS = hnp.arrays(np.uint8, SHAPES, elements=st.integers(0, 4))


def literally(group: np.ndarray) -> np.ndarray:
    """w = L / (C * C_ij) where labelled, 0 elsewhere; L, C and C_ij counted over the group."""
    weights = np.zeros(group.shape)
    labelled = [int(y) for y in group.flat if y != 0]
    for where, y in np.ndenumerate(group):
        if y != 0:
            weights[where] = len(labelled) / (len(set(labelled)) * labelled.count(int(y)))
    return weights


@given(LABELS)
def test_equation_1(labels: np.ndarray) -> None:
    weights = pixel_weights(torch.from_numpy(labels), Balancing.INSTANCE, classes=4)
    np.testing.assert_allclose(weights, np.stack([literally(patch) for patch in labels]), rtol=1e-6)


@given(LABELS)
def test_equation_2(labels: np.ndarray) -> None:
    weights = pixel_weights(torch.from_numpy(labels), Balancing.MINI_BATCH, classes=4)
    np.testing.assert_allclose(weights, literally(labels), rtol=1e-6)


@given(LABELS)
def test_no_balancing_is_the_mask_of_valid_pixels(labels: np.ndarray) -> None:
    weights = pixel_weights(torch.from_numpy(labels), "none", classes=4)
    np.testing.assert_array_equal(weights, labels != 0)


@given(LABELS)
def test_every_class_present_has_the_same_share(labels: np.ndarray) -> None:
    weights = pixel_weights(torch.from_numpy(labels), Balancing.MINI_BATCH, classes=4).numpy()
    shares = [weights[labels == c].sum() for c in range(1, 5) if (labels == c).any()]
    np.testing.assert_allclose(shares, np.full(len(shares), (labels != 0).sum() / max(1, len(shares))), rtol=1e-5)


def test_unknown_balancing() -> None:
    with pytest.raises(ValueError, match="sometimes"):
        pixel_weights(torch.ones(1, 1, 1), "sometimes", classes=1)
