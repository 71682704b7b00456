"""The shipped network answers alike in any batch, thread and scale; without its file the contour stands in."""

from __future__ import annotations

import hashlib
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_histoanno.annotation import ClickMethod, ClickOptions, Ellipse, click_masks, click_network
from napari_histoanno.annotation.click_network import WEIGHTS, ClickNetwork, shipped_network
from tests.annotation.test_clicks import overlap, picture

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NUCLEI = [Ellipse(40, 45, 14, 9, 0.5), Ellipse(62, 45, 10, 10), Ellipse(100, 20, 7, 6)]
CLICKS = [(n.cx, n.cy) for n in NUCLEI]


@pytest.fixture(scope="module")
def network() -> ClickNetwork:
    return ClickNetwork()


def crops(network: ClickNetwork, number: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (number, network.side, network.side, 3), np.uint8)
    maps = [[network.discs(rng.uniform(0, network.side, (n, 2))) for n in (1, 6)] for _ in range(number)]
    return images, np.array(maps, np.float32)


def test_opencv_answers_as_onnxruntime_does_in_batches_of_any_size(network: ClickNetwork) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    card = json.loads(WEIGHTS.with_suffix(".json").read_text())
    images, maps = crops(network, 19)
    pixels = ((images - np.array(card["mean"])) / np.array(card["std"])).transpose(0, 3, 1, 2)
    blob = np.concatenate([pixels, maps], axis=1).astype(np.float32)
    session = onnxruntime.InferenceSession(WEIGHTS, providers=["CPUExecutionProvider"])
    expected = np.concatenate([session.run(None, {"images": one[None]})[0][:, 0] for one in blob])
    np.testing.assert_allclose(network.logits(images, maps), expected, atol=2e-3)
    np.testing.assert_allclose(network.logits(images[:3], maps[:3]), expected[:3], atol=2e-3)


def test_discs_are_the_pixels_within_two_of_a_point_and_stop_at_the_edge(network: ClickNetwork) -> None:
    disc = network.discs(np.array([[10.5, 20.5]]))
    rows, columns = np.nonzero(disc)
    assert len(rows) == 13
    assert np.hypot(rows - 20, columns - 10).max() == 2
    assert network.discs(np.array([[0.0, 0.0], [1000.0, 3.0]])).sum() == 3
    assert network.discs(np.zeros((0, 2))).sum() == 0


def test_threads_do_not_disturb_each_other() -> None:
    scenes = [picture(*NUCLEI, seed=seed) for seed in range(4)]
    expected = [click_masks(scene, CLICKS).labels for scene in scenes]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda scene: click_masks(scene, CLICKS).labels, scenes * 3))
    for n, labels in enumerate(found):
        np.testing.assert_array_equal(labels, expected[n % 4])


@pytest.mark.parametrize("zoom", [0.5, 2, 3])
def test_magnification_does_not_matter(zoom: float) -> None:
    nuclei = [Ellipse(n.cx * zoom, n.cy * zoom, n.a * zoom, n.b * zoom, n.angle) for n in NUCLEI[:2]]
    image = picture(*nuclei, size=(int(120 * zoom), int(90 * zoom)))
    options = ClickOptions(max_radius=40 * zoom, min_radius=1)
    found = click_masks(image, [(n.cx, n.cy) for n in nuclei], options=options)
    assert min(overlap(found.labels, n + 1, nucleus) for n, nucleus in enumerate(nuclei)) > 0.7


def test_clicks_at_the_edge_find_what_the_image_shows() -> None:
    nucleus = Ellipse(0, 45, 12, 10)
    found = click_masks(picture(nucleus), [(2.5, 45.5)])
    assert overlap(found.labels, 1, nucleus) > 0.7


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    file = tmp_path / "clicks.onnx"
    monkeypatch.setattr(click_network, "WEIGHTS", file)
    shipped_network.cache_clear()
    yield file
    shipped_network.cache_clear()


def corrupt(file: Path) -> None:
    file.write_bytes(b"not a network")
    card = json.loads(WEIGHTS.with_suffix(".json").read_text())
    card["sha256"] = hashlib.sha256(b"not a network").hexdigest()
    file.with_suffix(".json").write_text(json.dumps(card))


def exchange(file: Path) -> None:
    shutil.copy(WEIGHTS.with_suffix(".json"), file.with_suffix(".json"))
    file.write_bytes(b"another network")


@pytest.mark.parametrize("damage", [lambda _: None, corrupt, exchange], ids=["missing", "corrupt", "exchanged"])
def test_without_a_readable_file_the_contour_stands_in_and_says_so_once(elsewhere: Path, damage: object) -> None:
    damage(elsewhere)  # type: ignore[operator]
    image = picture(*NUCLEI)
    with pytest.warns(RuntimeWarning, match="click network cannot be read") as notices:
        found = [click_masks(image, CLICKS) for _ in range(2)]
    assert len(notices) == 1
    assert found[0].method is ClickMethod.CONTOUR
    expected = click_masks(image, CLICKS, method=ClickMethod.CONTOUR)
    np.testing.assert_array_equal(found[1].labels, expected.labels)


def test_the_file_is_small_and_its_card_says_where_it_comes_from() -> None:
    card = json.loads(WEIGHTS.with_suffix(".json").read_text())
    assert WEIGHTS.stat().st_size < 8e6
    assert card["sha256"] == hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
    assert {"held_out", "sources", "seed", "date", "figures"} <= set(card)
