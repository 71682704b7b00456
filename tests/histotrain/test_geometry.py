"""Everything that is known of a patch moves with its pixels, and its lower magnifications move with it."""

import numpy as np
import pytest
import torch
from torch import Tensor

from histotrain import AugmentSettings
from histotrain.augment import varied
from histotrain.batches import Batch, Known
from histotrain.chance import Chance
from histotrain.geometry import turned
from histotrain.pixels import MEAN, STD

OFF = AugmentSettings.off()
SIZE = 64
TURN = {"affine": 1.0, "rotation": 180.0, "scale": 0.3}
BEND = {"elastic": 1.0, "elastic_sigma": 4.0, "elastic_grid": 5}


def views(count: int, factors: tuple[float, ...]) -> Tensor:
    """Images (N, M, H, W, 3) of one slide around one centre: red is x and green y, in pixels of the target, / 4."""
    places = np.arange(SIZE) + 0.5 - SIZE / 2
    result = []
    for factor in factors:
        x, y = np.meshgrid(places * factor, places * factor)
        result.append(np.stack([x / 4 + 128, y / 4 + 128, np.full_like(x, 100)], -1))
    return torch.from_numpy(np.stack([np.stack(result).round().astype(np.uint8)] * count))


def known_of(count: int) -> Known:
    """A number for each block of 8 x 8 pixels, told in every way."""
    rows, columns = np.mgrid[:SIZE, :SIZE] // 8
    block = torch.from_numpy(np.stack([1 + columns + 8 * rows] * count))
    return Known(
        labels=block.to(torch.uint8),
        origins=(block % 5 + 1).to(torch.uint8),
        instances=(block * 1_000_003).to(torch.int32),
        shares=torch.stack([block / 64, 1 - block / 64], -1).float(),
        valid=torch.ones_like(block, dtype=torch.bool),
    )


def places_of(pixels: Tensor) -> np.ndarray:
    """(…, 2) positions in pixels of the target, from what `views` has painted."""
    values = (pixels.movedim(-3, -1).numpy() * STD + MEAN) * 256 - 1
    return (values[..., :2] - 128) * 4


@pytest.mark.parametrize(
    "settings", [TURN, BEND, {**TURN, **BEND}, {"dihedral": True}], ids=["turn", "bend", "both", "flip"]
)
def test_all_that_is_known_moves_alike(settings: dict[str, float]) -> None:
    known = known_of(6)
    batch = Batch(views(6, (1.0,))[:, 0], known)
    moved = varied(batch, OFF.model_copy(update=settings), Chance.of(np.random.default_rng(0), 6)).known
    assert known.labels is not None
    assert moved.labels is not None
    assert moved.origins is not None
    assert moved.instances is not None
    assert moved.shares is not None
    assert moved.valid is not None
    assert (moved.labels != known.labels).any()
    block = moved.labels.long()
    assert torch.equal(moved.valid, block > 0)
    assert torch.equal(moved.origins.long(), torch.where(block > 0, block % 5 + 1, 0))
    assert torch.equal(moved.instances.long(), block * 1_000_003)
    expected = torch.stack([block / 64, torch.where(block > 0, 1 - block / 64, 0)], -1)
    torch.testing.assert_close(moved.shares, expected)


@pytest.mark.parametrize("settings", [TURN, {"dihedral": True}], ids=["turn", "flip"])
def test_magnifications_turn_about_their_common_centre(settings: dict[str, float]) -> None:
    """A place of the slide is found in each magnification where the target shows it, a factor nearer to the centre."""
    factors = (1.0, 2.0, 4.0)
    images = views(6, factors)
    batch = Batch(images[:, 0], Known(), images[:, 1:])
    pixels = varied(batch, OFF.model_copy(update=settings), Chance.of(np.random.default_rng(0), 6), factors).pixels
    compare(places_of(pixels), factors, tolerance=4.5)


def test_a_bend_is_one_of_the_slide() -> None:
    factors = (1.0, 2.0, 4.0)
    images = views(6, factors)
    batch = Batch(images[:, 0], Known(), images[:, 1:])
    settings = OFF.model_copy(update=BEND)
    places = places_of(varied(batch, settings, Chance.of(np.random.default_rng(0), 6), factors).pixels)
    still = places_of(varied(batch, OFF, Chance.of(np.random.default_rng(0), 6), factors).pixels)
    assert np.abs(places - still)[:, 0].max() > 6
    compare(places, factors, tolerance=6.0)


def compare(places: np.ndarray, factors: tuple[float, ...], *, tolerance: float) -> None:
    middle = SIZE / 2
    for number, factor in enumerate(factors[1:], 1):
        half = int(middle / factor) - 2
        inner = np.arange(-half, half)
        target = (middle + (inner + 0.5) * factor - 0.5).astype(int)
        lower = (middle + inner).astype(int)
        shown = places[:, 0][:, target[:, None], target]
        expected = places[:, number][:, lower[:, None], lower]
        clear = np.abs(expected).max(-1) < middle - 4 * factor  # not mirrored at the target's border
        assert clear.mean() > 0.3
        assert np.abs(shown - expected)[clear].max() <= tolerance + factor


def test_parts_vary_as_they_do_within_the_whole() -> None:
    images = views(5, (1.0,))[:, 0]
    settings = AugmentSettings(affine=0.7, elastic=0.5, blur=0.5)
    rng = np.random.default_rng
    together = varied(Batch(images, known_of(5)), settings, Chance.of(rng(3), 5))
    for part in (slice(0, 2), slice(2, 5)):
        batch = Batch(images, known_of(5)).each(lambda tensor, part=part: tensor[part])  # type: ignore[misc]
        own = varied(batch, settings, Chance(rng(3), 5, part))
        torch.testing.assert_close(own.pixels, together.pixels[part])
        assert own.known.instances is not None
        assert together.known.instances is not None
        assert torch.equal(own.known.instances, together.known.instances[part])


def test_contexts_are_coloured_like_their_patch() -> None:
    grey = torch.full((8, 2, 16, 16, 3), 150, dtype=torch.uint8)
    settings = OFF.model_copy(update={"stain": 0.3, "gamma": 0.3, "brightness": 0.2, "contrast": 0.3})
    chance = Chance.of(np.random.default_rng(0), 8)
    pixels = varied(Batch(grey[:, 0], Known(), grey[:, 1:]), settings, chance, (1.0, 2.0)).pixels
    torch.testing.assert_close(pixels[:, 0], pixels[:, 1])
    assert pixels[:, 0].std(0).max() > 0.1


def test_oblong_patches_are_not_transposed() -> None:
    image = torch.arange(6 * 4 * 3, dtype=torch.uint8).reshape(1, 6, 4, 3).expand(16, -1, -1, -1)
    context = torch.stack([image, image], 1)
    found = turned(Batch(image, Known(), context), Chance.of(np.random.default_rng(0), 16))
    assert found.images.shape == image.shape
    assert found.contexts is not None
    assert torch.equal(found.contexts[:, 0], found.images)
    assert torch.equal(found.contexts[:, 1], found.images)
