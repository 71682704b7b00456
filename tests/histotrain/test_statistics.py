"""A network is looked at with the statistics of its weights, and looking changes nothing else."""

import torch
from torch import nn

from histotrain.devices import choose_device
from histotrain.statistics import settle_statistics

DEVICE = choose_device("cpu", "float32")


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))


def test_statistics_are_those_of_the_batches() -> None:
    net = small()
    batches = [torch.randn(2, 3, 8, 8) * 5 + 3 for _ in range(3)]
    for _ in range(5):
        net(torch.randn(2, 3, 8, 8))  # other statistics from before
    settle_statistics(net, batches, DEVICE)
    with torch.no_grad():
        outputs = [net[0](batch) for batch in batches]
    expected = torch.stack([output.mean((0, 2, 3)) for output in outputs]).mean(0)
    torch.testing.assert_close(net[1].running_mean, expected)
    torch.testing.assert_close(net[1].running_var, torch.stack([o.var((0, 2, 3)) for o in outputs]).mean(0))


def test_modes_momentum_and_chance_stay() -> None:
    net = small()
    net[2].eval()
    before = torch.get_rng_state()
    settle_statistics(net, [torch.ones(2, 3, 8, 8)], DEVICE)
    assert torch.equal(torch.get_rng_state(), before)
    assert [module.training for module in net.modules()] == [True, True, True, False]
    assert net[1].momentum == 0.1


class Forked(nn.Module):
    """Half of it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.idle = nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.used(x)
        return result


def test_a_norm_that_does_not_run_keeps_its_statistics() -> None:
    net = Forked()
    for norm in (net.used, net.idle):
        norm(torch.randn(4, 3, 8, 8) + 7)
    kept = net.idle.running_mean.clone() if net.idle.running_mean is not None else None
    settle_statistics(net, [torch.randn(4, 3, 8, 8)], DEVICE)
    torch.testing.assert_close(net.idle.running_mean, kept)
    assert net.used.running_mean is not None
    assert net.used.running_mean.abs().max() < 1


def test_nothing_to_settle() -> None:
    net = small()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    settle_statistics(net, [], DEVICE)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    settle_statistics(nn.Conv2d(3, 4, 1), [torch.ones(1, 3, 4, 4)], DEVICE)
