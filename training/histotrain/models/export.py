"""Networks as files that other programs run: TorchScript and ONNX.

Both are written for images of one size, because padding and cropping to any size are decided while the network is
recorded. ONNX goes through torch's older exporter: it needs no further packages than onnx and takes tenths of a
second where the newer one takes many.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from histotrain.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

OPSET = 17


def export_torchscript(net: nn.Module, path: str | Path, shape: Sequence[int] = (1, 3, 256, 256)) -> Path:
    """Write a network as TorchScript.

    Parameters
    ----------
    net : nn.Module
        From `histotrain.models.build_model`, on the CPU, in evaluation mode.
    path : path
        File to write.
    shape : sequence of int
        Of the images (N, 3, H, W), or (N, M, 3, H, W) for networks of several magnifications.

    Returns
    -------
    Path
        The file.
    """
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # sizes become constants, as said above; the function is deprecated, not gone
        recorded = torch.jit.trace(net, _example(shape), check_trace=False)
        torch.jit.save(recorded, str(path))
    return Path(path)


def export_onnx(net: nn.Module, path: str | Path, shape: Sequence[int] = (1, 3, 256, 256)) -> Path:
    """Write a network as ONNX, with input "images" and output "logits"; parameters as for `export_torchscript`.

    Raises
    ------
    TrainingError
        If the package onnx is missing, or the network has an operation that ONNX has not: ``classify/vgg16`` can only
        be written for 224 px, the size its fully connected layers were made for.
    """
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                net,
                (_example(shape),),
                str(path),
                dynamo=False,
                opset_version=OPSET,
                input_names=["images"],
                output_names=["logits"],
            )
    except (ImportError, RuntimeError) as error:  # torch's exporter errors are RuntimeErrors
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise TrainingError("the network cannot be exported to ONNX", reason, "Use TorchScript instead.") from error
    return Path(path)


def _example(shape: Sequence[int]) -> torch.Tensor:
    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(0))
