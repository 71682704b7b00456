"""Every network of the catalogue trains through its objective, on patches of which everything is known."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from histotrain import Finished, PatchSet, Progressed, Recipe, Trainer, Validated
from histotrain.models import magnifications_of, task_of
from histotrain.models.catalogue import FAMILIES

if TYPE_CHECKING:
    from collections.abc import Callable

QUICK = ("unet/resnet18", "classify/mobilenet", "ciga-martel", "dmmn-m3", "instance-unet", "detection-unet", "nuclick")
NAMES = (
    *QUICK,
    "fpn/resnet18",
    "linknet/mobilenet",
    "classify/resnet18",
    "classify/vgg16",
    *(name for name in FAMILIES if name not in (*QUICK, "mask-rcnn")),
)
METRICS = {
    "regions": ("mean_iou", "iou/dark", "accuracy"),
    "patches": ("accuracy", "macro_f1", "micro_f1", "macro_recall", "f1/dark"),
    "regions and patches": ("mean_iou", "macro_f1", "patch_macro_f1"),
    "nuclei": ("mpq", "bpq", "pq/dark", "mean_iou"),
    "points": ("detection_f1", "detection_recall", "f1/dark"),
    "clicks": ("iou", "dice"),
}


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in NAMES])
def test_two_steps_and_a_validation(name: str, brief: Recipe, everything: Callable[..., PatchSet]) -> None:
    trainer = Trainer(brief.with_changes(model=name), everything(4), validation=everything(3, seed=1), device="cpu")
    events = list(trainer.run())
    end = events[-1]
    assert isinstance(end, Finished)
    assert (end.reason, end.step, end.best_step) == ("completed", 2, 2), end.message
    assert all(math.isfinite(e.loss) for e in events if isinstance(e, Progressed))
    (measured,) = (e for e in events if isinstance(e, Validated))
    assert math.isfinite(measured.loss)
    assert set(METRICS[task_of(name)]) <= measured.metrics.keys()
    patches = everything(1)
    assert patches.contexts is not None
    lower = patches.contexts[0] if len(magnifications_of(name)) > 1 else None
    probabilities = trainer.predict_array(patches.images[0], lower)
    assert probabilities.shape == (32, 32, 2)
    total = probabilities.sum(-1)
    if task_of(name) in ("nuclei", "points"):  # 0 between the nuclei
        total = total[total > 0]
    np.testing.assert_allclose(total, 1, atol=1e-4)
