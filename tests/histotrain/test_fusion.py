"""The network made for prediction says the same as the one that was trained."""

import pytest
import torch
from torch import nn

from histotrain.devices import choose_device
from histotrain.fusion import for_prediction, takes_bf16
from histotrain.models import build_model


def lively(name: str) -> nn.Module:
    """A network whose batch norms do something."""
    torch.manual_seed(0)
    net = build_model(name, classes=3).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.normal_(module.running_mean, std=0.2)
    return net


@pytest.mark.parametrize("name", ["unet/resnet18", "fpn/mobilenet_v2"])
def test_folding_changes_nothing(name: str) -> None:
    net, images = lively(name), torch.randn(2, 3, 70, 50)
    fast = for_prediction(net, choose_device("cpu", "float32"))
    assert not any(isinstance(m, nn.BatchNorm2d) for m in fast.modules())
    with torch.inference_mode():
        torch.testing.assert_close(fast(images).softmax(1), net(images).softmax(1), rtol=1e-3, atol=1e-3)


def test_the_network_itself_stays() -> None:
    net = lively("unet/resnet18")
    before = {k: v.clone() for k, v in net.state_dict().items()}
    for_prediction(net, choose_device("cpu", "bf16"))
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_half_the_digits_are_enough() -> None:
    net, images = lively("unet/resnet18"), torch.randn(1, 3, 70, 50)
    fast = for_prediction(net, choose_device("cpu", "bf16"))
    assert takes_bf16(fast)
    with torch.inference_mode():
        difference = fast(images.to(torch.bfloat16)).float().softmax(1) - net(images).softmax(1)
    assert difference.abs().mean() < 0.01


class NormedElsewhere(nn.Module):
    """A convolution whose output goes into a norm and also past it: folding would be wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
        nn.init.constant_(self.norm.weight, 3.0)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.conv(images)
        result: torch.Tensor = maps - self.norm(maps)
        return result


def test_what_cannot_be_folded_is_left_alone() -> None:
    net = NormedElsewhere().eval()
    assert for_prediction(net, choose_device("cpu", "float32")) is net
