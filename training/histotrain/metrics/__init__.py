"""How good predictions are. Unlabelled pixels never count; what is undefined is NaN, not 0."""

from __future__ import annotations

from histotrain.metrics.pixel import accuracy, class_scores, confusion, macro, share_weighted, summary

__all__ = ["accuracy", "class_scores", "confusion", "macro", "share_weighted", "summary"]
