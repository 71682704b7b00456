"""Whole images are predicted without seams, once per pixel, and the same whatever the batching."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from histotrain import PredictedBlock, PredictOptions, predict
from histotrain.blending import decide
from histotrain.inference import predict_image
from histotrain.tiling import TileGrid

IDS = (7, 2, 9)


@dataclass
class PixelModel:
    """Stands in for a network: each probability depends on its own pixel alone, so no trace of tiles may be seen."""

    class_ids: tuple[int, ...] = IDS
    batches: int = 0
    magnifications: tuple[float, ...] = (1.0,)
    window: int | None = None
    layout: tuple[tuple[str, int], ...] = ()

    def predict_batch(self, images: np.ndarray) -> np.ndarray:
        self.batches += 1
        scores = np.exp(images.astype(np.float32) / 40)
        return scores / scores.sum(-1, keepdims=True)


@dataclass
class ContextModel(PixelModel):
    """Like a network: means over a window, wrong near the border of what it is given."""

    def predict_batch(self, images: np.ndarray) -> np.ndarray:
        import cv2

        means = np.stack([cv2.blur(i.astype(np.float32), (9, 9), borderType=cv2.BORDER_CONSTANT) for i in images])
        scores = np.exp(means / 20)
        return scores / scores.sum(-1, keepdims=True)


def picture(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def reader(image: np.ndarray) -> Callable[[int, int, int, int], np.ndarray]:
    height, width = image.shape[:2]

    def read(x: int, y: int, w: int, h: int) -> np.ndarray:
        assert x >= 0
        assert y >= 0
        assert x + w <= width
        assert y + h <= height
        return image[y : y + h, x : x + w]

    return read


def assembled(blocks: Iterator[PredictedBlock], width: int, height: int) -> tuple[np.ndarray, ...]:
    classes = np.zeros((height, width), np.uint8)
    confidence = np.zeros((height, width), np.uint8)
    probabilities = np.zeros((len(IDS), height, width), np.uint8)
    times = np.zeros((height, width), int)
    for block in blocks:
        h, w = block.classes.shape
        part = np.s_[block.y : block.y + h, block.x : block.x + w]
        classes[part], confidence[part] = block.classes, block.confidence
        probabilities[(slice(None), *part)] = block.probabilities
        times[part] += 1
    return classes, confidence, probabilities, times


def run(model: object, image: np.ndarray, **options: object) -> tuple[np.ndarray, ...]:
    height, width = image.shape[:2]
    return assembled(predict(model, reader(image), (width, height), **options), width, height)  # type: ignore[arg-type]


@given(st.integers(1, 150), st.integers(1, 150), st.sampled_from([32, 48, 64]), st.integers(0, 15), st.integers(1, 5))
def test_every_pixel_once_and_as_if_there_were_no_tiles(
    width: int, height: int, tile: int, overlap: int, batch: int
) -> None:
    image, model = picture(width, height), PixelModel()
    classes, confidence, probabilities, times = run(model, image, options=PredictOptions(tile, overlap, batch))
    exact = model.predict_batch(image[None])[0]
    assert (times == 1).all()
    np.testing.assert_allclose(probabilities, exact.transpose(2, 0, 1) * 255, atol=1.01)
    np.testing.assert_array_equal(confidence, probabilities.max(0))
    sure = np.sort(exact, axis=-1)[..., -1] - np.sort(exact, axis=-1)[..., -2] > 1e-3
    np.testing.assert_array_equal(classes[sure], np.array(IDS)[exact.argmax(-1)][sure])


@given(st.integers(1, 2000), st.integers(0, 31), st.integers(63, 200))
def test_windows_sum_to_one_and_blocks_partition(length: int, overlap: int, tile: int) -> None:
    grid = TileGrid(length, 1, tile=tile, overlap=overlap)
    weights, covered = np.zeros(length), np.zeros(length, int)
    for column in range(grid.columns):
        x, _, w, _ = grid.inside(0, column)
        weights[x : x + w] += grid.window(0, column)[0, :w]
        x, _, w, _ = grid.block(0, column)
        covered[x : x + w] += 1
    np.testing.assert_allclose(weights, 1, atol=1e-5)
    assert (covered == 1).all()


def test_batch_size_does_not_matter() -> None:
    image = picture(150, 130)
    results = [run(ContextModel(), image, options=PredictOptions(64, 16, batch)) for batch in (1, 3, 16)]
    for other in results[1:]:
        for one, same in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(one, same)


def test_tile_size_hardly_matters_away_from_the_border() -> None:
    """Where the tiles' own borders count for little, large and small tiles agree: no seams."""
    image = picture(200, 200)
    fine, coarse = (run(ContextModel(), image, options=PredictOptions(tile, 24, 4))[2] for tile in (64, 128))
    differences = np.abs(fine.astype(int) - coarse.astype(int))[:, 8:-8, 8:-8]
    assert differences.max() <= 8
    assert differences.mean() < 0.5


