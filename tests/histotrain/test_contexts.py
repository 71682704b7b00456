"""Networks of several magnifications and classifiers of patches predict whole images."""

from collections import Counter
from dataclasses import dataclass

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histotrain import PredictOptions, predict
from histotrain.contexts import Contexts
from histotrain.inference import by_windows, predict_image
from histotrain.tiling import window_tile


def picture(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 256, (height, width, 3), dtype=np.uint8)


@settings(max_examples=30)
@given(st.integers(1, 700), st.integers(1, 700), st.sampled_from([2.0, 4.0, 3.0, 2.5]), st.data())
def test_a_context_has_the_centre_of_its_tile(width: int, height: int, factor: float, data: st.DataObject) -> None:
    """Cut from the reduced image, black beyond it."""
    tile = 32
    small = picture(int(np.ceil(width / factor)), int(np.ceil(height / factor)))
    asked: Counter[tuple[int, ...]] = Counter()

    def read_scaled(x: int, y: int, w: int, h: int, wanted: float) -> np.ndarray:
        assert wanted == factor
        assert x >= 0
        assert y >= 0
        assert x + w <= small.shape[1]
        assert y + h <= small.shape[0]
        asked[x, y] += 1
        return small[y : y + h, x : x + w]

    contexts = Contexts((width, height), tile, (1.0, factor), lambda *_: small, read_scaled)
    padded = np.pad(small, ((tile, tile), (tile, tile), (0, 0)))
    columns = sorted(data.draw(st.lists(st.integers(0, width - 1), min_size=1, max_size=4)))
    for y in sorted(data.draw(st.lists(st.integers(0, height - 1), min_size=1, max_size=4))):
        for x in columns:
            found = contexts.around(x, y)
            left, top = round((x + tile / 2) / factor - tile / 2), round((y + tile / 2) / factor - tile / 2)
            expected = padded[top + tile : top + 2 * tile, left + tile : left + 2 * tile]
            np.testing.assert_array_equal(found[0], expected)
    assert set(asked.values()) <= {1}


