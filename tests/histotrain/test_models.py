"""Every network takes images of any size and gives one map per class."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from histotrain import TrainingError
from histotrain.models import DECODERS, build_model, list_models
from histotrain.models.smp import build_smp
from histotrain.models.weights import load_encoder_weights

NAMES = [*(f"{decoder}/resnet18" for decoder in DECODERS), "unet/mobilenet_v2", "unet/vgg16", "fpn"]


@pytest.mark.parametrize("name", NAMES)
def test_any_size_in_one_map_per_class_out(name: str) -> None:
    net = build_model(name, classes=3).eval()
    with torch.inference_mode():
        assert net(torch.zeros(1, 3, 37, 65)).shape == (1, 3, 37, 65)


@pytest.mark.parametrize("encoder", ["resnet18", "resnet34"])
def test_own_unet_is_that_of_the_package(encoder: str) -> None:
    """Same parameter names and shapes, same output: weights can be exchanged."""
    ours = build_model(f"unet/{encoder}", classes=4)
    theirs, _ = build_smp("unet", encoder, 4)
    theirs.load_state_dict({k.removeprefix("net."): v for k, v in ours.state_dict().items()})
    images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    for mode in (True, False):
        ours.train(mode)
        theirs.train(mode)
        torch.testing.assert_close(ours(images), theirs(images), rtol=1e-4, atol=1e-4)


def test_own_unet_starts_like_that_of_the_package() -> None:
    torch.manual_seed(0)
    ours, (theirs, _) = build_model("unet/resnet18", classes=4).state_dict(), build_smp("unet", "resnet18", 4)
    for name, tensor in theirs.state_dict().items():
        if tensor.is_floating_point() and tensor.numel() > 2000:
            assert ours[f"net.{name}"].std().item() == pytest.approx(tensor.std().item(), rel=0.1), name


def test_half_the_width_is_a_quarter_of_the_parameters() -> None:
    """Like the whole one at every depth, but for the decoder's last blocks, which keep 16 channels."""
    half, whole = (build_model(f"unet/{name}", classes=4) for name in ("resnet18-half", "resnet18"))
    counts = [sum(p.numel() for p in net.parameters()) for net in (half, whole)]
    assert counts[0] == pytest.approx(counts[1] / 4, rel=0.01)
    shapes = [{k: v.shape for k, v in net.state_dict().items()} for net in (half, whole)]
    assert shapes[0].keys() == shapes[1].keys()
    assert shapes[0]["net.segmentation_head.0.weight"] == shapes[1]["net.segmentation_head.0.weight"]
    with torch.inference_mode():
        assert half.eval()(torch.zeros(1, 3, 40, 70)).shape == (1, 4, 40, 70)


def test_every_listed_name_has_a_line() -> None:
    listed = list_models()
    assert {"unet/resnet18", "fpn/mobilenet_v2", "linknet/vgg16", "deeplabv3plus/resnet18"} <= listed.keys()
    assert all(listed.values())


@pytest.mark.parametrize("name", ["nonsense", "unet/nonsense", "deeplabv3/vgg16", ""])
def test_unknown_networks_are_refused(name: str) -> None:
    with pytest.raises(TrainingError):
        build_model(name, classes=2)


def test_encoder_weights_from_a_file(tmp_path: Path) -> None:
    source, target = (build_model("unet/resnet18", classes=2) for _ in range(2))
    encoder = source.get_submodule("net.encoder").state_dict()
    save_file({f"encoder.{k}": v.contiguous() for k, v in encoder.items()}, tmp_path / "w.safetensors")
    assert "starts from" in load_encoder_weights(target, "unet/resnet18", str(tmp_path / "w.safetensors"))
    name = "layer1.0.conv1.weight"
    assert torch.equal(target.get_submodule("net.encoder").state_dict()[name], encoder[name])


@pytest.mark.parametrize("weights", ["nowhere.safetensors", "weights.pth"])
def test_missing_encoder_weights_are_a_notice(weights: str) -> None:
    assert "random weights" in load_encoder_weights(build_model("unet/resnet18", classes=2), "unet/resnet18", weights)


def test_no_network_no_crash(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    message = load_encoder_weights(build_model("unet/resnet18", classes=2), "unet/resnet18", "imagenet")
    assert "random weights" in message
