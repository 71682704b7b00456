"""What a job is told: frozen values that travel to the worker as JSON.

A spec names the function that serves it by module path, so the process that submits it never imports that module (the
one for training would bring torch with it), and a worker on another machine needs nothing but the installed package and
the same file system.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


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