def test_without_a_reader_for_it_areas_are_averaged() -> None:
    image = picture(300, 260)
    contexts = Contexts((300, 260), 64, (1.0, 4.0), lambda x, y, w, h: image[y : y + h, x : x + w])
    small = cv2.resize(image, (75, 65), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(contexts.around(128, 96)[0], small[96 // 4 + 8 - 32 :][:64, 128 // 4 + 8 - 32 :][:, :64])


@dataclass
class TwoMagnifications:
    """Says of each pixel how bright it is, and how bright the context at its place."""

    class_ids: tuple[int, ...] = (1, 2)
    magnifications: tuple[float, ...] = (1.0, 2.0)
    window: int | None = None
    layout: tuple[tuple[str, int], ...] = ()

    def predict_batch(self, images: np.ndarray) -> np.ndarray:
        assert images.ndim == 5
        assert images.shape[1] == 2
        side = images.shape[2]
        middle = slice(side // 4, side // 4 + side // 2)
        context = images[:, 1, middle, middle, 0].repeat(2, 1).repeat(2, 2)
        first = 0.25 + 0.5 * (images[:, 0, ..., 0] > context)
        return np.stack([first, 1 - first], -1).astype(np.float32)


@pytest.mark.parametrize("tta", [False, True])
def test_context_and_target_lie_over_each_other(tta: bool) -> None:
    """If they did not, the tile's half-size context would differ from the pixels it is made of."""
    coarse = np.random.default_rng(0).integers(10, 250, (130, 150, 3), dtype=np.uint8)
    image = coarse.repeat(2, 0).repeat(2, 1)
    image[::2, ::2] += 3  # above their context; the others are equal to it or below

    def read(x: int, y: int, w: int, h: int) -> np.ndarray:
        return image[y : y + h, x : x + w]

    def read_scaled(x: int, y: int, w: int, h: int, factor: float) -> np.ndarray:
        return coarse[y : y + h, x : x + w]

    options = PredictOptions(64, 16, 3, tta=tta)
    for block in predict(TwoMagnifications(), read, (300, 260), read_scaled=read_scaled, options=options):  # type: ignore[arg-type]
        rows = (np.arange(block.classes.shape[0]) + block.y) % 2 == 0
        columns = (np.arange(block.classes.shape[1]) + block.x) % 2 == 0
        np.testing.assert_array_equal(block.classes, np.where(rows[:, None] & columns, 1, 2))


def test_contexts_may_be_given_with_an_image() -> None:
    image = picture(64, 64)
    context = cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA)
    contexts = np.zeros((1, 64, 64, 3), np.uint8)
    contexts[0, 16:48, 16:48] = context
    model = TwoMagnifications()
    result = predict_image(model.predict_batch, image, channels=2, contexts=contexts)
    np.testing.assert_array_equal(result[..., 0] > 0.5, image[..., 0] > context[..., 0].repeat(2, 0).repeat(2, 1))


def brightness(patches: np.ndarray) -> np.ndarray:
    """A classifier: how bright a patch is."""
    first = patches.mean((1, 2, 3)) / 255
    return np.stack([first, 1 - first], -1).astype(np.float32)


@dataclass
class Classifier:
    """As `LoadedModel` predicts with one."""

    class_ids: tuple[int, ...] = (1, 2)
    magnifications: tuple[float, ...] = (1.0,)
    window: int = 24
    layout: tuple[tuple[str, int], ...] = ()
    seen: int = 0

    def predict_batch(self, images: np.ndarray) -> np.ndarray:
        def classify(patches: np.ndarray) -> np.ndarray:
            assert patches.shape[1:] == (24, 24, 3)
            self.seen += len(patches)
            return brightness(patches)

        return by_windows(classify, images, window=self.window, channels=2)


def probabilities(model: Classifier, image: np.ndarray, tile: int) -> np.ndarray:
    height, width = image.shape[:2]
    result = np.zeros((height, width), np.uint8)
    times = np.zeros((height, width), int)
    options = PredictOptions(tile, 7, 2)
    for block in predict(model, lambda x, y, w, h: image[y : y + h, x : x + w], (width, height), options=options):  # type: ignore[arg-type]
        part = np.s_[block.y : block.y + block.classes.shape[0], block.x : block.x + block.classes.shape[1]]
        result[part], times[part] = block.probabilities[0], times[part] + 1
    assert (times == 1).all()
    return result


def test_a_classifiers_windows_do_not_depend_on_the_tiles() -> None:
    image = np.kron(np.random.default_rng(0).integers(0, 256, (8, 9, 1), np.uint8), np.ones((20, 20, 3), np.uint8))
    coarse, fine = Classifier(), Classifier()
    whole, tiled = probabilities(coarse, image, 500), probabilities(fine, image, 40)
    inside = np.s_[:-24, :-24]  # windows that hang over the edge see it mirrored
    np.testing.assert_allclose(whole.astype(int)[inside], tiled[inside], atol=1)
    windows = -(-(180 - 11) // 13) * -(-(160 - 11) // 13)
    assert fine.seen <= 1.5 * windows  # each window once, but for those beyond the image


def test_a_classifier_says_the_same_of_an_even_picture_everywhere() -> None:
    image = np.full((70, 50, 3), 51, np.uint8)
    np.testing.assert_allclose(probabilities(Classifier(), image, 64), 51, atol=1)
    np.testing.assert_allclose(predict_image(brightness, image, channels=2)[..., 0], 0.2, atol=0.01)


@given(st.integers(8, 400), st.integers(8, 1000))
def test_windows_fit_into_their_tile(window: int, tile: int) -> None:
    side = window_tile(window, tile)
    stride = window - (window - 1) // 2
    assert (side - window) % stride == 0
    assert side <= max(tile, window + stride)
