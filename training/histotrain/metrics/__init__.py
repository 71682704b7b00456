"""How good predictions are. Unlabelled pixels never count; what is undefined is NaN, not 0."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from histotrain.metrics.agreement import cohen_kappa, fleiss_kappa, kappa_of
from histotrain.metrics.pixel import (
    accuracy,
    averages,
    cancer_recall,
    class_scores,
    confusion,
    macro,
    nuclei_recall,
    share_weighted,
    summary,
)
from histotrain.metrics.reliability import Calibration, calibration

if TYPE_CHECKING:
    from histotrain.metrics.detection import Detection, detection_f1
    from histotrain.metrics.instance import PanopticQuality, aji, aji_plus, multiclass_pq, panoptic_quality
    from histotrain.metrics.nuclei import ImageQuality, image_quality, panoptic_summary

# Objects need numba and scipy, half a second of imports that a training should not wait for.
_LAZY = {
    "Detection": "detection",
    "detection_f1": "detection",
    "PanopticQuality": "instance",
    "aji": "instance",
    "aji_plus": "instance",
    "multiclass_pq": "instance",
    "panoptic_quality": "instance",
    "ImageQuality": "nuclei",
    "image_quality": "nuclei",
    "panoptic_summary": "nuclei",
}

__all__ = [
    "Calibration",
    "Detection",
    "ImageQuality",
    "PanopticQuality",
    "accuracy",
    "aji",
    "aji_plus",
    "averages",
    "calibration",
    "cancer_recall",
    "class_scores",
    "cohen_kappa",
    "confusion",
    "detection_f1",
    "fleiss_kappa",
    "image_quality",
    "kappa_of",
    "macro",
    "multiclass_pq",
    "nuclei_recall",
    "panoptic_quality",
    "panoptic_summary",
    "share_weighted",
    "summary",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    globals()[name] = value
    return value