def test_a_region_is_what_it_is_within_the_whole() -> None:
    image = picture(230, 170)
    options = PredictOptions(64, 16, 2)
    whole = run(ContextModel(), image, options=options)
    for x, y, w, h in ((0, 0, 40, 40), (60, 50, 90, 71), (100, 90, 500, 500)):
        part = run(ContextModel(), image, options=options, region=(x, y, w, h))
        inside = np.s_[y : y + h, x : x + w]
        assert (part[3] == 1).sum() == part[3][inside].size
        for index in range(2):
            np.testing.assert_array_equal(part[index][inside], whole[index][inside])


def test_masked_tiles_are_neither_read_nor_delivered() -> None:
    image, asked = picture(256, 128), []

    def read(x: int, y: int, w: int, h: int) -> np.ndarray:
        asked.append(x)
        return image[y : y + h, x : x + w]

    def mask(x: int, y: int, w: int, h: int) -> bool:
        return x + w > 200

    options = PredictOptions(64, 16, 2)
    blocks = list(predict(PixelModel(), read, (256, 128), mask=mask, options=options))  # type: ignore[arg-type]
    classes, _, _, times = assembled(iter(blocks), 256, 128)
    whole = run(PixelModel(), image, options=options)[0]
    assert min(asked) > 200 - 64
    np.testing.assert_array_equal(classes[:, 200:], whole[:, 200:])
    assert not classes[:, :144].any()
    assert times.max() == 1
    assert blocks[-1].done == blocks[-1].total


def test_nothing_to_predict() -> None:
    image = picture(100, 100)
    assert not run(PixelModel(), image, mask=lambda *_: False)[3].any()
    assert not run(PixelModel(), image, region=(500, 0, 10, 10))[3].any()


def test_averaging_orientations_changes_nothing_for_a_symmetric_model() -> None:
    image = picture(80, 70)
    plain, averaged = (run(ContextModel(), image, options=PredictOptions(64, 16, 4, tta=t))[2] for t in (False, True))
    np.testing.assert_allclose(plain, averaged, atol=1)


def test_closing_ends_the_reading() -> None:
    image, before = picture(640, 640), threading.active_count()
    model = PixelModel()
    blocks = predict(model, reader(image), (640, 640), options=PredictOptions(64, 16, 1))  # type: ignore[arg-type]
    next(blocks)
    blocks.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
    assert model.batches < 5


def test_a_failing_reader_is_heard() -> None:
    def read(x: int, y: int, w: int, h: int) -> np.ndarray:
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="disk is gone"):
        list(predict(PixelModel(), read, (100, 100)))  # type: ignore[arg-type]


@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_decision_equals_numpy(seed: int, channels: int) -> None:
    rng = np.random.default_rng(seed)
    sums = rng.random((5, 6, channels), dtype=np.float32) * rng.choice([0.2, 1.0], (5, 6, 1)).astype(np.float32)
    ids = np.arange(3, 3 + channels, dtype=np.uint8)
    classes, confidence, probabilities = decide(sums, ids)
    total = sums.sum(-1)
    reached = total >= 0.5
    expected = (255 * sums / np.maximum(total, 1e-6)[..., None]).transpose(2, 0, 1) * reached
    near_half = np.abs(total - 0.5) < 1e-5
    np.testing.assert_allclose(probabilities[:, ~near_half], expected[:, ~near_half], atol=0.501)
    np.testing.assert_array_equal(classes[~near_half], (ids[sums.argmax(-1)] * reached)[~near_half])
    np.testing.assert_array_equal(confidence, probabilities.max(0))


def test_large_arrays_are_tiled_without_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("histotrain.inference.LARGEST", 256)
    image, model = picture(300, 520), PixelModel()
    np.testing.assert_allclose(
        predict_image(model.predict_batch, image, channels=3), model.predict_batch(image[None])[0], atol=1e-5
    )
