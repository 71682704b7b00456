"""Stains are found where they were mixed in, exchanged as the reference tool does; what has none is left alone."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from histotrain import TrainingError
from histotrain.stain import StainLook, StainMethod, StainNormaliser, StainTransform, stain_look
from histotrain.stain_tables import DENSITY, recolour, recolour_slowly, recolouring_tables
from histotrain.stain_vectors import RUIFROK, macenko_vectors, sparse_amounts, vahadane_vectors

TOLERANCE = {"macenko": 1e-2, "reinhard": 1e-2, "ruifrok": 1e-2, "vahadane": 1e-1}
PURPLE, PINK = (0.60, 0.72, 0.35), (0.15, 0.90, 0.40)


def tissue(
    strengths: tuple[float, float], seed: int = 0, size: int = 96, vectors: object = (PURPLE, PINK)
) -> np.ndarray:
    """Pink everywhere and purple in places, so that both stains occur (nearly) alone."""
    rng = np.random.default_rng(seed)
    amounts = rng.gamma(6.0, 0.15, (size, size, 2)) * strengths
    amounts[..., 0] *= rng.random((size, size)) < 0.4
    amounts[..., 1] *= rng.random((size, size)) < 0.8
    return (255 * np.exp(-amounts @ unit(vectors)) + 0.5).astype(np.uint8)


def unit(vectors: object) -> np.ndarray:
    rows = np.asarray(vectors, dtype=float)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def flat(colour: object, size: int = 32) -> np.ndarray:
    return np.full((size, size, 3), colour, np.uint8)


@pytest.mark.real_data
@pytest.mark.parametrize("method", StainMethod)
def test_reference_images(method: StainMethod, real_data: Path) -> None:
    folder = real_data / "oracles" / "stain_norm" / "tiatoolbox"
    source, target, expected = (
        imagecodecs.imread(folder / f"{name}.png") for name in ("source_image", "target_image", f"norm_{method}")
    )
    result = StainNormaliser.fit(target, method).transform(source)
    assert np.abs(result.astype(float) - expected).mean() / 255 < TOLERANCE[method]


@given(hnp.arrays(np.float64, (3, 3), elements=st.floats(-50, 50)), st.integers(0, 99))
@settings(max_examples=30)
def test_compiled_look_ups_are_the_slow_ones(matrix: np.ndarray, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (50, 3), np.uint8)
    tables = recolouring_tables(matrix)
    np.testing.assert_array_equal(recolour(pixels, tables), recolour_slowly(pixels, tables))


@given(hnp.arrays(np.float64, (3, 3), elements=st.floats(-1, 2)), st.integers(0, 99))
@settings(max_examples=30)
def test_look_ups_are_a_matrix_in_optical_density(matrix: np.ndarray, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (50, 3), np.uint8)
    literal = np.minimum(255 * np.exp(-DENSITY[pixels] @ matrix), 255)
    assert np.abs(recolour(pixels, recolouring_tables(matrix)) - literal).max() <= 0.501


@given(hnp.arrays(np.float64, (8, 3), elements=st.floats(0, 4)), st.sampled_from([0.0, 0.1, 1.0]))
def test_sparse_amounts_are_the_best(densities: np.ndarray, sparsity: float) -> None:
    """The conditions of Karush, Kuhn and Tucker, which only the best amounts meet."""
    vectors = unit((PURPLE, PINK))
    amounts = sparse_amounts(densities, vectors, sparsity)
    slope = (amounts @ vectors - densities) @ vectors.T + sparsity
    assert (amounts >= 0).all()
    assert (slope >= -1e-9).all()
    assert np.abs(slope[amounts > 0]).max(initial=0) < 1e-9


@pytest.mark.parametrize(("find", "tolerance"), [(macenko_vectors, 0.03), (vahadane_vectors, 0.08)])
def test_stains_are_found_where_they_were_mixed(find: object, tolerance: float) -> None:
    densities = DENSITY[tissue((1.0, 0.8)).reshape(-1, 3)]
    found = find(densities[densities.min(1) > 0.15])  # type: ignore[operator]
    assert np.abs(found - unit((PURPLE, PINK))).max() < tolerance


@pytest.mark.parametrize("method", StainMethod)
def test_other_stain_and_strength_become_those_of_the_target(method: StainMethod) -> None:
    fixed = method is StainMethod.RUIFROK  # its colours are given: only the strengths can differ
    target = tissue((1.0, 0.8), vectors=RUIFROK if fixed else (PURPLE, PINK))
    source = tissue((0.6, 1.1), 1, vectors=RUIFROK if fixed else ((0.7, 0.6, 0.4), (0.1, 0.8, 0.6)))
    result = StainNormaliser.fit(target, method).transform(source)
    before, after = (
        np.abs(image.mean((0, 1)) - target.mean((0, 1))).max() + np.abs(image.std((0, 1)) - target.std((0, 1))).max()
        for image in (source, result)
    )
    assert after < 0.5 * before


@pytest.mark.parametrize("method", ["macenko", "vahadane", "reinhard"])
def test_the_target_stays_as_it_is(method: str) -> None:
    target = tissue((1.0, 0.8))
    changed = StainNormaliser.fit(target, method).transform(target)
    assert np.abs(changed.astype(int) - target).max() <= 2


@pytest.mark.parametrize("method", StainMethod)
def test_tiles_of_a_slide_have_no_seams(method: StainMethod) -> None:
    slide = tissue((0.6, 1.1), 1)
    change = StainNormaliser.fit(tissue((1.0, 0.8)), method).for_slide([slide[:48], slide[48:]])
    whole = change(slide)
    np.testing.assert_array_equal(whole[10:40, 50:90], change(slide[10:40, 50:90]))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(change))(slide), whole)
    assert not np.array_equal(whole, slide)


@pytest.mark.parametrize("method", ["macenko", "vahadane", "ruifrok"])
def test_glass_stays_white(method: str) -> None:
    image = tissue((0.6, 1.1), 1)
    image[:20] = 255
    assert (StainNormaliser.fit(tissue((1.0, 0.8)), method).transform(image)[:20] == 255).all()


NOISE = np.random.default_rng(0).integers(0, 3, (32, 32, 3), np.uint8)
UNSTAINED = {
    "white": flat(255),
    "black": flat(0),
    "grey": flat(200),
    "one colour": flat((120, 60, 140)),
    "noisy glass": flat(240) + NOISE,
    "empty": np.empty((0, 5, 3), np.uint8),
    "one pixel": flat((120, 60, 140), 1),
}


@pytest.mark.parametrize("method", StainMethod)
@pytest.mark.parametrize("name", UNSTAINED)
def test_what_has_no_stains_is_left_alone_and_is_no_target(name: str, method: StainMethod) -> None:
    image = UNSTAINED[name]
    result = StainNormaliser.fit(tissue((1.0, 0.8)), method).transform(image)
    np.testing.assert_array_equal(result, image)
    assert result is not image
    with pytest.raises(TrainingError, match="too little tissue"):
        StainNormaliser.fit(image, method)


@pytest.mark.parametrize("method", ["macenko", "vahadane"])
def test_shades_of_grey_are_not_two_stains(method: str) -> None:
    shades = np.repeat(np.arange(20, 200, dtype=np.uint8), 10)[:, None].repeat(3, 1)
    assert stain_look(shades, method) is None


@given(hnp.arrays(np.uint8, st.tuples(st.integers(0, 40), st.integers(1, 40), st.just(3))))
@settings(max_examples=40)
def test_any_image_comes_back_in_its_shape(image: np.ndarray) -> None:
    for method in StainMethod:
        look = stain_look(tissue((1.0, 0.8), size=32), method)
        assert look is not None
        result = StainNormaliser(look).transform(image)
        assert (result.shape, result.dtype) == (image.shape, np.uint8)


def test_a_slide_without_patches_is_unchanged() -> None:
    image = tissue((0.6, 1.1), 1)
    np.testing.assert_array_equal(StainNormaliser.fit(tissue((1.0, 0.8))).for_slide([])(image), image)


def test_large_samples_are_drawn_alike_and_mean_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    patches = [tissue((1.0, 0.8), seed) for seed in range(3)]
    whole = stain_look(patches)
    monkeypatch.setattr("histotrain.stain._PIXELS", 8000)
    drawn = stain_look(patches)
    assert whole is not None
    assert drawn is not None
    assert drawn == stain_look(patches)
    np.testing.assert_allclose(drawn.rows, whole.rows, atol=0.02)


@pytest.mark.parametrize("method", StainMethod)
def test_looks_are_kept_as_text(method: StainMethod) -> None:
    look = stain_look(tissue((1.0, 0.8)), method)
    assert look is not None
    assert StainLook.from_dict(json.loads(json.dumps(look.to_dict()))) == look


@pytest.mark.parametrize("wrong", [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8)])
def test_other_arrays_are_refused(wrong: np.ndarray) -> None:
    with pytest.raises(TrainingError, match="RGB images of bytes"):
        StainNormaliser.fit(wrong)
    with pytest.raises(TrainingError, match="RGB images of bytes"):
        StainNormaliser.fit(tissue((1.0, 0.8))).transform(wrong)


def test_methods_do_not_mix_and_must_exist() -> None:
    image = tissue((1.0, 0.8))
    one, other = stain_look(image, "macenko"), stain_look(image, "reinhard")
    assert one is not None
    assert other is not None
    with pytest.raises(TrainingError, match="one method"):
        StainTransform(one, other)
    with pytest.raises(TrainingError, match="macenko, vahadane, ruifrok, reinhard"):
        stain_look(image, "picasso")


def test_stains_and_metrics_need_no_torch() -> None:
    code = (
        "import sys\nfrom histotrain import StainNormaliser\nfrom histotrain.metrics import *\n"
        "assert StainNormaliser and image_quality and fleiss_kappa\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_fixed_colours_are_unit_vectors() -> None:
    np.testing.assert_allclose(np.linalg.norm(RUIFROK, axis=1), 1)
