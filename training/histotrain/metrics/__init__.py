"""How good predictions are. Unlabelled pixels never count; what is undefined is NaN, not 0."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from histotrain.metrics.pixel import accuracy, class_scores, confusion, macro, share_weighted, summary

if TYPE_CHECKING:
    from histotrain.metrics.detection import Detection, detection_f1
    from histotrain.metrics.instance import PanopticQuality, aji, aji_plus, multiclass_pq, panoptic_quality

# Objects need numba and scipy, half a second of imports that a training should not wait for.
_LAZY = {
    "Detection": "detection",
    "detection_f1": "detection",
    "PanopticQuality": "instance",
    "aji": "instance",
    "aji_plus": "instance",
    "multiclass_pq": "instance",
    "panoptic_quality": "instance",
}

__all__ = [
    "Detection",
    "PanopticQuality",
    "accuracy",
    "aji",
    "aji_plus",
    "class_scores",
    "confusion",
    "detection_f1",
    "macro",
    "multiclass_pq",
    "panoptic_quality",
    "share_weighted",
    "summary",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    globals()[name] = value
    return value
