"""Random fields and packing: the properties the picture rests on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist

from sample_data.generator.fields import along_flow, noise, ramp, sample, sample_smoothly
from sample_data.generator.packing import scatter, spread, thin


@pytest.mark.parametrize("scale", [3.0, 6.0, 60.0])
def test_noise_is_standardised_and_as_coarse_as_asked(scale: float) -> None:
    field = noise((400, 500), scale, np.random.default_rng(0))
    assert field.dtype == np.float32
    assert field.mean() == pytest.approx(0, abs=1e-3)
    assert field.std() == pytest.approx(1, abs=1e-3)
    near, far = (np.mean(field[:, :-lag] * field[:, lag:]) for lag in (max(1, int(scale / 6)), int(2 * scale)))
    assert near > 0.5
    assert abs(far) < 0.35


def test_noise_shows_no_axes() -> None:
    """Neighbours along rows, columns and diagonals resemble each other alike."""
    field = noise((1200, 1200), 12.0, np.random.default_rng(1))
    across, down = np.mean(field[:, 5:] * field[:, :-5]), np.mean(field[5:] * field[:-5])
    oblique = np.mean(field[4:, 3:] * field[:-4, :-3])
    assert across == pytest.approx(down, abs=0.06)
    assert across == pytest.approx(oblique, abs=0.06)


def test_fibres_run_along_the_level_sets() -> None:
    stream = np.indices((80, 80), np.float32)[0] * 4
    fibres = along_flow(noise((320, 320), 2.0, np.random.default_rng(2)), stream, 3)
    along = np.mean(fibres[:, 6:] * fibres[:, :-6])
    across = np.mean(fibres[6:] * fibres[:-6])
    assert along > 0.6
    assert abs(across) < 0.15


def test_ramp_reaches_both_ends_in_either_direction() -> None:
    values = np.array([-1.0, 0.0, 0.5, 1.0, 2.0], np.float32)
    np.testing.assert_allclose(ramp(values, 0, 1), [0, 0, 0.5, 1, 1])
    np.testing.assert_allclose(ramp(values, 1, 0), [1, 1, 0.5, 0, 0])


def test_samples_are_corner_based() -> None:
    field = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert sample(field, np.array([[2.0, 0.0], [7.9, 5.9]]), 2.0).tolist() == [1, 11]
    assert sample_smoothly(field, np.array([[0.5, 0.5], [1.0, 0.5], [0.5, 1.0]])).tolist() == [0, 0.5, 2]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), distance=st.floats(5, 30))
def test_spread_points_keep_their_distance(seed: int, distance: float) -> None:
    mask = np.zeros((30, 40), bool)
    mask[5:25, 8:36] = True
    points = spread(mask, distance, np.random.default_rng(seed), scale=4.0)
    assert len(points) >= 1
    assert mask[tuple((points[:, ::-1] // 4).astype(int).T)].all()
    if len(points) > 1:
        assert pdist(points).min() >= distance


def test_thinning_is_maximal_and_keeps_those_that_came_first() -> None:
    rng = np.random.default_rng(3)
    points = scatter(np.ones((60, 60), bool), 400, rng)
    radius, first = np.full(400, 4.0), np.arange(400) < 20
    kept = thin(points, radius, radius, np.zeros(400), rng, first)
    assert set(range(20)) <= set(kept.tolist())
    dropped = np.setdiff1d(np.arange(400), kept)
    gaps = np.linalg.norm(points[dropped][:, None] - points[kept][None], axis=2).min(1)
    assert gaps.max() < 8.0


def test_empty_masks_give_no_points() -> None:
    nothing = np.zeros((4, 4), bool)
    assert spread(nothing, 5.0, np.random.default_rng(0)).shape == (0, 2)
    assert scatter(nothing, 9, np.random.default_rng(0)).shape == (0, 2)
