"""Optimisers whose whole state is a flat list of tensors.

Three reasons not to use torch.optim: its state dictionaries nest Python objects, which exact resuming from
safetensors would have to take apart; its constructor imports torch._dynamo (sympy and all), 2.5 s of a cold worker
for a compiler that is not used; and the rules are short. They are tested against torch.optim step by step.
"""

# ruff: noqa: SLF001 (torch's fused list operations are what its own optimisers are made of; they have no public name)

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterable

    from histotrain.recipes import Recipe

BETAS = (0.9, 0.999)
EPSILON = 1e-8
MOMENTUM_DECAY = 4e-3
"""Of NAdam's momentum towards its full value, Dozat's."""


class Optimizer:
    """Adam, AdamW, NAdam or SGD with momentum, as torch.optim defines them.

    Parameters
    ----------
    parameters : iterable of Tensor
        Those that get gradients.
    rule : {"adam", "adamw", "nadam", "sgd"}
    weight_decay, momentum : float
        ``momentum`` is for sgd only.
    """

    def __init__(
        self, parameters: Iterable[Tensor], rule: str, *, weight_decay: float = 0.0, momentum: float = 0.0
    ) -> None:
        self.parameters = [p for p in parameters if p.requires_grad]
        self.rule = rule
        self.weight_decay = weight_decay
        self.momentum = momentum
        self.steps = 0
        self._counted, self._product = 0, 1.0  # steps in the product of NAdam's momenta
        self._first = [torch.zeros_like(p) for p in self.parameters]
        self._second = [] if rule == "sgd" else [torch.zeros_like(p) for p in self.parameters]

    @classmethod
    def from_recipe(cls, parameters: Iterable[Tensor], recipe: Recipe) -> Optimizer:
        return cls(parameters, recipe.optimizer, weight_decay=recipe.weight_decay, momentum=recipe.momentum)

    def zero_grad(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    def clip(self, norm: float) -> None:
        """Scale all gradients so that their joint norm is at most ``norm``; 0 leaves them."""
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        if norm <= 0 or not gradients:
            return
        total = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        torch._foreach_mul_(gradients, (norm / (total + 1e-6)).clamp(max=1.0))

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Move the parameters by their gradients; one without a gradient stays."""
        self.steps += 1
        active = [i for i, p in enumerate(self.parameters) if p.grad is not None]
        parameters = [self.parameters[i] for i in active]
        gradients = [g for i in active if (g := self.parameters[i].grad) is not None]
        first = [self._first[i] for i in active]
        if self.weight_decay and self.rule == "adamw":
            torch._foreach_mul_(parameters, 1 - learning_rate * self.weight_decay)
        elif self.weight_decay:
            gradients = list(torch._foreach_add(gradients, parameters, alpha=self.weight_decay))
        if self.rule == "sgd":
            torch._foreach_mul_(first, self.momentum)
            torch._foreach_add_(first, gradients)
            torch._foreach_add_(parameters, first, alpha=-learning_rate)
            return
        second = [self._second[i] for i in active]
        torch._foreach_lerp_(first, gradients, 1 - BETAS[0])
        torch._foreach_mul_(second, BETAS[1])
        torch._foreach_addcmul_(second, gradients, gradients, 1 - BETAS[1])
        scale = torch._foreach_sqrt(second)
        torch._foreach_div_(scale, (1 - BETAS[1] ** self.steps) ** 0.5)
        torch._foreach_add_(scale, EPSILON)
        if self.rule == "nadam":
            of_gradient, of_first = self._nesterov()
            torch._foreach_addcdiv_(parameters, gradients, scale, -learning_rate * of_gradient)
            torch._foreach_addcdiv_(parameters, first, scale, -learning_rate * of_first)
            return
        torch._foreach_addcdiv_(parameters, first, scale, -learning_rate / (1 - BETAS[0] ** self.steps))

    def _nesterov(self) -> tuple[float, float]:
        """How much of the gradient and of its first moment make a step of NAdam (Dozat 2016), bias corrected."""
        momenta = [BETAS[0] * (1 - 0.5 * 0.96 ** (step * MOMENTUM_DECAY)) for step in (self.steps, self.steps + 1)]
        for step in range(self._counted + 1, self.steps + 1):
            self._product *= BETAS[0] * (1 - 0.5 * 0.96 ** (step * MOMENTUM_DECAY))
        self._counted = self.steps
        return (1 - momenta[0]) / (1 - self._product), momenta[1] / (1 - self._product * momenta[1])

    def state(self) -> dict[str, Tensor]:
        """Everything needed to go on exactly, as named tensors."""
        moments = {"first": self._first, "second": self._second}
        named = {f"{name}.{i}": t for name, tensors in moments.items() for i, t in enumerate(tensors)}
        return named | {"steps": torch.tensor(self.steps)}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take over what `state` gave; raises KeyError or RuntimeError if it belongs to another network."""
        for name, tensors in (("first", self._first), ("second", self._second)):
            for i, tensor in enumerate(tensors):
                tensor.copy_(state[f"{name}.{i}"])
        self.steps = int(state["steps"])
        self._counted, self._product = 0, 1.0
