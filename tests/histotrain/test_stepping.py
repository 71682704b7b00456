"""A step is the same however its patches are divided, stays within its bounds, and is told in its terms."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from histotrain import AugmentSettings, Event, Notice, PatchSet, Progressed, Recipe, Trainer, Validated, train
from histotrain.data import Origin

Make = Callable[..., PatchSet]


def losses(events: list[Event]) -> list[float]:
    return [e.loss for e in events if isinstance(e, Progressed)]


def without_norm(trainer: Trainer) -> Trainer:
    """Batch norm sees the patches of one pass: in evaluation mode it is the same however they are divided."""
    for module in trainer._net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.train = lambda mode=True, module=module: module  # type: ignore[method-assign, misc]
            module.training = False
    return trainer


@pytest.mark.parametrize("balancing", ["none", "instance", "mini-batch"])
def test_accumulated_batches_make_the_step_of_the_large_one(quick: Recipe, patches: Make, balancing: str) -> None:
    recipe = quick.with_changes(
        steps=2, balancing=balancing, optimizer="sgd", augment=AugmentSettings(affine=0.5, elastic=0.5)
    )
    data = patches(8, labelled=0.05)
    whole = without_norm(Trainer(recipe.with_changes(batch_size=4), data, device="cpu"))
    divided = without_norm(Trainer(recipe.with_changes(batch_size=2, accumulate=2), data, device="cpu"))
    found = [losses(list(trainer.run())) for trainer in (divided, whole)]
    assert found[0] == pytest.approx(found[1], rel=1e-4)
    for a, b in zip(divided._net.parameters(), whole._net.parameters(), strict=True):
        assert (a - b).abs().max() < 1e-4


def test_gradients_are_clipped(quick: Recipe, patches: Make) -> None:
    recipe = quick.with_changes(
        steps=1, optimizer="sgd", momentum=0.0, weight_decay=0.0, learning_rate=1.0, gradient_clip=1e-3
    )
    trainer = Trainer(recipe, patches(4), device="cpu")
    before = [p.detach().clone() for p in trainer._net.parameters()]
    list(trainer.run())
    moved = torch.cat([(a - b).flatten() for a, b in zip(trainer._net.parameters(), before, strict=True)])
    assert moved.detach().norm().item() == pytest.approx(1e-3, rel=0.02)


def mixed(make: Make, count: int = 8) -> PatchSet:
    """Left half: painted; right half: from boxes; and every patch has a class."""
    patches = make(count, labelled=0.5)
    assert patches.labels is not None
    origins = np.full(patches.labels.shape, Origin.PIXEL, np.uint8)
    origins[:, :, origins.shape[2] // 2 :] = Origin.BOX
    classes = np.where((patches.labels == 7).sum((1, 2)) > (patches.labels == 2).sum((1, 2)), 7, 2)
    return PatchSet(
        patches.images,
        patches.labels,
        origins=origins,
        patch_classes=classes.astype(np.uint8),
        classes=patches.classes,
        class_ids=patches.class_ids,
    )


def first_terms(recipe: Recipe, data: PatchSet) -> tuple[float, dict[str, float]]:
    (event,) = (e for e in train(recipe, data, device="cpu") if isinstance(e, Progressed))
    return event.loss, event.terms


def test_each_kind_of_annotation_has_its_term(quick: Recipe, patches: Make) -> None:
    recipe = quick.with_changes(steps=1, supervision={})
    loss, terms = first_terms(recipe, mixed(patches))
    assert terms.keys() == {"pixel", "sparse", "ellipse", "box", "point", "patch"}
    assert loss == pytest.approx(sum(terms.values()))
    assert [name for name, value in terms.items() if value == 0] == ["sparse", "ellipse", "point"]
    weighted = recipe.with_changes(supervision={"box": 0.25, "point": 0, "patch": 3})
    _, changed = first_terms(weighted, mixed(patches))
    assert "point" not in changed
    assert changed["pixel"] == pytest.approx(terms["pixel"], rel=1e-5)
    assert changed["box"] == pytest.approx(0.25 * terms["box"], rel=1e-5)
    assert changed["patch"] == pytest.approx(3 * terms["patch"], rel=1e-5)


def test_one_pooled_term_is_not_told_apart(quick: Recipe, patches: Make) -> None:
    _, terms = first_terms(quick.with_changes(steps=1), mixed(patches))
    assert terms == {}


def test_classes_of_patches_alone_teach_a_segmenter(quick: Recipe) -> None:
    rng = np.random.default_rng(0)
    dark = np.arange(8) % 2
    images = np.where(dark[:, None, None, None], 90, 200) + rng.integers(-15, 15, (8, 64, 64, 3))
    data = PatchSet(images.astype(np.uint8), patch_classes=(1 + dark).astype(np.uint8), classes=("light", "dark"))
    recipe = quick.with_changes(steps=25, validate_every=25, supervision={})
    trainer = Trainer(recipe, data, device="cpu")
    list(trainer.run())
    found = np.array([trainer.predict_array(image).argmax(-1).mean() for image in data.images])
    assert (np.abs(found - dark) < 0.2).all()


def test_shares_take_the_place_of_labels(quick: Recipe, patches: Make) -> None:
    hard = patches(8)
    assert hard.labels is not None
    shares = np.stack([hard.labels == i for i in hard.class_ids], -1).astype(np.float32)
    other = PatchSet(hard.images, shares=shares[..., ::-1].copy(), classes=("stroma", "tumour"), class_ids=(2, 7))
    soft = losses(list(train(quick, other, classes=hard.classes, class_ids=hard.class_ids, device="cpu")))
    assert soft == pytest.approx(losses(list(train(quick, hard, device="cpu"))), rel=1e-3)


def test_the_share_of_a_class_is_that_of_the_set_or_of_what_was_seen(quick: Recipe, patches: Make) -> None:
    recipe = quick.with_changes(class_weights="share")
    data = patches(8)
    assert data.labels is not None
    counts = np.array([(data.labels == i).sum() for i in data.class_ids])
    known = Trainer(recipe, data, device="cpu")
    found = known._weights.on(torch.device("cpu"))
    assert found is not None
    np.testing.assert_allclose(found, 1 - counts / counts.sum(), rtol=1e-6)

    class Unknown:
        batch = staticmethod(data.source().batch)

    seen = Trainer(recipe, Unknown(), classes=data.classes, class_ids=data.class_ids, device="cpu")
    before = seen._weights.on(torch.device("cpu"))
    assert before is not None
    assert before.tolist() == [1, 1]
    list(seen.run())
    after = seen._weights.on(torch.device("cpu"))
    assert after is not None
    assert float(after.sum()) == pytest.approx(1)
    assert after.tolist() == pytest.approx(found.tolist(), abs=0.2)


def test_another_metric_can_decide(quick: Recipe, patches: Make) -> None:
    trainer = Trainer(quick.with_changes(monitor="dice/stroma"), patches(8), validation=patches(4), device="cpu")
    assert trainer._validator is not None
    values = iter([(0.2, 0.9), (0.8, 0.1)])
    trainer._validator.measure = lambda _: (0.0, dict(zip(("mean_iou", "dice/stroma"), next(values))))  # type: ignore[method-assign]  # noqa: B905
    assert list(trainer.run())[-1].best_step == 3  # type: ignore[attr-defined]


def test_a_metric_that_the_task_lacks_is_replaced_and_said(quick: Recipe, patches: Make) -> None:
    events = list(train(quick.with_changes(monitor="mpq"), patches(8), validation=patches(4), device="cpu"))
    assert sum(isinstance(e, Validated) for e in events) == 2
    (notice,) = (e.message for e in events if isinstance(e, Notice))
    assert "mpq" in notice
    assert "mean_iou" in notice
