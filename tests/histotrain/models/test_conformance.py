"""What every network promises, whatever its family."""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from histotrain.models import build_model, list_models, magnifications_of, task_of
from histotrain.models.catalogue import FAMILIES
from histotrain.models.export import export_onnx, export_torchscript

if TYPE_CHECKING:
    from pathlib import Path

SMALL = ("unet/resnet18", "ciga-martel", "classify/mobilenet")
"""Trained and exported at every run; the others when there is time for `-m slow`."""

NAMES = (
    "unet/resnet18",
    "unet/mobilenet",
    "fpn/resnet18",
    "linknet/resnet18",
    "classify/resnet18",
    "classify/mobilenet",
    *(name for name in FAMILIES if name != "mask-rcnn"),  # gives boxes, not logits
)
HUGE = ("classify/vgg16", "unet/vgg16", "fpn/vgg16", "linknet/vgg16", "fpn/mobilenet", "linknet/mobilenet")
SIBLINGS = frozenset({"dmmn-segnet", "dmmn-unet", "dmmn-s2", "dmmn-ms", "dmmn-m2s"})
"""Of dmmn-m3, and as large: the quick suite only looks at their shapes."""

SLOW = tuple(pytest.param(name, marks=pytest.mark.slow) for name in (*NAMES, *HUGE) if name not in SMALL)
EVERY = (*NAMES, *(pytest.param(name, marks=pytest.mark.slow) for name in HUGE))
SOME = (*SMALL, *SLOW)
MOST = tuple(
    name if name in NAMES and name not in (*SIBLINGS, "hovernet") else pytest.param(name, marks=pytest.mark.slow)
    for name in (*NAMES, *HUGE)
)


@lru_cache(maxsize=2)
def built(name: str) -> nn.Module:
    """A network of three classes, in evaluation mode; the tests of one name follow each other."""
    torch.manual_seed(0)
    return build_model(name, classes=3).eval()


def images_for(name: str, height: int, width: int, *, count: int = 1, seed: int = 0) -> Tensor:
    several = magnifications_of(name)
    shape = (count, len(several), 3, height, width) if len(several) > 1 else (count, 3, height, width)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def logits_shape(name: str, classes: int, height: int, width: int) -> tuple[int, ...]:
    return (1, classes) if task_of(name) == "patches" else (1, classes, height, width)


@pytest.mark.parametrize("name", MOST)
def test_learns_from_a_single_image_of_odd_size(name: str) -> None:
    net = built(name).train()
    try:
        logits = net(images_for(name, 37, 65))
        assert logits.shape == logits_shape(name, 3, 37, 65)
        logits.square().mean().backward()
        gradients = [p.grad for p in net.parameters() if p.grad is not None]
        assert len(gradients) > 10
        assert all(g.isfinite().all() for g in gradients)
        assert sum(bool(g.any()) for g in gradients) > 0.4 * len(gradients)  # timm's residual blocks start shut
    finally:
        net.zero_grad()
        net.eval()


@pytest.mark.parametrize("name", MOST)
def test_comes_back_from_a_file(name: str, tmp_path: Path) -> None:
    net = built(name)
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, tmp_path / "weights.safetensors")
    torch.manual_seed(1)
    other = build_model(name, classes=3).eval()
    images = images_for(name, 32, 48)
    with torch.inference_mode():
        before = net(images)
        assert not torch.equal(other(images), before)
        other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
        assert torch.equal(other(images), before)


@pytest.mark.parametrize("name", MOST)
def test_starts_alike_under_a_seed(name: str) -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(build_model(name, classes=2).state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[1])


@pytest.mark.parametrize("classes", [2, 20])
@pytest.mark.parametrize("name", EVERY)
def test_one_channel_per_class(name: str, classes: int) -> None:
    with torch.device("meta"):
        net = build_model(name, classes=classes).eval()
        several = magnifications_of(name)
        images = torch.empty((1, len(several), 3, 64, 96) if len(several) > 1 else (1, 3, 64, 96))
        assert net(images).shape == logits_shape(name, classes, 64, 96)


@pytest.mark.parametrize("name", SOME)
def test_torchscript_gives_the_same(name: str, tmp_path: Path) -> None:
    images = images_for(name, 64, 96, seed=5)
    path = export_torchscript(built(name), tmp_path / "net.pt", images.shape)
    with torch.inference_mode():
        torch.testing.assert_close(_load_script(path)(images), built(name)(images), rtol=1e-4, atol=1e-4)


def _load_script(path: Path) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        net: nn.Module = torch.jit.load(str(path))  # type: ignore[no-untyped-call]
    return net


@pytest.mark.parametrize("name", SOME)
def test_onnx_gives_the_same(name: str, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    height, width = (224, 224) if name == "classify/vgg16" else (64, 96)  # ONNX has no pooling from 2 x 3 to 7 x 7
    images = images_for(name, height, width, seed=5)
    path = export_onnx(built(name), tmp_path / "net.onnx", images.shape)
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"images": images.numpy()})
    with torch.inference_mode():
        expected = built(name)(images)
    # untrained networks can have logits of hundreds, whose last digits depend on the order of sums
    assert (torch.from_numpy(found) - expected).abs().max() < 1e-3 * expected.abs().max().clamp(min=1)


@pytest.mark.parametrize("name", SOME)
def test_learns_four_patches_by_heart(name: str) -> None:
    """Halves of noise in two tints: Dice above 0.95, or all four patches right, within a bounded number of steps."""
    torch.manual_seed(0)
    net = build_model(name, classes=2).train()
    labels = torch.zeros(4, 64, 64, dtype=torch.long)
    labels[0, :32], labels[1, :, 32:], labels[2, 32:], labels[3, :, :32] = 1, 1, 1, 1
    images = 0.3 * torch.randn(4, 3, 64, 64) + labels[:, None] - 0.5
    if task_of(name) == "patches":
        labels = torch.tensor([0, 0, 1, 1])
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3 if "resnet" in name or name in SMALL else 2e-4)
    for _ in range(150):
        logits = net(images)
        optimizer.zero_grad()
        F.cross_entropy(logits, labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if _dice(logits, labels) > 0.97:
            break
    assert _dice(logits, labels) > 0.95


def _dice(logits: Tensor, labels: Tensor) -> float:
    found = logits.argmax(1)
    both = ((found == 1) & (labels == 1)).sum().item()
    return 2 * both / max((found == 1).sum().item() + (labels == 1).sum().item(), 1)


def test_every_listed_name_has_a_task_and_a_line() -> None:
    for name, line in list_models().items():
        assert task_of(name)
        assert ": " in line
        assert "\n" not in line
