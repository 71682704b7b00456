"""A training tells what it does, keeps the best, can be stopped, repeated, resumed and continued."""

import math
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from histotrain import (
    Event,
    Finished,
    Notice,
    PatchSet,
    Progressed,
    Recipe,
    Saved,
    Started,
    Trainer,
    TrainingError,
    Validated,
    load_model,
    train,
)
from histotrain.stepping import Taken
from histotrain.supply import Part

Make = Callable[..., PatchSet]


def losses(events: list[Event]) -> list[float]:
    return [e.loss for e in events if isinstance(e, Progressed)]


def finished(events: list[Event]) -> Finished:
    assert isinstance(events[-1], Finished)
    return events[-1]


def test_order_of_events(quick: Recipe, patches: Make, tmp_path: Path) -> None:
    events = list(train(quick, patches(8), validation=patches(4, seed=1), output=tmp_path / "run", device="cpu"))
    kinds = [type(e) for e in events if not isinstance(e, Saved)]
    half = [Progressed] * 3 + [Validated]
    assert kinds == [Started, *half, *half, Finished]
    assert isinstance(events[0], Started)
    assert events[0].classes == ("tumour", "stroma")
    assert [e.step for e in events if isinstance(e, Progressed)] == [1, 2, 3, 4, 5, 6]
    assert finished(events).reason == "completed"
    assert finished(events).path == str(tmp_path / "run")


def test_it_learns_and_a_preview_shows_it(quick: Recipe, patches: Make) -> None:
    trainer = Trainer(
        quick.with_changes(steps=30, validate_every=30), patches(16), validation=patches(8, seed=1), device="cpu"
    )
    events = list(trainer.run())
    assert np.mean(losses(events)[-5:]) < 0.5 * losses(events)[0]
    assert finished(events).metrics["mean_iou"] > 0.85
    image = patches(1, seed=5).images[0]
    truth = patches(1, seed=5, labelled=1.0).labels
    assert truth is not None
    probabilities = trainer.predict_array(image)
    assert probabilities.shape == (64, 64, 2)
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-4)
    assert (np.array([7, 2])[probabilities.argmax(-1)] == truth[0]).mean() > 0.9


def test_a_preview_after_a_few_steps_already_shows_what_was_learnt(quick: Recipe, patches: Make) -> None:
    """With batch norm's running means it is blank until long after the loss has fallen."""
    trainer = Trainer(quick.with_changes(steps=12, validate_every=100), patches(16), device="cpu")
    list(trainer.run())
    whole = patches(1, seed=9, size=128, labelled=1.0)
    assert whole.labels is not None
    predicted = np.array([7, 2])[trainer.predict_array(whole.images[0]).argmax(-1)]
    assert (predicted == whole.labels[0]).mean() > 0.9


def test_previews_do_not_disturb_the_training(quick: Recipe, patches: Make) -> None:
    disturbed = Trainer(quick, patches(8), device="cpu")
    seen = []
    for event in disturbed.run():
        seen.append(event)
        disturbed.predict_array(patches(1).images[0])
    assert losses(seen) == losses(list(train(quick, patches(8), device="cpu")))


