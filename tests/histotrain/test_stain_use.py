"""One target look for all slides, and one measure for each."""

from __future__ import annotations

import numpy as np
import pytest

from histotrain.errors import TrainingError
from histotrain.stain import StainMethod, stain_look
from histotrain.stain_use import slide_normaliser, stain_target
from histotrain.stain_vectors import RUIFROK

METHODS = [str(method) for method in StainMethod]


def tissue(seed: int, strength: float) -> np.ndarray:
    """A picture of two stains."""
    amounts = np.random.default_rng(seed).gamma(2.0, strength, (96, 96, 2))
    return (255 * np.exp(-amounts @ RUIFROK)).astype(np.uint8)


@pytest.mark.parametrize("method", METHODS)
def test_a_slide_takes_the_look_of_the_target(method: str) -> None:
    target = stain_target(method)
    image = tissue(0, 0.25)
    normaliser = slide_normaliser(method, target, image)
    assert not normaliser.reason
    after = stain_look(normaliser(image), method)
    before = stain_look(image, method)
    assert after is not None
    assert before is not None
    wanted = np.array(target["rows"])
    assert np.abs(np.array(after.rows) - wanted).max() <= np.abs(np.array(before.rows) - wanted).max()
    if method == "ruifrok":
        np.testing.assert_allclose(after.strengths, target["strengths"], rtol=0.1)


def test_only_tissue_is_measured() -> None:
    image = tissue(1, 0.3)
    framed = np.full((192, 96, 3), 250, np.uint8)
    framed[:96] = image
    mask = np.zeros((192, 96), bool)
    mask[:96] = True
    target = stain_target("reinhard")
    alone = slide_normaliser("reinhard", target, image)
    masked = slide_normaliser("reinhard", target, framed, mask)
    whole = slide_normaliser("reinhard", target, framed)
    np.testing.assert_array_equal(masked(image), alone(image))
    assert not np.array_equal(whole(image), alone(image))


def test_a_slide_without_stains_stays_as_it_is_and_says_why() -> None:
    glass = np.full((64, 64, 3), 244, np.uint8)
    normaliser = slide_normaliser("macenko", stain_target("macenko"), glass)
    assert "tissue" in normaliser.reason
    np.testing.assert_array_equal(normaliser(glass), glass)
    empty = slide_normaliser("macenko", stain_target("macenko"), glass, np.zeros((64, 64), bool))
    assert empty.reason


def test_methods_are_not_mixed() -> None:
    with pytest.raises(TrainingError, match="no stain normalisation"):
        stain_target("none")
    with pytest.raises(TrainingError, match="measured by macenko"):
        slide_normaliser("reinhard", stain_target("macenko"), tissue(0, 0.3))


def test_the_packaged_target_is_handed_out_as_a_copy() -> None:
    first = stain_target("macenko")
    first["rows"] = []
    assert stain_target("macenko")["rows"]
