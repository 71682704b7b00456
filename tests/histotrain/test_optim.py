"""Our update rules are torch's, step by step, and their state carries over."""

import pytest
import torch

from histotrain.optim import Optimizer

RULES = {
    "adam": (torch.optim.Adam, {"weight_decay": 0.01}),
    "adamw": (torch.optim.AdamW, {"weight_decay": 0.01}),
    "nadam": (torch.optim.NAdam, {"weight_decay": 0.01}),
    "sgd": (torch.optim.SGD, {"weight_decay": 0.01, "momentum": 0.9}),
}


def parameters() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator, requires_grad=True) for shape in ((3, 2), (4,))]


def give_gradients(tensors: list[torch.Tensor], step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    for tensor in tensors:
        tensor.grad = torch.randn(tensor.shape, generator=generator)


@pytest.mark.parametrize("rule", RULES)
def test_same_as_torch(rule: str) -> None:
    kind, settings = RULES[rule]
    ours, theirs = parameters(), parameters()
    mine, reference = Optimizer(ours, rule, **settings), kind(theirs, lr=0.01, **settings)
    for step in range(5):
        for tensors in (ours, theirs):
            give_gradients(tensors, step)
        mine.step(0.01)
        reference.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("rule", RULES)
def test_state_carries_over_exactly(rule: str) -> None:
    whole, first = parameters(), parameters()
    straight, before = Optimizer(whole, rule, momentum=0.9), Optimizer(first, rule, momentum=0.9)
    for step in range(3):
        for tensors, optimizer in ((whole, straight), (first, before)):
            give_gradients(tensors, step)
            optimizer.step(0.1)
    after = Optimizer(first, rule, momentum=0.9)
    after.restore(before.state())
    for tensors, optimizer in ((whole, straight), (first, after)):
        give_gradients(tensors, 9)
        optimizer.step(0.1)
    assert all(torch.equal(a, b) for a, b in zip(whole, first, strict=True))


def test_clipping_bounds_the_joint_norm() -> None:
    tensors = parameters()
    give_gradients(tensors, 0)
    expected = torch.nn.utils.clip_grad_norm_([t.detach().clone().requires_grad_() for t in tensors], 1.0)
    Optimizer(tensors, "sgd").clip(0.5)
    norm = torch.linalg.vector_norm(torch.cat([t.grad.flatten() for t in tensors if t.grad is not None]))
    assert norm.item() == pytest.approx(0.5, rel=1e-4)
    assert expected == 0  # copies have no gradients: nothing but ours was clipped


def test_a_parameter_without_gradient_stays() -> None:
    tensors = parameters()
    kept = tensors[0].detach().clone()
    tensors[1].grad = torch.ones(4)
    Optimizer(tensors, "adamw", weight_decay=0.1).step(0.1)
    assert torch.equal(tensors[0], kept)
