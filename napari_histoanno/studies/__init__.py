"""The papers' experiments, made again on synthetic slides and, where their labels allow, on real nuclei.

A study is a grid of small trainings (:mod:`.grid`), run cell by cell (:mod:`.runner`) so that it can be stopped and
continued, and ends as tables beside the paper's own numbers (:mod:`.report`). Nothing here imports torch before a cell
runs.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_histoanno.studies.grid import (
    Cell,
    Finding,
    Mode,
    PaperNumber,
    Quantity,
    Study,
    StudyError,
    StudyOptions,
    TableSpec,
)
from napari_histoanno.studies.report import StudyReport, write_outputs, write_results
from napari_histoanno.studies.results import Result
from napari_histoanno.studies.runner import CellFinished, CellStarted, StudyEnded, StudyEvent, StudyRun, StudyStarted

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Unpack

    from napari_histoanno.studies.choices import StudyChoices

__all__ = [
    "Cell",
    "CellFinished",
    "CellStarted",
    "Finding",
    "Mode",
    "PaperNumber",
    "Quantity",
    "Result",
    "Study",
    "StudyEnded",
    "StudyError",
    "StudyEvent",
    "StudyOptions",
    "StudyReport",
    "StudyRun",
    "StudyStarted",
    "TableSpec",
    "list_studies",
    "run_study",
    "study_named",
    "write_outputs",
    "write_results",
]

_STUDIES = {
    "granularity": "granularity:GranularityStudy",
    "sparse": "sparse:SparseStudy",
    "annotation-time": "annotation_time:AnnotationTimeStudy",
    "seg-from-cls": "seg_from_cls:SegFromCls",
    "pannuke-loop": "pannuke_loop:PannukeLoop",
    "dmmn": "dmmn:Dmmn",
}
"""Name to module and class; a module is imported when its study is asked for."""


def study_named(name: str) -> Study[Any]:
    """The study of that name.

    Raises
    ------
    StudyError
        If there is none.
    """
    if name not in _STUDIES:
        raise StudyError(f"There is no study {name!r}. There are: {', '.join(_STUDIES)}.")
    module, _, kind = _STUDIES[name].partition(":")
    study: Study[Any] = getattr(importlib.import_module(f"{__name__}.{module}"), kind)()
    return study


def list_studies() -> dict[str, str]:
    """Names of the studies, each with one line."""
    return {name: study_named(name).line for name in _STUDIES}


def run_study(
    name: str,
    output: str | Path,
    *,
    on_event: Callable[[StudyEvent], None] | None = None,
    **choices: Unpack[StudyChoices],
) -> StudyReport:
    """Run a study to its end, its budget or an interruption, and write its tables.

    Parameters
    ----------
    name : str
        See `list_studies`.
    output : path
        Folder; results found in it are not computed again.
    on_event : callable, optional
        Told what happens.
    **choices
        Fields of `StudyOptions`: mode, seeds, budget, nuclei, costs, device, cache.

    Returns
    -------
    StudyReport
        Also written: ``table.md``, ``table.csv``, ``plot.png``, ``report.html``, ``results.jsonl``.

    Raises
    ------
    StudyError
        If there is no such study or it cannot be run so.
    TrainingError
        If a cell cannot be trained.

    An interruption or an error is raised as it came; what had ended by then is written first.
    """
    run = StudyRun(study_named(name), Path(output), StudyOptions(**choices))
    try:
        for event in run.events():
            if on_event is not None:
                on_event(event)
    except BaseException:
        write_outputs(run)
        raise
    return write_outputs(run)
