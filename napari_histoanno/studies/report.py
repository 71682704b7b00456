"""What a study leaves: tables as Markdown and CSV, a plot, one HTML page, and the joint file of all studies."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from napari_histoanno.report import Picture, Section, Table, write_report
from napari_histoanno.studies.grid import Finding, StudyError
from napari_histoanno.studies.runner import wall_and_cpu
from napari_histoanno.studies.tables import StudyTable, fill, to_csv

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

    from napari_histoanno.studies.grid import Cell
    from napari_histoanno.studies.runner import StudyRun

PAGE, MARKDOWN, CSV, PLOT = "report.html", "table.md", "table.csv", "plot.png"
_HEADING = "# Results of the studies"
_BEGIN = "<!-- study {name} -->"
_END = "<!-- end of study {name} -->"


@dataclass(frozen=True, slots=True)
class StudyReport:
    """What a run came to; ``missing`` cells of its grid, and settings of the full grid that it ``left_out``."""

    name: str
    folder: Path
    finding: Finding
    tables: tuple[StudyTable, ...]
    missing: tuple[Cell, ...]
    left_out: tuple[Cell, ...]
    circumstances: str
    remarks: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """For machines."""
        return {
            "study": self.name,
            "output": str(self.folder),
            "finding": self.finding.statement,
            "holds": self.finding.holds,
            "verdict": self.finding.verdict,
            "evidence": self.finding.evidence,
            "missing": [f"{cell.label}, seed {cell.seed}" for cell in self.missing],
            "left_out": [cell.label for cell in self.left_out],
            "circumstances": self.circumstances,
        }


def write_outputs(run: StudyRun) -> StudyReport:
    """Write `table.md`, `table.csv`, `plot.png`, `report.html` and `summary.json` of what a run has so far.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    report = summarise(run)
    run.folder.mkdir(parents=True, exist_ok=True)
    figure = run.study.plot(run.results) if run.results else None
    if figure is not None:
        figure.savefig(run.folder / PLOT, dpi=120)
    (run.folder / MARKDOWN).write_text(markdown(run, report), encoding="utf-8")
    (run.folder / CSV).write_text(to_csv(report.tables), encoding="utf-8")
    (run.folder / "summary.json").write_text(json.dumps(report.to_dict(), indent=1), encoding="utf-8")
    write_report(run.folder / PAGE, f"Study: {run.study.name}", _sections(run, report, figure))
    return report


def summarise(run: StudyRun) -> StudyReport:
    """Tables and finding of what a run has so far."""
    study, results = run.study, run.results
    finding = study.finding(results)
    if run.options.seeds < 3 and finding.holds is not None:
        finding = replace(finding, holds=None, evidence=f"{finding.evidence} Fewer than three seeds conclude nothing.")
    full = study.cells(replace(run.options, mode="full"))
    present = {cell.params for cell in run.settings}
    return StudyReport(
        name=study.name,
        folder=run.folder,
        finding=finding,
        tables=tuple(fill(study, run.settings, results)),
        missing=tuple(run.missing),
        left_out=tuple(cell for cell in full if cell.params not in present),
        circumstances=_circumstances(run),
        remarks=(*study.notes, *study.remarks(results)),
    )


def _circumstances(run: StudyRun) -> str:
    results = run.results
    if not results:
        return "Nothing has been run."
    wall, cpu = wall_and_cpu(results)
    devices = "; ".join(dict.fromkeys(r.device for r in results))
    days = sorted({r.when[:10] for r in results})
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    made_with = "; ".join(dict.fromkeys(r.versions for r in results))
    return (
        f"{run.options.mode.capitalize()} grid, {len(results)} of {len(results) + len(run.missing)} cells, {when}, "
        f"{devices}; {wall / 60:.1f} min by the clock, {cpu / 60:.1f} min of processor; {made_with}."
    )


def markdown(run: StudyRun, report: StudyReport) -> str:
    """The study as a part of a Markdown page."""
    finding = report.finding
    parts = [
        f"## {run.study.name}",
        run.study.line,
        f"**{finding.statement}** – *{finding.verdict}.* {finding.evidence}",
        *(table.markdown().rstrip("\n") for table in report.tables),
        "Mean ± standard deviation (n - 1) over seeds.",
        report.circumstances,
    ]
    if report.remarks:
        parts.append("\n".join(f"- {remark}" for remark in report.remarks))
    if report.missing:
        parts.append(f"Missing cells: {_listed(report.missing, seeds=True)}.")
    if report.left_out:
        parts.append(f"Settings of the full grid that were not run: {_listed(report.left_out, seeds=False)}.")
    parts.append(f"Paper: {run.study.citation}")
    return "\n\n".join(parts) + "\n"


def _listed(cells: Sequence[Cell], *, seeds: bool) -> str:
    return "; ".join(f"{cell.label}, seed {cell.seed}" if seeds else cell.label for cell in cells)


def _sections(run: StudyRun, report: StudyReport, figure: Figure | None) -> list[Section]:
    finding = report.finding
    first = Section(
        "Finding", [run.study.line, f"{finding.statement} – {finding.verdict}.", finding.evidence, report.circumstances]
    )
    if figure is not None:
        first.pictures.append(Picture.from_figure(figure, "Mean and standard deviation over seeds."))
    sections = [first]
    sections += [Section(table.spec.title, tables=[Table(table.head, table.rows())]) for table in report.tables]
    notes = [*report.remarks, f"Paper: {run.study.citation}"]
    if report.missing:
        notes.append(f"Missing cells: {_listed(report.missing, seeds=True)}.")
    if report.left_out:
        notes.append(f"Settings of the full grid that were not run: {_listed(report.left_out, seeds=False)}.")
    return [*sections, Section("Notes", notes)]


def write_results(path: Path, folders: Sequence[Path]) -> None:
    """Put the tables of finished studies into one Markdown file; what it says of other studies stays.

    Parameters
    ----------
    path : Path
        Made if need be.
    folders : sequence of Path
        Outputs of `run_study`.

    Raises
    ------
    StudyError
        If a folder holds no study's output.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else f"{_HEADING}\n"
    for folder in folders:
        try:
            name = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["study"]
            body = (folder / MARKDOWN).read_text(encoding="utf-8")
        except (OSError, ValueError, KeyError) as error:
            raise StudyError(f"{folder} holds no output of a study: {error}") from error
        begin, end = _BEGIN.format(name=name), _END.format(name=name)
        block = f"{begin}\n{body.strip()}\n{end}"
        before, _, rest = text.partition(begin)
        after = rest.partition(end)[2].strip() if rest else ""
        text = "\n\n".join(part for part in (before.rstrip(), block, after) if part) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
