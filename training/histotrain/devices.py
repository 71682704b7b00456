"""Where and in which arithmetic a network runs."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from histotrain.errors import TrainingError


@dataclass(frozen=True, slots=True)
class Device:
    """A torch device with the arithmetic chosen for it.

    ``bf16`` keeps the weights in float32 and computes convolutions in bfloat16: half to a third of the time where the
    processor has instructions for it (AVX512-BF16, AMX, NVIDIA since Ampere), and slower where it has not.
    """

    torch_device: torch.device
    bf16: bool

    @property
    def is_cpu(self) -> bool:
        return self.torch_device.type == "cpu"

    @property
    def precision(self) -> str:
        return "bf16" if self.bf16 else "float32"

    def autocast(self) -> AbstractContextManager[Any]:
        """Context in which the network is called."""
        if not self.bf16:
            return nullcontext()
        return torch.autocast(self.torch_device.type, torch.bfloat16)


def choose_device(name: str = "auto", precision: str = "auto") -> Device:
    """The device of that name, or the fastest there is.

    Parameters
    ----------
    name : str
        "auto" (CUDA, then Apple's MPS, then the CPU), or a torch device such as "cuda:1" or "cpu".
    precision : str
        "auto" (bfloat16 where the hardware computes it), "float32" or "bf16".

    Raises
    ------
    TrainingError
        If the device does not exist here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    device = torch.device(name)
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if not available.get(device.type, False):
        raise TrainingError(f"there is no {name} device here", hint='Use "auto" or "cpu".')
    bf16 = _computes_bf16(device) if precision == "auto" else precision == "bf16"
    return Device(device, bf16)


def _computes_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        return any("bf16" in name and present for name, present in torch.cpu.get_capabilities().items())
    return False


def describe(name: str = "auto") -> str:
    """A device in words: the name of the graphics card, or the processor and how many threads compute on it."""
    device = choose_device(name, "float32").torch_device
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    if device.type == "cpu":
        return f"CPU ({torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads)"
    return device.type
