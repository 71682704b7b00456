"""The click network can be trained from folders of pairs, and its file says in OpenCV what it says in torch."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from histotrain.errors import TrainingError
from histotrain.pretraining.clicks import (
    ClickTraining,
    click_loss,
    main,
    network_input,
    train_clicks,
    write_click_network,
)
from histotrain.pretraining.crops import SIDE, UNKNOWN, click_discs, draw_crop
from histotrain.pretraining.pairs import Pair, load_pairs, without_held_out

if TYPE_CHECKING:
    from pathlib import Path


def blobs(seed: int, size: int = 90) -> tuple[np.ndarray, np.ndarray]:
    """Dark discs on a pale ground, and their numbers."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((size, size), np.int32)
    for number in range(1, 6):
        cv2.circle(labels, rng.integers(5, size - 5, 2).tolist(), int(rng.integers(5, 11)), number, -1)
    image = np.where(labels[..., None] > 0, (90, 60, 140), (225, 180, 210)) + rng.normal(0, 5, (size, size, 3))
    return np.clip(image, 0, 255).astype(np.uint8), labels


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    for n in range(5):
        image, labels = blobs(n)
        Image.fromarray(image).save(tmp_path / "images" / f"{n}.png")
        tifffile.imwrite(tmp_path / "labels" / f"{n}.tif", labels.astype(np.uint16))
    return tmp_path


def test_every_fourth_image_is_left_out(folder: Path) -> None:
    assert [pair.name for pair in without_held_out(load_pairs(folder))] == ["0", "1", "2", "4"]


def test_folders_without_pairs_are_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "labels" / "2.tif").unlink()
    with pytest.raises(TrainingError, match=r"2\.png has no labels"):
        load_pairs(folder)
    with pytest.raises(TrainingError, match="nothing to train on"):
        load_pairs(tmp_path / "nowhere")
    with pytest.raises(TrainingError, match="cannot be trained on"):
        Pair.of("odd", np.zeros((4, 5, 3), np.uint8), np.zeros((5, 4), np.int32))


def test_crops_show_the_click_in_its_object_and_others_outside() -> None:
    pair = Pair.of("blobs", *blobs(0))
    rng = np.random.default_rng(0)
    crops = [draw_crop(pair, rng) for _ in range(300)]
    clicked = [c for c in crops if (c.target == 1).any()]
    assert 250 < len(clicked) < 300
    hits = np.array([c.target[c.clicks[0] > 0].mean() for c in clicked if (c.target != UNKNOWN).all()])
    assert np.median(hits) == 1
    sizes = [c.target[c.target != UNKNOWN].mean() for c in clicked]
    assert min(sizes) < 0.03
    assert max(sizes) > 0.2
    # A click on another object is not on this one; the rim of its disc may be, and a filled map is a loose box.
    apart = [c for c in clicked if 0 < c.clicks[1].mean() < 0.2]
    assert np.mean([(c.target[c.clicks[1] > 0] == 1).mean() for c in apart]) < 0.1


def test_equal_seeds_draw_equal_crops() -> None:
    pair = Pair.of("blobs", *blobs(0))
    one, two = (draw_crop(pair, np.random.default_rng(3)) for _ in range(2))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


def test_discs_agree_with_distance() -> None:
    points = np.array([[10.2, 20.9], [63.9, 0.1], [-3.0, 5.0]])
    rows, columns = np.indices((SIDE, SIDE)) + 0.5
    expected = [(columns - x) ** 2 + (rows - y) ** 2 <= 4 for x, y in points]
    np.testing.assert_array_equal(click_discs(points), np.any(expected, axis=0))


def test_unknown_pixels_do_not_count_in_the_loss() -> None:
    target = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    target[..., 2:5, 2:5] = 1
    target[..., 6:, :] = UNKNOWN
    logits = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    other = logits.clone()
    other[..., 6:, :] = 50
    assert click_loss(logits, target) == click_loss(other, target)
    right = torch.where(target == 1, 50.0, -50.0)
    assert click_loss(right, target) < 1e-3 < click_loss(logits, target)


def test_opencv_says_what_torch_says(tmp_path: Path) -> None:
    pair = Pair.of("blobs", *blobs(0))
    net, steps = train_clicks([pair], [pair], ClickTraining(steps=2, batch=4))
    assert steps == 2
    file = tmp_path / "network.onnx"
    write_click_network(net, file, {"seed": 0})
    card = json.loads(file.with_suffix(".json").read_text())
    assert card["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    rng = np.random.default_rng(1)
    crops = [draw_crop(pair, rng) for _ in range(3)]
    images, clicks = (torch.from_numpy(np.stack(part)) for part in list(zip(*crops, strict=True))[:2])
    blob = network_input(images, clicks)
    with torch.inference_mode():
        expected = net(blob).numpy()
    opened = cv2.dnn.readNetFromONNX(str(file))
    opened.setInput(np.ascontiguousarray(blob.numpy()))
    np.testing.assert_allclose(opened.forward(), expected, atol=1e-4)


def test_command_line_writes_network_and_card(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "out" / "clicks.onnx"
    main(["--nuclei", str(folder), "--synthetic", str(folder), "--steps", "1", "--out", str(file)])
    card = json.loads(file.with_suffix(".json").read_text())
    assert (card["real_images"], card["synthetic_images"], card["steps"]) == (4, 5, 1)
    assert file.exists()
