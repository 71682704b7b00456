"""Objects are found once and whole, wherever tiles meet: as if the image had been predicted in one pass."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histotrain import PredictOptions, predict
from histotrain.models.separation import by_boundary, peaks
from histotrain.models.targets import BOUNDARY, INSIDE, bumps, parts
from histotrain.prediction import predict_instances

IDS = (7, 2)


@dataclass
class ExactModel:
    """Stands in for a network whose maps are right: it reads the objects from the colours of the picture.

    No two pixels are equally much inside, as with real networks: a watershed decides between equals by chance.
    """

    class_ids: tuple[int, ...] = IDS
    magnifications: tuple[float, ...] = (1.0,)
    window: None = None
    layout: tuple[tuple[str, int], ...] = (("parts", 3),)
    vectors: tuple[int, ...] = ()
    background: int | None = None
    task: str = "nuclei"

    def predict_batch(self, images: np.ndarray) -> np.ndarray:
        return self.predict_maps(images)[..., :2]

    def predict_maps(self, images: np.ndarray) -> np.ndarray:
        result = []
        for image in images:
            numbers = numbers_of(image)
            even = (numbers % 2 == 0)[..., None]
            logits = np.stack([6.0 * (image[..., 2] % 4 == part) for part in range(3)], -1)
            logits[..., INSIDE] += (image[..., 2] // 4 + 64.0 * (image[..., 1] // 4)) / 4096
            result.append(np.concatenate([np.where(even, [0.9, 0.1], [0.2, 0.8]), logits], -1))
        return np.stack(result).astype(np.float32)

    def separate(self, maps: np.ndarray) -> np.ndarray:
        scores = np.exp(maps - maps.max(0))
        scores /= scores.sum(0)
        return by_boundary(scores[INSIDE], scores[BOUNDARY])


@dataclass
class PointModel(ExactModel):
    """The same for points: the centre of each object is a peak in the map of its class."""

    layout: tuple[tuple[str, int], ...] = (("classes", 2),)
    task: str = "points"

    def predict_maps(self, images: np.ndarray) -> np.ndarray:
        result = []
        for image in images:
            numbers = numbers_of(image)
            rows, columns = np.nonzero(numbers)
            classes = (numbers[rows, columns] % 2).astype(np.int64)
            maps = bumps(np.stack([columns, rows], 1).astype(float), classes, (2, *numbers.shape))
            result.append(np.concatenate([np.full((*numbers.shape, 2), 0.5), np.moveaxis(maps, 0, -1)], -1))
        return np.stack(result).astype(np.float32)

    def points(self, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return peaks(maps)


def numbers_of(image: np.ndarray) -> np.ndarray:
    return image[..., 0].astype(np.int32) + 256 * (image[..., 1] % 4).astype(np.int32)


def picture_of(numbers: np.ndarray) -> np.ndarray:
    """Number and part of each pixel, and 12 bits of chance."""
    chance = np.random.default_rng(0).integers(0, 4096, numbers.shape)
    red, green, blue = numbers % 256, numbers // 256 + 4 * (chance // 64), parts(numbers) + 4 * (chance % 64)
    return np.stack([red, green, blue], -1).astype(np.uint8)


def ellipses(width: int, height: int, count: int, seed: int, largest: float = 14) -> np.ndarray:
    """Object numbers: ellipses that may touch, none hidden in part by another."""
    rng = np.random.default_rng(seed)
    numbers = np.zeros((height, width), np.int32)
    number = 0
    for _ in range(count):
        a, b, angle = *rng.uniform(4, largest, 2), rng.uniform(0, np.pi)
        x, y, reach = rng.uniform(0, width), rng.uniform(0, height), int(largest) + 2
        left, top = max(int(x) - reach, 0), max(int(y) - reach, 0)
        window = numbers[top : int(y) + reach, left : int(x) + reach]
        dx, dy = np.arange(window.shape[1]) + left - x, np.arange(window.shape[0])[:, None] + top - y
        u, v = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
        mask = (u / a) ** 2 + (v / b) ** 2 <= 1
        if mask.sum() >= 40 and not window[mask].any():
            number += 1
            window[mask] = number
    return numbers


def reader(numbers: np.ndarray) -> Callable[[int, int, int, int], np.ndarray]:
    image = picture_of(numbers)
    return lambda x, y, w, h: image[y : y + h, x : x + w]


def found(model: ExactModel, numbers: np.ndarray, tile: int, **inputs: object) -> dict[tuple, np.ndarray]:
    """Objects by box, class and score; that no two are the same is checked on the way."""
    height, width = numbers.shape
    halo = inputs.pop("halo", 32)
    options = PredictOptions(tile, tile // 8, 3, halo=halo)  # type: ignore[arg-type]
    result = {}
    for item in predict_instances(model, reader(numbers), (width, height), options=options, **inputs):  # type: ignore[arg-type]
        assert item.mask is not None
        key = (item.left, item.top, *item.mask.shape, item.class_id, round(item.score, 2), item.area)
        assert key not in result
        result[key] = item.mask
    return result


def same(one: dict[tuple, np.ndarray], other: dict[tuple, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(mask, other[key]) for key, mask in one.items())


def test_a_large_picture_in_tiles_equals_one_pass() -> None:
    numbers = ellipses(1024, 1024, 900, seed=0)
    whole, tiled = (found(ExactModel(), numbers, tile, halo=64) for tile in (1024, 256))
    assert len(whole) == numbers.max() > 400
    assert same(whole, tiled)


@settings(max_examples=12)
@given(st.integers(0, 999), st.integers(90, 300), st.integers(90, 300), st.sampled_from([64, 96, 128]))
def test_any_tiles_find_the_same_objects(seed: int, width: int, height: int, tile: int) -> None:
    numbers = ellipses(width, height, 60, seed)
    assert same(found(ExactModel(), numbers, 512), found(ExactModel(), numbers, tile))


@pytest.mark.parametrize("largest", [60, 150])
@pytest.mark.parametrize("seed", range(4))
def test_objects_larger_than_a_window_are_put_together(largest: float, seed: int) -> None:
    numbers = ellipses(400, 380, 25, seed, largest)
    assert same(found(ExactModel(), numbers, 512), found(ExactModel(), numbers, 64, halo=16))


def test_a_region_has_the_objects_whose_centres_lie_in_it() -> None:
    numbers = ellipses(300, 260, 80, seed=5)
    whole = found(ExactModel(), numbers, 96)
    part = found(ExactModel(), numbers, 96, region=(70, 60, 100, 90))
    expected = {}
    for key, mask in whole.items():
        rows, columns = np.nonzero(mask)
        if 70 <= columns.mean() + key[0] + 0.5 < 170 and 60 <= rows.mean() + key[1] + 0.5 < 150:
            expected[key] = mask
    assert expected
    assert same(part, expected)


@pytest.mark.parametrize("background", [None, 2])
def test_blocks_show_the_classes_of_objects(background: int | None) -> None:
    numbers = ellipses(200, 170, 60, seed=1)
    model = ExactModel(background=background)
    options = PredictOptions(64, 8, 2, objects=True, halo=32)
    classes, times = np.zeros(numbers.shape, np.uint8), np.zeros(numbers.shape, int)
    objects = 0
    for block in predict(model, reader(numbers), (200, 170), options=options):  # type: ignore[arg-type]
        part = np.s_[block.y : block.y + block.classes.shape[0], block.x : block.x + block.classes.shape[1]]
        classes[part], times[part] = block.classes, times[part] + 1
        objects += len(block.objects)
    assert (times == 1).all()
    assert objects == numbers.max()
    if background is None:
        expected = np.where(numbers == 0, 0, np.where(numbers % 2, 2, 7))
        assert np.count_nonzero(classes != expected) <= 2  # a corner where two objects touch
    else:
        np.testing.assert_array_equal(classes[numbers > 0], 7)  # no object is background


def test_masked_tiles_have_no_objects_and_nothing_is_found_twice_beside_them() -> None:
    numbers = ellipses(256, 128, 60, seed=3)
    some = found(ExactModel(), numbers, 64, mask=lambda x, y, w, h: x >= 112)
    whole = found(ExactModel(), numbers, 64)
    assert 0 < len(some) < len(whole)
    far = {key: mask for key, mask in whole.items() if key[0] > 112 + 16}
    assert all(np.array_equal(some[key], mask) for key, mask in far.items())
    assert not found(ExactModel(), numbers, 64, mask=lambda *_: False)


@pytest.mark.parametrize("tile", [64, 96, 512])
def test_points_are_found_once(tile: int) -> None:
    rng = np.random.default_rng(0)
    numbers = np.zeros((300, 280), np.int32)
    grid = np.stack(np.meshgrid(np.arange(9, 275, 18), np.arange(9, 295, 18)), -1).reshape(-1, 2)
    places = grid + rng.integers(-4, 5, grid.shape)
    numbers[places[:, 1], places[:, 0]] = rng.integers(1, 500, len(places))
    options = PredictOptions(tile, tile // 8, 2)
    points = list(predict_instances(PointModel(), reader(numbers), (280, 300), options=options))  # type: ignore[arg-type]
    assert all(point.mask is None for point in points)
    assert {(point.x - 0.5, point.y - 0.5) for point in points} == set(map(tuple, places.tolist()))
    assert len(points) == len(places)
    for point in points:
        assert point.class_id == IDS[numbers[int(point.y), int(point.x)] % 2]
        assert point.score == pytest.approx(1, abs=0.01)
