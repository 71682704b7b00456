"""How good a model is, in one figure and one line, whatever it is for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_JUDGED = {
    "mpq": ("mPQ", "pq"),
    "detection_f1": ("Detection F1", "f1"),
    "mean_iou": ("Mean IoU", "iou"),
    "macro_f1": ("Macro F1", "f1"),
    "iou": ("IoU of clicked objects", "iou"),
}
"""Metrics by which models of each task are told apart, their names, and that of each class."""


def judged_by(metrics: Mapping[str, float]) -> str:
    """The metric that says most of a model: of objects before that of their pixels, regions before whole patches."""
    return next((name for name in _JUDGED if math.isfinite(metrics.get(name, math.nan))), "mean_iou")


def title_of(metric: str) -> str:
    """A metric's name for people."""
    return _JUDGED[metric][0]


def quality_line(metrics: Mapping[str, float]) -> str:
    """Validation in one line of HTML; classes of which nothing was kept aside are named, not shown as a number."""
    metric = judged_by(metrics)
    value = metrics.get(metric, math.nan)
    if not math.isfinite(value):
        return ""
    title, of_class = _JUDGED[metric]
    scores = {name.removeprefix(f"{of_class}/"): v for name, v in metrics.items() if name.startswith(f"{of_class}/")}
    known = [f"{name} {score:.2f}" for name, score in scores.items() if math.isfinite(score)]
    unknown = [name for name, score in scores.items() if not math.isfinite(score)]
    text = " · ".join([f"<b>{title} {value:.2f}</b>", *known])
    return f"{text}<br>Not measured, annotate more of: {', '.join(unknown)}" if unknown else text
