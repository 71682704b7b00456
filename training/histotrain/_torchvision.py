"""Let torchvision be imported where its compiled operators cannot load.

A torchvision wheel built for another torch (CUDA beside CPU is the usual mix) fails on import with "operator
torchvision::nms does not exist", and takes segmentation-models-pytorch and timm with it, which only want its network
definitions. Declaring the two missing operators lets the pure Python part load; calling them still fails, as it must.
Nothing happens where torchvision is sound.
"""

from __future__ import annotations

import importlib
import sys

_declared: list[object] = []  # a torch library withdraws its operators when it is collected


def ensure_torchvision() -> None:
    """Import torchvision, declaring its missing operators if need be; to be called before smp or timm is imported."""
    import torch

    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    else:
        return
    for name in [m for m in sys.modules if m == "torchvision" or m.startswith("torchvision.")]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.append(library)
    importlib.import_module("torchvision")
