"""An interrupted training goes on exactly, whatever it is trained for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from histotrain import AugmentSettings, Event, PatchSet, Progressed, Recipe, Trainer, load_model, train

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HOW = {
    "regions": {"model": "unet/resnet18", "class_weights": "share", "accumulate": 2, "loss": "focal"},
    "joint": {"model": "ciga-martel", "supervision": {"patch": 0.5}},
    "nuclei": {"model": "instance-unet"},
    "clicks": {"model": "nuclick"},
}


def losses(events: list[Event]) -> list[tuple[float, dict[str, float]]]:
    return [(e.loss, e.terms) for e in events if isinstance(e, Progressed)]


@pytest.mark.parametrize("kind", HOW)
def test_it_goes_on_bit_for_bit(kind: str, brief: Recipe, everything: Callable[..., PatchSet], tmp_path: Path) -> None:
    recipe = brief.with_changes(steps=4, validate_every=10, augment=AugmentSettings(affine=0.5), **HOW[kind])
    data = everything(4)

    class Unknown:
        """Says nothing of its classes' shares, so they are counted as they come."""

        classes, class_ids = data.classes, data.class_ids
        batch, samples = data.source().batch, data.source().samples

    straight = Trainer(recipe, Unknown(), device="cpu")
    expected = losses(list(straight.run()))
    first = Trainer(recipe, Unknown(), output=tmp_path, device="cpu")
    for event in first.run():
        if isinstance(event, Progressed) and event.step == 2:
            first.stop()
    resumed = Trainer(recipe, Unknown(), resume=tmp_path, device="cpu")
    assert losses(list(resumed.run())) == expected[2:]
    for name, tensor in straight._net.state_dict().items():
        assert tensor.equal(resumed._net.state_dict()[name]), name


def test_the_stain_is_kept_with_the_model(brief: Recipe, everything: Callable[..., PatchSet], tmp_path: Path) -> None:
    look = {"method": "reinhard", "target": {"mean": [1.0, 2.0]}}
    list(train(brief.with_changes(steps=1), everything(2), output=tmp_path, stain=look, device="cpu"))
    assert load_model(tmp_path, device="cpu").card.stain == look
