"""The multi-magnification networks: sizes of the paper's table 2, and which pixels see what."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from histotrain import TrainingError
from histotrain.models import build_model, magnifications_of
from histotrain.models.views import views_of

TABLE_2 = {
    "dmmn-segnet": 18_881_543,
    "dmmn-unet": 34_550_663,
    "dmmn-s2": 34_554_119,
    "dmmn-ms": 30_647_207,
    "dmmn-m2s": 25_947_047,
    "dmmn-m3": 27_071_303,
}
JOINING = ("dmmn-s2", "dmmn-ms", "dmmn-m2s", "dmmn-m3")


@pytest.mark.parametrize("name", TABLE_2)
def test_number_of_parameters_is_that_of_table_2(name: str) -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in build_model(name, classes=7).parameters()) == TABLE_2[name]


@pytest.mark.parametrize("magnifications", ["1", "1,4", "1,3", "1,2,4,8", "1,1.2,64"])
@pytest.mark.parametrize("name", JOINING)
def test_any_set_of_magnifications(name: str, magnifications: str) -> None:
    with torch.device("meta"):
        net = build_model(f"{name}/{magnifications}", classes=2)
        count = len(magnifications.split(","))
        assert net(torch.empty(2, count, 3, 33, 50)).shape == (2, 2, 33, 50)
        assert net(torch.empty(2, 3, 33, 50)).shape == (2, 2, 33, 50)


@pytest.mark.parametrize("name", TABLE_2)
def test_a_quarter_of_the_channels_is_a_sixteenth_of_the_network(name: str) -> None:
    with torch.device("meta"):
        net = build_model(f"{name}//16", classes=7)
        assert sum(p.numel() for p in net.parameters()) == pytest.approx(TABLE_2[name] / 16, rel=0.02)
        views = torch.empty(1, len(magnifications_of(name)), 3, 32, 32)
        assert net(views).shape == (1, 7, 32, 32)


@pytest.mark.parametrize("name", ["dmmn-m3//0", "dmmn-m3//15", "dmmn-m3//66", "dmmn-m3//x"])
def test_widths_that_cannot_be_used_are_refused(name: str) -> None:
    with pytest.raises(TrainingError, match="width"):
        build_model(name, classes=2)


@pytest.fixture(scope="module")
def m3() -> nn.Module:
    torch.manual_seed(0)
    return build_model("dmmn-m3", classes=2).eval()


def patches(count: int = 3, *, side: int = 64) -> Tensor:
    return torch.randn(1, count, 3, side, side, generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
def test_a_list_is_a_stack(m3: nn.Module) -> None:
    stack = patches()
    torch.testing.assert_close(m3(list(stack.unbind(1))), m3(stack))


@torch.inference_mode()
def test_a_patch_alone_has_nothing_around_it(m3: nn.Module) -> None:
    alone = patches()[:, 0]
    torch.testing.assert_close(m3(alone), m3(views_of(alone, (1, 2, 4))))


@torch.inference_mode()
def test_each_magnification_counts(m3: nn.Module) -> None:
    stack = patches()
    plain = m3(stack)
    for index in range(3):
        changed = stack.clone()
        changed[:, index] += 1
        assert (m3(changed) - plain).abs().max() > 1e-4, index


@pytest.mark.parametrize("name", ["dmmn-m3", "dmmn-m2s", "dmmn-ms"])
def test_a_detail_of_a_low_magnification_acts_where_it_lies(name: str) -> None:
    """A pixel of the 10x patch right of its centre by d lies 2 d right of the target's centre."""
    torch.manual_seed(0)
    net = build_model(name, classes=2).eval()
    stack = torch.zeros(1, 3, 3, 128, 128)
    changed = stack.clone()
    changed[0, 1, :, 60:68, 80:84] = 3.0  # centre at 18 right of the middle: 36 right in the target
    with torch.inference_mode():
        difference = (net(changed) - net(stack)).square().sum((0, 1)).square()  # the sharpest paths, not the wide ones
    columns = torch.arange(128) + 0.5 - 64
    centre = (difference.sum(0) * columns).sum() / difference.sum()
    assert 26 < centre < 46


def test_other_numbers_of_patches_are_refused(m3: nn.Module) -> None:
    with pytest.raises(TrainingError, match="takes 3 magnifications"):
        m3(patches(2))


@pytest.mark.parametrize(
    "name", ["dmmn-m3/2,4", "dmmn-m3/1,x", "dmmn-m3/1,4,2", "dmmn-m3/", "dmmn-unet/1,2", "dmmn-m3/1,nan"]
)
def test_impossible_magnifications_are_refused(name: str) -> None:
    with pytest.raises(TrainingError, match="magnification"):
        magnifications_of(name)


def test_magnifications_are_part_of_the_name() -> None:
    assert magnifications_of("dmmn-ms") == (1, 2, 4)
    assert magnifications_of("dmmn-unet") == magnifications_of("fpn/resnet18") == (1,)
    assert magnifications_of("dmmn-s2/1,2.5") == (1, 2.5)


def test_views_keep_the_centre_and_the_mean() -> None:
    image = torch.zeros(1, 3, 64, 64)
    image[..., 24:40, 24:40] = 1.0
    views = views_of(image, (1, 2, 4))
    assert views.shape == (1, 3, 3, 64, 64)
    for index, factor in enumerate((1, 2, 4)):
        assert views[0, index].sum() == pytest.approx(3 * 256 / factor**2)
        assert torch.equal(views[0, index], views[0, index].flip(-1).flip(-2))
