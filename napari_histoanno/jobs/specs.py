"""What a job is told: frozen values that travel to the worker as JSON.

A spec names the function that serves it by module path, so the process that submits it never imports that module (the
one for training would bring torch with it), and a worker on another machine needs nothing but the installed package and
the same file system.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from histotrain.recipes import Recipe
from napari_histoanno.datasets import SamplingSpec, needs_of
from napari_histoanno.datasets.export import ExportSpec


class JobSpec(BaseModel):
    """Base of all specs.

    Attributes
    ----------
    kind : str
        What kind of job this is, for people and for filtering.
    target : str
        ``"module:function"`` of the generator ``run(spec, channel) -> Iterator[Event]`` that serves it.
    wants_gpu : bool
        Prefer workers that declare the dask resource ``GPU``, where the cluster has any.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ClassVar[str]
    target: ClassVar[str]
    wants_gpu: ClassVar[bool] = False


class SelfTestSpec(JobSpec):
    """A job that only counts: shows that a worker starts, reports, answers and stops."""

    kind: ClassVar[str] = "self-test"
    target: ClassVar[str] = "napari_histoanno.jobs.selftest:run"

    steps: int = 10
    seconds_per_step: float = 0.01
    fail_at: int | None = None


class TrainingSpec(JobSpec):
    """Train a model on what is annotated in a project.

    ``init`` is the folder of a model whose weights to start from, ``resume`` that of an interrupted training of the
    same recipe to go on with exactly. Without ``sampling`` patches are drawn as the recipe needs them.
    """

    kind: ClassVar[str] = "training"
    target: ClassVar[str] = "napari_histoanno.jobs.training:run"
    wants_gpu: ClassVar[bool] = True

    project: Path
    run: str
    recipe: Recipe
    output: Path
    init: Path | None = None
    resume: Path | None = None
    sampling: SamplingSpec | None = None

    @property
    def sampling_spec(self) -> SamplingSpec:
        """What patches to draw; the recipe decides their size and resolution, which they are and what they show."""
        sampling = self.sampling or SamplingSpec(seed=self.recipe.seed)
        bending = {"elastic_grid": self.recipe.augment.elastic_grid, "elastic_sigma": self.recipe.augment.elastic_sigma}
        return sampling.model_copy(update={**needs_of(self.recipe, sampling.stain), **bending})


class PredictionSpec(JobSpec):
    """Predict a slide into a prediction store.

    ``region`` limits it to a level-0 box (x0, y0, x1, y1); ``tissue_only`` skips glass; ``tta`` averages over the eight
    orientations. ``uncertainty`` is kept if asked for: the entropy or the margin of the probabilities, the disagreement
    of ``passes`` passes with random dropout, or that of an ensemble of the model and the models in ``ensemble``.
    """

    kind: ClassVar[str] = "prediction"
    target: ClassVar[str] = "napari_histoanno.jobs.prediction:run"
    wants_gpu: ClassVar[bool] = True

    project: Path
    prediction: str
    slide: str
    model: Path
    output: Path
    region: tuple[float, float, float, float] | None = None
    tissue_only: bool = True
    keep_probabilities: bool = True
    tile: int = Field(default=512, ge=64, le=4096)
    overlap: int = Field(default=64, ge=0)
    tta: bool = False
    uncertainty: Literal["none", "entropy", "margin", "mc-dropout", "ensemble"] = "none"
    passes: int = Field(default=8, ge=2, le=64)
    ensemble: tuple[Path, ...] = ()


class DatasetExportSpec(JobSpec):
    """Write a dataset from a project."""

    kind: ClassVar[str] = "export"
    target: ClassVar[str] = "napari_histoanno.jobs.exporting:run"

    project: Path
    output: Path
    dataset: ExportSpec


class EvaluationSpec(JobSpec):
    """Measure a model on annotated places that it was not trained on.

    ``on`` chooses them: "validation" the slides marked so, else the part that training holds out; "test" the slides
    marked so; "all" everything annotated, training places included. ``slides`` names slides instead.
    """

    kind: ClassVar[str] = "evaluation"
    target: ClassVar[str] = "napari_histoanno.jobs.evaluation:run"
    wants_gpu: ClassVar[bool] = True

    project: Path
    model: Path
    output: Path
    on: Literal["validation", "test", "all"] = "validation"
    slides: tuple[str, ...] | None = None
