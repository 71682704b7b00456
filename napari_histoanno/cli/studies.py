"""The command that makes a paper's experiment again."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from napari_histoanno.cli.app import CANCELLED, USAGE, command, output

if TYPE_CHECKING:
    from rich.progress import TaskID

    from napari_histoanno.studies import StudyEvent, StudyReport


@command("study")
def study(  # noqa: PLR0913 - a command's options
    name: Annotated[str | None, typer.Argument(help="Which study; see --list.")] = None,
    list_them: Annotated[bool, typer.Option("--list", help="List the studies and exit.")] = False,
    quick: Annotated[
        bool, typer.Option("--quick/--full", help="A reduced grid of some ten minutes, or the paper's.")
    ] = True,
    folder: Annotated[Path | None, typer.Option("--output", help="Where results go; study-NAME by default.")] = None,
    seeds: Annotated[int, typer.Option(help="Trainings of every setting.")] = 3,
    budget: Annotated[float | None, typer.Option(help="Minutes after which no further cell begins.")] = None,
    nuclei: Annotated[Path | None, typer.Option(help="Folder of real nuclei: images/*.png, labels/*.tif.")] = None,
    costs: Annotated[Path | None, typer.Option(help="JSON of the seconds that annotating takes.")] = None,
    device: Annotated[str, typer.Option(help='"auto", "cpu", "cuda:0", …')] = "auto",
    results: Annotated[
        Path | None, typer.Option(help="Also put the tables into this Markdown file of all studies.")
    ] = None,
) -> None:
    """Make a paper's experiment again. Ctrl-C or a kill keeps finished cells; run it again to go on."""
    from napari_histoanno.studies import StudyError, StudyOptions, StudyRun, list_studies, study_named, write_results
    from napari_histoanno.studies import write_outputs as write

    if list_them or name is None:
        known = list_studies()
        output.result({"studies": known}, *(f"{key}: {line}" for key, line in known.items()))
        if name is None and not list_them:
            raise typer.Exit(USAGE)
        return
    for given in (nuclei, costs):
        if given is not None and not given.exists():
            raise StudyError(f"{given} does not exist.")
    options = StudyOptions("quick" if quick else "full", seeds, budget, nuclei, costs, device)
    run = StudyRun(study_named(name), folder or Path(f"study-{name}"), options)
    interrupted = False
    try:
        with _Following() as following:
            for event in run.events():
                following.show(event)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        report = write(run)
    if results is not None:
        write_results(results, [run.folder])
    _show(report)
    if interrupted:
        output.say("Interrupted: finished cells are kept. Run the same command again to go on.")
        raise typer.Exit(CANCELLED)


def _show(report: StudyReport) -> None:
    from napari_histoanno.studies.report import PAGE

    shown: list[str | Table] = []
    for filled in report.tables:
        table = Table(*filled.head, title=filled.spec.title)
        for row in filled.rows():
            table.add_row(*row)
        shown.append(table)
    finding = report.finding
    shown += [f"{finding.statement} – {finding.verdict}.", finding.evidence, report.circumstances]
    if report.missing:
        cells = "; ".join(f"{cell.label}, seed {cell.seed}" for cell in report.missing)
        shown.append(f"Missing cells: {cells}.")
    shown.append(f"Report: {report.folder / PAGE}")
    output.result(report.to_dict(), *shown)


class _Following:
    """A bar over the cells, with what is computed now and how long it will take."""

    def __init__(self) -> None:
        self._bar = Progress(
            TextColumn("{task.completed}/{task.total} cells"),
            BarColumn(),
            TextColumn("{task.description}"),
            console=output.progress,
            disable=output.as_json,
            transient=True,
        )
        self._task: TaskID = self._bar.add_task("", total=None)

    def __enter__(self) -> _Following:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, event: StudyEvent) -> None:
        """Bring the bar up to date, and tell of what has ended."""
        from napari_histoanno.studies import CellFinished, CellStarted, StudyEnded, StudyStarted

        match event:
            case StudyStarted():
                self._bar.update(self._task, total=event.total, completed=event.found)
                if event.found:
                    output.say(f"{event.found} of {event.total} cells were done before.")
            case CellStarted():
                left = "" if math.isnan(event.eta_seconds) else f", {event.eta_seconds / 60:.0f} min left"
                self._bar.update(self._task, description=f"{event.cell.label}, seed {event.cell.seed}{left}")
            case CellFinished():
                self._bar.advance(self._task)
                cell, metrics = event.result.cell, event.result.metrics
                numbers = ", ".join(f"{key} {value:.3f}" for key, value in list(metrics.items())[:4])
                output.say(f"{cell.label}, seed {cell.seed}: {numbers} ({event.result.seconds:.0f} s)")
            case StudyEnded(reason="budget"):
                output.say(f"The budget ends here; {event.missing} cells are missing.")