def test_same_seed_same_losses_other_seed_others(quick: Recipe, patches: Make) -> None:
    first, again, other = (
        losses(list(train(quick.with_changes(seed=seed), patches(8), device="cpu"))) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_the_best_is_kept_not_the_last(quick: Recipe, patches: Make, tmp_path: Path) -> None:
    trainer = Trainer(quick, patches(8), validation=patches(4, seed=1), output=tmp_path, device="cpu")
    values = iter([0.9, 0.4])
    assert trainer._validator is not None
    trainer._validator.measure = lambda _: (0.0, {"mean_iou": next(values)})  # type: ignore[method-assign]
    events = list(trainer.run())
    assert finished(events).best_step == 3
    assert [e.step for e in events if isinstance(e, Saved)] == [3]
    assert load_model(tmp_path, device="cpu").card.step == 3


def test_stopping_ends_at_the_next_step_and_keeps_the_best(quick: Recipe, patches: Make, tmp_path: Path) -> None:
    trainer = Trainer(quick.with_changes(steps=1000), patches(8), output=tmp_path, device="cpu")
    events = []
    for event in trainer.run():
        events.append(event)
        if isinstance(event, Progressed) and event.step == 2:
            trainer.stop()
    assert finished(events).reason == "cancelled"
    assert finished(events).step == 2
    assert load_model(tmp_path, device="cpu").card.step == 2


def test_closing_the_generator_leaves_no_thread(quick: Recipe, patches: Make) -> None:
    before = threading.active_count()
    run = train(quick, patches(8), device="cpu")
    while not isinstance(next(run), Progressed):
        pass
    run.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_early_stopping(quick: Recipe, patches: Make) -> None:
    recipe = quick.with_changes(steps=100, validate_every=1, patience=2)
    trainer = Trainer(recipe, patches(8), validation=patches(4), device="cpu")
    assert trainer._validator is not None
    trainer._validator.measure = lambda _: (0.0, {"mean_iou": 0.5})  # type: ignore[method-assign]
    events = list(trainer.run())
    assert finished(events).step == 3
    assert finished(events).reason == "completed"
    assert any("has not improved" in e.message for e in events if isinstance(e, Notice))


def test_a_loss_that_is_no_number_fails_and_keeps_the_best(quick: Recipe, patches: Make, tmp_path: Path) -> None:
    trainer = Trainer(quick, patches(8), output=tmp_path, device="cpu")
    events = []
    for event in trainer.run():
        events.append(event)
        if isinstance(event, Progressed) and event.step == 4:
            with torch.no_grad():
                next(trainer._net.parameters()).fill_(math.nan)
    end = finished(events)
    assert (end.reason, end.step, end.best_step) == ("failed", 4, 3)
    assert "learning rate" in end.message
    weights = load_model(tmp_path, device="cpu").net.state_dict().values()
    assert all(torch.isfinite(w).all() for w in weights)


def test_out_of_memory_halves_the_batch(quick: Recipe, patches: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer(quick, patches(8), device="cpu")
    real, sizes = trainer._train_step, []

    def small(parts: Sequence[Part]) -> Taken:
        sizes.append(sum(len(part) for part in parts))
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError
        return real(parts)

    monkeypatch.setattr(trainer, "_train_step", small)
    events = list(trainer.run())
    assert sizes == [4, *[2] * 6]
    assert finished(events).reason == "completed"
    assert any("memory" in e.message for e in events if isinstance(e, Notice))


def test_no_memory_at_all_fails(quick: Recipe, patches: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer(quick, patches(8), device="cpu")

    def impossible(_: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(trainer, "_train_step", impossible)
    assert finished(list(trainer.run())).reason == "failed"


def test_resuming_is_exact(quick: Recipe, patches: Make, tmp_path: Path) -> None:
    straight = list(train(quick, patches(8), validation=patches(4, seed=1), device="cpu"))
    first = Trainer(quick, patches(8), validation=patches(4, seed=1), output=tmp_path, device="cpu")
    for event in first.run():
        if isinstance(event, Progressed) and event.step == 4:
            first.stop()
    resumed = list(train(quick, patches(8), validation=patches(4, seed=1), resume=tmp_path, device="cpu"))
    assert losses(resumed) == losses(straight)[4:]
    assert finished(resumed).metrics == pytest.approx(finished(straight).metrics)


def test_resuming_something_else_is_refused(quick: Recipe, patches: Make, tmp_path: Path) -> None:
    list(train(quick.with_changes(steps=1), patches(4), output=tmp_path, device="cpu"))
    with pytest.raises(TrainingError, match="learning_rate"):
        Trainer(quick.with_changes(learning_rate=0.5), patches(4), resume=tmp_path, device="cpu")


def test_continuing_knows_its_classes_and_gives_new_ones_a_fresh_head(
    quick: Recipe, patches: Make, tmp_path: Path
) -> None:
    list(train(quick.with_changes(steps=4, validate_every=4), patches(8), output=tmp_path, device="cpu"))
    old = load_model(tmp_path, device="cpu")
    image = patches(1, seed=3).images[0]
    same = Trainer(quick, patches(4), init=tmp_path, device="cpu")
    np.testing.assert_allclose(same.predict_array(image), old.predict_array(image), atol=1e-5)

    wider = Trainer(
        quick, patches(4), init=tmp_path, classes=["stroma", "nerve", "tumour"], class_ids=[2, 4, 7], device="cpu"
    )
    probabilities = wider.predict_array(image)[..., [2, 0]]
    ratio = probabilities / probabilities.sum(-1, keepdims=True)
    np.testing.assert_allclose(ratio, old.predict_array(image), atol=1e-4)
    notice = next(e for e in wider.run() if isinstance(e, Notice))
    assert "nerve" in notice.message


def test_continuing_from_another_network_is_refused(quick: Recipe, patches: Make, tmp_path: Path) -> None:
    list(train(quick.with_changes(steps=1), patches(4), output=tmp_path, device="cpu"))
    with pytest.raises(TrainingError, match="resnet34"):
        Trainer(quick.with_changes(model="unet/resnet34"), patches(4), init=tmp_path, device="cpu")


def test_a_failing_source_is_heard(quick: Recipe) -> None:
    class Broken:
        def batch(self, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
            raise TrainingError("the slide is gone")

    events = list(train(quick, Broken(), classes=["a"], device="cpu"))
    assert finished(events).reason == "failed"
    assert "slide is gone" in finished(events).message


def test_nothing_to_validate_on(quick: Recipe, patches: Make) -> None:
    with pytest.raises(TrainingError, match="validation"):
        Trainer(quick, patches(4), validation=patches(4, labelled=0.0), device="cpu")


def test_an_absent_device(quick: Recipe, patches: Make) -> None:
    with pytest.raises(TrainingError, match="no xpu device"):
        Trainer(quick, patches(4), device="xpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_learns_too(quick: Recipe, patches: Make, tmp_path: Path) -> None:
    recipe = quick.with_changes(steps=30, validate_every=30, precision="auto")
    events = list(train(recipe, patches(16), validation=patches(8, seed=1), output=tmp_path, device="cuda"))
    assert finished(events).metrics["mean_iou"] > 0.8
    assert load_model(tmp_path, device="cuda").predict_array(patches(1).images[0]).shape == (64, 64, 2)
