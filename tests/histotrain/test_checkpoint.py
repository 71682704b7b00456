"""Models come back as they were, half-written ones are never seen, and nothing in a file can run."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from histotrain import Recipe, TrainingError, load_model, save_model
from histotrain.card import CARD_FILE, WEIGHTS_FILE, ModelCard, read_card
from histotrain.checkpoint import read_model
from histotrain.models import build_model
from histotrain.pixels import MEAN, STD


def card(**changes: object) -> ModelCard:
    values = {
        "recipe": Recipe(name="r", mpp=0.75, precision="float32"),
        "classes": ("tumour", "stroma"),
        "class_ids": (7, 2),
        "mpp": 0.75,
        "mean": MEAN,
        "std": STD,
        "metrics": {"mean_iou": 0.5, "iou/fat": float("nan")},
        "lineage": {"project": "p"},
    }
    return ModelCard(**values | changes)  # type: ignore[arg-type]


def test_round_trip(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = build_model("unet/resnet18", classes=2).eval()
    save_model(tmp_path / "m", net, card())
    loaded = load_model(tmp_path / "m", device="cpu")
    assert (loaded.classes, loaded.class_ids, loaded.mpp) == (("tumour", "stroma"), (7, 2), 0.75)
    assert loaded.metrics["mean_iou"] == 0.5
    assert np.isnan(loaded.metrics["iou/fat"] or 0)
    assert loaded.lineage == {"project": "p"}
    state = read_model(tmp_path / "m")[1]
    assert all(torch.equal(tensor, state[name]) for name, tensor in net.state_dict().items())
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == [CARD_FILE, WEIGHTS_FILE]


def test_prediction_is_the_networks(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = build_model("unet/resnet18", classes=2).eval()
    loaded = load_model(save_model(tmp_path, net, card()), device="cpu")
    image = np.random.default_rng(0).integers(0, 256, (45, 70, 3), dtype=np.uint8)
    probabilities = loaded.predict_array(image)
    assert probabilities.shape == (45, 70, 2)
    assert probabilities.dtype == np.float32
    pixels = (torch.from_numpy(image).permute(2, 0, 1) / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[
        :, None, None
    ]
    with torch.inference_mode():
        expected = net(pixels[None])[0].softmax(0).permute(1, 2, 0).numpy()
    np.testing.assert_allclose(probabilities, expected, atol=1e-4)


def test_the_card_can_be_read_alone_and_by_anyone(tmp_path: Path) -> None:
    save_model(tmp_path, build_model("unet/resnet18", classes=2), card())
    assert json.loads((tmp_path / CARD_FILE).read_text())["class_ids"] == [7, 2]
    assert read_card(tmp_path).recipe.name == "r"


def test_a_failed_write_leaves_the_old_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = build_model("unet/resnet18", classes=2)
    save_model(tmp_path, net, card(step=1))

    def broken(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("histotrain.checkpoint.save_file", broken)
    with pytest.raises(OSError, match="disk full"):
        save_model(tmp_path, net, card(step=2))
    assert load_model(tmp_path, device="cpu").card.step == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == [CARD_FILE, WEIGHTS_FILE]


def test_the_card_inside_the_weights_counts(tmp_path: Path) -> None:
    save_model(tmp_path, build_model("unet/resnet18", classes=2), card(step=5))
    (tmp_path / CARD_FILE).write_text("{}")
    assert load_model(tmp_path, device="cpu").card.step == 5


@pytest.mark.parametrize(
    "content", [None, b"", b"junk", b"\x80\x04cos\nsystem\n"], ids=["none", "empty", "junk", "pickle"]
)
def test_what_is_no_model(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / WEIGHTS_FILE).write_bytes(content)
    with pytest.raises(TrainingError, match="cannot read the model"):
        load_model(tmp_path)


def test_weights_of_another_network(tmp_path: Path) -> None:
    save_model(tmp_path, build_model("unet/resnet34", classes=2), card())
    with pytest.raises(TrainingError, match="another network"):
        load_model(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", '{"version": 99}', '{"classes": 3}'])
def test_broken_cards(tmp_path: Path, text: str) -> None:
    (tmp_path / CARD_FILE).write_text(text)
    with pytest.raises(TrainingError, match="cannot use the model"):
        read_card(tmp_path)
