"""Images and labels move together, pixel for pixel; colours change only as far as asked."""

import numpy as np
import pytest
import torch

from histotrain import AugmentSettings
from histotrain.augment import Colours, augmented
from histotrain.batches import Batch, Known
from histotrain.chance import Chance
from histotrain.geometry import turned
from histotrain.pixels import MEAN, STD, normalised

OFF = AugmentSettings.off()


def coordinate_patches(count: int, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images whose red is the column and green the row; labels that say the same in one number."""
    rows, columns = np.mgrid[:height, :width].astype(np.uint8)
    image = np.stack([columns, rows, np.zeros_like(rows)], axis=-1)
    label = 1 + columns // 8 + 16 * (rows // 8)
    return torch.from_numpy(np.stack([image] * count)), torch.from_numpy(np.stack([label.astype(np.uint8)] * count))


def dihedral(images: torch.Tensor, labels: torch.Tensor, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    batch = turned(Batch(images, Known(labels=labels)), Chance.of(rng, len(images)))
    assert batch.known.labels is not None
    return batch.images, batch.known.labels


def coloured(images: torch.Tensor, settings: AugmentSettings, rng: np.random.Generator) -> torch.Tensor:
    colours = Colours.drawn(len(images), settings, Chance.of(rng, len(images)))
    intensity = colours.intensity(images)
    return colours.normalised(intensity, intensity.mean(1, keepdim=True), images.shape[1:3])


def bytes_of(pixels: torch.Tensor) -> np.ndarray:
    return (pixels.permute(0, 2, 3, 1).numpy() * STD + MEAN) * 255


@pytest.mark.parametrize("size", [(24, 24), (16, 24)], ids=["square", "oblong"])
def test_dihedral_moves_labels_with_pixels(size: tuple[int, int]) -> None:
    images, labels = coordinate_patches(64, *size)
    moved, followed = dihedral(images, labels, np.random.default_rng(0))
    np.testing.assert_array_equal(followed, 1 + moved[..., 0] // 8 + 16 * (moved[..., 1] // 8))
    variants = {patch.numpy().tobytes() for patch in moved}
    assert len(variants) == (8 if size[0] == size[1] else 4)


@pytest.mark.parametrize("settings", [{"affine": 1.0, "rotation": 30.0}, {"elastic": 1.0}], ids=["affine", "elastic"])
def test_warps_move_labels_with_pixels(settings: dict[str, float]) -> None:
    images, labels = coordinate_patches(6, 64, 64)
    pixels, followed = augmented(images, labels, OFF.model_copy(update=settings), np.random.default_rng(0))
    where = bytes_of(pixels)
    known = followed.numpy() > 0
    column, row = (followed.numpy() - 1) % 16, (followed.numpy() - 1) // 16
    interior = known & (np.abs(where[..., 0] % 8 - 3.5) < 3) & (np.abs(where[..., 1] % 8 - 3.5) < 3)
    assert interior.mean() > 0.3
    np.testing.assert_array_equal(column[interior], where[interior][:, 0] // 8)
    np.testing.assert_array_equal(row[interior], where[interior][:, 1] // 8)


def test_warps_invent_no_labels() -> None:
    images, labels = coordinate_patches(4, 32, 32)
    settings = OFF.model_copy(update={"affine": 1.0, "rotation": 180.0})
    _, moved = augmented(images, labels, settings, np.random.default_rng(1))
    assert set(moved.unique().tolist()) <= {0, *labels.unique().tolist()}
    assert (moved == 0).any()


def test_off_is_the_networks_normalisation() -> None:
    images, labels = coordinate_patches(2, 16, 16)
    images = images * 7
    pixels, same = augmented(images, labels, OFF, np.random.default_rng(0))
    np.testing.assert_array_equal(same, labels)
    np.testing.assert_allclose(bytes_of(pixels), images.numpy(), atol=1.01)  # log of byte + 1
    np.testing.assert_allclose(bytes_of(normalised(images)), images.numpy(), atol=1e-3)


def test_stain_changes_keep_white_white_and_glass_clear() -> None:
    white = torch.full((16, 4, 4, 3), 255, dtype=torch.uint8)
    pixels = coloured(white, OFF.model_copy(update={"stain": 0.5, "gamma": 0.5}), np.random.default_rng(0))
    np.testing.assert_allclose(bytes_of(pixels), 255, atol=0.01)


def test_colour_changes_are_bounded_and_differ_between_patches() -> None:
    images = torch.full((32, 4, 4, 3), 150, dtype=torch.uint8)
    settings = OFF.model_copy(update={"brightness": 0.1})
    grey = bytes_of(coloured(images, settings, np.random.default_rng(0)))[:, 0, 0, 0]
    assert grey.std() > 3
    assert grey.min() > 150 * np.exp(-0.1) - 2
    assert grey.max() < 150 * np.exp(0.1) + 2


def test_blur_smooths_and_keeps_the_mean() -> None:
    images = torch.randint(0, 255, (4, 48, 48, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.ones(4, 48, 48, dtype=torch.uint8)
    sharp, _ = augmented(images, labels, OFF, np.random.default_rng(0))
    smooth, _ = augmented(images, labels, OFF.model_copy(update={"blur": 1.0}), np.random.default_rng(0))
    assert smooth.std() < 0.9 * sharp.std()
    assert smooth.mean().item() == pytest.approx(sharp.mean().item(), abs=0.02)


def test_same_generator_same_variation() -> None:
    images, labels = coordinate_patches(4, 32, 32)
    settings = AugmentSettings(affine=0.5, elastic=0.5, blur=0.5)
    first, again = (augmented(images, labels, settings, np.random.default_rng(5)) for _ in range(2))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])


def test_images_stay_channels_last() -> None:
    images, labels = coordinate_patches(4, 32, 32)
    pixels, _ = augmented(images, labels, AugmentSettings(affine=1.0, blur=1.0), np.random.default_rng(0))
    assert pixels.is_contiguous(memory_format=torch.channels_last)
