"""Training, as a generator of events.

    Started -> Progressed* -> (Validated, Saved)* -> Finished(completed | cancelled | failed)

The caller gets control back after every step: between two of them it may call `Trainer.predict_array` for a preview,
or `Trainer.stop`. The weights that are kept are those of the best validation; without validation patches, the last
ones. A training that ends for whatever reason leaves the best model it had.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import torch
from torch import Tensor, nn

from histotrain.augment import unvaried
from histotrain.batches import Batch
from histotrain.card import ModelCard
from histotrain.checkpoint import save_training, save_weights
from histotrain.classes import resolve_classes
from histotrain.data import PatchSet
from histotrain.devices import choose_device
from histotrain.errors import TrainingError
from histotrain.events import Event, Finished, Notice, Progressed, Saved, Started, Validated
from histotrain.feed import Feed
from histotrain.inference import LARGEST, by_windows, predict_image
from histotrain.models import build_model, task_of
from histotrain.objectives import ClassWeights, objective_class, objective_for
from histotrain.optim import Optimizer
from histotrain.pixels import MEAN, STD
from histotrain.ranks import rank, several, told
from histotrain.recipes import Recipe
from histotrain.schedule import Schedule
from histotrain.speed import Speed
from histotrain.statistics import BATCHES, PREVIEW_BATCHES, settle_statistics
from histotrain.stepping import Taken, take_step
from histotrain.supply import Part, Supply
from histotrain.validation import Validator
from histotrain.warmstart import restore_training, start_from

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence
    from typing import Unpack

    import numpy as np
    from numpy.typing import NDArray

    from histotrain.data import PatchSource

STATE_SECONDS = 60.0
"""At most this often the state for an exact resume is written (three times a model's size)."""


class TrainingOptions(TypedDict, total=False):
    """What a training can be told beside its recipe and data."""

    validation: PatchSet | None
    """Patches to measure on, of whatever kind the network learns from."""
    classes: Sequence[str] | None
    """Names of the classes, in the order of the channels; by default those of the data."""
    class_ids: Sequence[int] | None
    """Their ids in masks."""
    scheme: Mapping[str, Any] | None
    """The label scheme: {"classes": [{"id", "name", …}]}; stored with the model."""
    init: str | Path | None
    """Folder of a model whose weights to start from."""
    resume: str | Path | None
    """Folder of an interrupted training of the same recipe to go on with, exactly."""
    output: str | Path | None
    """Folder for the model; nothing is written without it."""
    lineage: Mapping[str, Any] | None
    """JSON-able: where the data come from; stored with the model."""
    device: str
    """"auto", "cpu", "cuda:0", "mps"."""
    stain: Mapping[str, Any] | None
    """JSON-able: the stain normalisation that the patches have had; stored with the model."""


def train(recipe: Recipe, data: PatchSet | PatchSource, **options: Unpack[TrainingOptions]) -> Iterator[Event]:
    """Train a network and yield what happens.

    Parameters
    ----------
    recipe : Recipe
        How.
    data : PatchSet or PatchSource
        From what; a source is sampled as it comes, a set with balanced classes.
    **options
        See `TrainingOptions`.

    Yields
    ------
    Event
        The last one is always `Finished`.

    Raises
    ------
    TrainingError
        If the recipe and the data do not allow a training to start.
    """
    yield from Trainer(recipe, data, **options).run()


class Trainer:
    """One training; arguments as for `train`. Build it, then iterate over `run` once."""

    def __init__(self, recipe: Recipe, data: PatchSet | PatchSource, **options: Unpack[TrainingOptions]) -> None:
        self.recipe = recipe
        self.step = 0
        self._options = options
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._notices: list[str] = []
        scheme = options.get("scheme") or getattr(data, "scheme", None) or {}
        self.classes = resolve_classes(data, options.get("classes"), options.get("class_ids"), scheme)
        self._scheme = dict(scheme)
        self._source: PatchSource = (
            data.source(uses=objective_class(recipe.model).uses_of(recipe)) if isinstance(data, PatchSet) else data
        )
        self._device = choose_device(options.get("device", "auto"), recipe.precision)
        torch.manual_seed(recipe.seed)
        self._net = self._build()
        self._weights = ClassWeights(recipe, self.classes, self._source)
        self._objective = objective_for(self._net, recipe, self.classes, self._weights)
        self._supply = Supply(self._source, recipe, self.classes, self._objective)
        validation = options.get("validation")
        self._validator = (
            Validator(validation, recipe, self.classes, self._objective)
            if validation is not None and len(validation)
            else None
        )
        self._optimizer = Optimizer.from_recipe(self._net.parameters(), recipe)
        self._schedule = Schedule(recipe)
        self._batch_size = recipe.batch_size
        self._best: dict[str, Tensor] | None = None
        self._best_step = 0
        self._best_metrics: dict[str, float] = {}
        self._best_value = -math.inf
        self._fell_back = recipe.monitor == Recipe.model_fields["monitor"].default
        self._recent: deque[Tensor] = deque(maxlen=BATCHES)
        self._unimproved = 0
        self._validated_at = -1
        self._state_written = time.monotonic()
        if resume := options.get("resume"):
            self._restore(Path(resume))

    def _build(self) -> nn.Module:
        net = build_model(self.recipe.model, len(self.classes))
        self._notices += start_from(net, self.recipe, self.classes, self._options.get("init"))
        net = net.to(self._device.torch_device)
        return net.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload,no-any-return]

    def stop(self) -> None:
        """End at the next step and keep the best weights; may be called from any thread."""
        self._stop.set()

    def run(self) -> Iterator[Event]:
        """Train to the end, one event at a time; the last one is `Finished`."""
        yield from map(Notice, self._notices)
        yield Started(
            recipe=self.recipe.name,
            model=self.recipe.model,
            parameters=sum(p.numel() for p in self._net.parameters()),
            classes=self.classes.names,
            device=str(self._device.torch_device),
            precision=self._device.precision,
            step=self.step,
            total_steps=self.recipe.steps,
        )
        try:
            failure = yield from self._steps()
        except TrainingError as error:
            failure = str(error)
        yield from self._finish(failure)

    def _steps(self) -> Generator[Event, None, str]:
        """Yield events until the training ends; returns why it failed, or ""."""
        while self.step < self.recipe.steps and not self._stop.is_set():
            size = self._batch_size
            with Feed(lambda step, size=size: self._supply.parts(step, size=size), step=self.step) as feed:  # type: ignore[misc]
                failure, over = yield from self._steps_of(feed)
            if over:
                return failure
            yield Notice(
                f"The device ran out of memory: going on with {self._batch_size} patches per step instead of {size}."
            )
        return ""

    def _steps_of(self, feed: Feed[list[Part]]) -> Generator[Event, None, tuple[str, bool]]:
        """Yield events until the training ends or the batch has to shrink; returns (failure, whether it is over)."""
        speed = Speed(self._batch_size * self.recipe.accumulate)
        while self.step < self.recipe.steps and not self._stop.is_set():
            try:
                rate = self._schedule.rate(self.step)
                loss, terms = self._train_step(feed.next())
            except torch.OutOfMemoryError:
                if several():
                    raise
                self._forget_gradients()
                if self._batch_size == 1:
                    return (
                        "the device has too little memory for a single patch. Use smaller patches or another network",
                        True,
                    )
                self._batch_size //= 2
                return "", False
            if not math.isfinite(loss):
                return f"the loss became {loss} at step {self.step + 1}. Lower the learning rate", True
            self.step += 1
            per_second = speed.tick()
            eta = (self.recipe.steps - self.step) * self._batch_size * self.recipe.accumulate / per_second
            parts = terms if len(terms) > 1 else {}
            yield Progressed(self.step, self.recipe.steps, loss, rate, per_second, eta, parts)
            if self.step % self.recipe.validate_every == 0:
                yield from self._check()
                speed.skip()
                if self.recipe.patience and self._unimproved >= self.recipe.patience:
                    yield Notice(f"Validation has not improved {self._unimproved} times in a row: training ends early.")
                    return "", True
        return "", True

    def _train_step(self, parts: Sequence[Part]) -> Taken:
        """One step of the optimiser."""
        inputs = [self._supply.ready(part, self._device.torch_device) for part in parts]
        self._recent.extend(one.pixels for one in inputs)
        with self._lock:
            return take_step(
                self._objective, self._optimizer, inputs, self._device, rate=self._schedule.rate(self.step)
            )

    def _forget_gradients(self) -> None:
        self._optimizer.zero_grad()
        if self._device.torch_device.type == "cuda":
            torch.cuda.empty_cache()

    def _check(self) -> Iterator[Event]:
        """Measure, and keep the weights if they are the best so far."""
        self._validated_at = self.step
        metrics: dict[str, float] = {}
        with self._lock:
            settle_statistics(self._net, self._recent, self._device, self._objective.touch)
        if self._validator is not None:
            with self._lock:
                loss, metrics = told(self._validator.measure(self._device) if rank() == 0 else None)
            yield Validated(self.step, loss, metrics)
            if (monitor := self.recipe.monitor) not in metrics and not self._fell_back:
                self._fell_back = True
                other = next((name for name in self._objective.monitors if name in metrics), None)
                yield Notice(
                    f"{self.recipe.model} is not measured by {monitor}: the best weights are those of {other}."
                )
        value = self._value_of(metrics)
        gained = self._validator is None or self._best is None or value > self._best_value
        self._schedule.validated(gained=gained)
        self._unimproved = 0 if gained else self._unimproved + 1
        if gained:
            self._best = {k: v.detach().cpu().clone() for k, v in self._net.state_dict().items()}
            self._best_step, self._best_metrics, self._best_value = self.step, metrics, value
            if output := self._output:
                save_weights(output, self._best, self._card())
                yield Saved(self.step, str(output), best=True)
        if time.monotonic() - self._state_written > STATE_SECONDS:
            self._write_state()

    def _value_of(self, metrics: Mapping[str, float]) -> float:
        """The metric that counts: the recipe's, or where the task has none of that name, the objective's own."""
        names = (self.recipe.monitor, *self._objective.monitors)
        value = next((metrics[name] for name in names if name in metrics), math.nan)
        return -math.inf if math.isnan(value) else value

    @property
    def _output(self) -> str | Path | None:
        """Where this process writes."""
        return self._options.get("output") if rank() == 0 else None

    def _finish(self, failure: str) -> Iterator[Event]:
        cancelled = self._stop.is_set() and self.step < self.recipe.steps
        measured = self._validated_at == self.step
        if not failure and not measured and (not cancelled or self._best is None or self._validator is None):
            yield from self._check()
        if not failure:
            self._write_state()
        path = self._options.get("output") if self._best is not None else None
        yield Finished(
            reason="failed" if failure else "cancelled" if cancelled else "completed",
            step=self.step,
            best_step=self._best_step,
            metrics=self._best_metrics,
            path=None if path is None else str(path),
            message=failure,
        )

    def _card(self) -> ModelCard:
        return ModelCard(
            recipe=self.recipe,
            classes=self.classes.names,
            class_ids=self.classes.ids,
            mpp=self.recipe.mpp,
            mean=MEAN,
            std=STD,
            step=self._best_step,
            metrics=dict(self._best_metrics),
            scheme=self._scheme,
            lineage=dict(self._options.get("lineage") or {}),
            stain=None if (stain := self._options.get("stain")) is None else dict(stain),
        )

    def _write_state(self) -> None:
        output = self._output
        if output is None:
            return
        tensors = {f"net.{k}": v for k, v in self._net.state_dict().items()}
        tensors |= {f"optimizer.{k}": v for k, v in self._optimizer.state().items()}
        tensors |= {f"best.{k}": v for k, v in (self._best or {}).items()}
        tensors |= {f"weights.{k}": v for k, v in self._weights.state().items()}
        tensors["random"] = torch.get_rng_state()
        facts = {
            "recipe": self.recipe.model_dump(mode="json"),
            "class_ids": list(self.classes.ids),
            "step": self.step,
            "best_step": self._best_step,
            "best_metrics": {k: v for k, v in self._best_metrics.items() if not math.isnan(v)},
            "unimproved": self._unimproved,
            "factor": self._schedule.factor,
            "stale": self._schedule.stale,
        }
        save_training(output, tensors, facts)
        self._state_written = time.monotonic()

    def _restore(self, folder: Path) -> None:
        facts, best, weights = restore_training(folder, self.recipe, self.classes, self._net, self._optimizer)
        self.step = facts["step"]
        self._best, self._best_step, self._best_metrics = best, facts["best_step"], facts["best_metrics"]
        self._best_value = self._value_of(self._best_metrics)
        self._unimproved = facts["unimproved"]
        self._schedule.factor, self._schedule.stale = facts["factor"], facts["stale"]
        for step in range(max(0, self.step - BATCHES), self.step):
            parts = self._supply.parts(step, size=self._batch_size)
            self._recent.extend(self._supply.ready(part, self._device.torch_device).pixels for part in parts)
        self._weights.restore(weights)

    def predict_array(self, image: NDArray[np.uint8], contexts: NDArray[np.uint8] | None = None) -> NDArray[np.float32]:
        """Class probabilities with the weights of this moment.

        May be called between the events of `run`, or from another thread (it then waits for the step to end).

        Parameters
        ----------
        image : uint8, shape (H, W, 3)
            Predicted in blended tiles if it is large and has no contexts.
        contexts : uint8, shape (M, H, W, 3), optional
            The same centre at the network's lower magnifications.

        Returns
        -------
        float32, shape (H, W, C)
            From a network that classifies patches, those of the windows around each pixel; from one for nuclei, 0
            between them.
        """
        whole = max(image.shape[:2]) <= LARGEST or contexts is not None
        with self._lock:
            settle_statistics(self._net, list(self._recent)[-PREVIEW_BATCHES:], self._device, self._objective.touch)
            self._net.eval()
            try:
                channels = len(self.classes)
                if task_of(self.recipe.model) == "patches":
                    side = self.recipe.patch_size
                    found = by_windows(self._probabilities, image[None], window=side, channels=channels)
                elif whole:
                    found = self._probabilities(image[None], None if contexts is None else contexts[None])
                else:
                    found = predict_image(self._probabilities, image, channels=channels)[None]
                one: NDArray[np.float32] = found[0]
                return one
            finally:
                self._net.train()

    @torch.inference_mode()
    def _probabilities(
        self, images: NDArray[np.uint8], contexts: NDArray[np.uint8] | None = None
    ) -> NDArray[np.float32]:
        """Float32 (N, H, W, C) or (N, C) of images uint8 (N, H, W, 3)."""
        arrays = [None if a is None else torch.from_numpy(a.copy()) for a in (images, contexts)]
        on = [None if t is None else t.to(self._device.torch_device) for t in arrays]
        assert on[0] is not None
        pixels = unvaried(Batch(on[0], contexts=on[1])).pixels
        with self._device.autocast():
            shown = getattr(self._net, "shown", None)
            found: Tensor = self._net(pixels).float().softmax(1) if shown is None else shown(pixels)
        probabilities: NDArray[np.float32] = found.movedim(1, -1).cpu().numpy()
        return probabilities
