"""One page that tells what a run did: numbers, curves and pictures in a single HTML file that opens anywhere.

Pictures are embedded, so the file can be mailed or archived by itself; nothing is loaded from a network.
"""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
from jinja2 import Environment
from matplotlib.figure import Figure

from napari_histoanno import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from histotrain.events import Status

_TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ title }}</title><style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em; color: #222; }
h1 { font-size: 1.6em; } h2 { font-size: 1.2em; margin-top: 2em; border-bottom: 1px solid #ddd; }
table { border-collapse: collapse; margin: 1em 0; } td, th { padding: .25em .8em; border-bottom: 1px solid #eee; }
td.number { text-align: right; font-variant-numeric: tabular-nums; } th { text-align: left; }
figure { margin: 1em 0; } figure img { max-width: 100%; border: 1px solid #ddd; } figcaption { color: #555; }
footer { margin-top: 3em; color: #888; font-size: .85em; }
</style></head><body><h1>{{ title }}</h1>
{% for section in sections %}<h2>{{ section.title }}</h2>
{% for text in section.paragraphs %}<p>{{ text }}</p>{% endfor %}
{% for table in section.tables %}<table><tr>{% for head in table.head %}<th>{{ head }}</th>{% endfor %}</tr>
{% for row in table.rows %}<tr>{% for cell in row %}{% if cell is number %}<td class="number">{{ figure(cell) }}</td>
{% else %}<td>{{ cell }}</td>{% endif %}{% endfor %}</tr>{% endfor %}</table>{% endfor %}
{% for picture in section.pictures %}<figure>
<img alt="{{ picture.caption }}" src="data:image/png;base64,{{ picture.data }}">
<figcaption>{{ picture.caption }}</figcaption></figure>{% endfor %}{% endfor %}
<footer>napari-histoanno {{ version }}, {{ when }}</footer></body></html>
"""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows below a head; numbers are shown to three digits, NaN as a dash."""

    head: Sequence[str]
    rows: Sequence[Sequence[str | float]]


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG, base64, with what it shows."""

    caption: str
    data: str

    @classmethod
    def from_file(cls, path: Path, caption: str) -> Picture:
        return cls(caption, base64.b64encode(path.read_bytes()).decode())

    @classmethod
    def from_figure(cls, figure: Figure, caption: str) -> Picture:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110)
        return cls(caption, base64.b64encode(buffer.getvalue()).decode())


@dataclass(slots=True)
class Section:
    """A titled part of the page."""

    title: str
    paragraphs: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)


def write_report(path: Path, title: str, sections: Sequence[Section]) -> None:
    """Write one self-contained HTML page.

    Parameters
    ----------
    path : Path
        File to write.
    title : str
        Heading of the page.
    sections : sequence of Section
        In order.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    page = Environment(autoescape=True).from_string(_TEMPLATE)
    html = page.render(
        title=title,
        sections=sections,
        figure=_three_digits,
        version=__version__,
        when=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    )
    path.write_text(html, encoding="utf-8")


def _three_digits(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    return "-" if math.isnan(value) else f"{value:.3f}"


def class_table(metrics: Mapping[str, float], classes: Sequence[str]) -> Table:
    """Per-class figures from metrics named ``"iou/Stroma"``, and their means from ``"mean_iou"``."""
    kinds = list(dict.fromkeys(name.partition("/")[0] for name in metrics if "/" in name))
    rows: list[list[str | float]] = [
        [label, *(metrics.get(f"{kind}/{label}", math.nan) for kind in kinds)] for label in classes
    ]
    rows.append(["mean", *(metrics.get(f"mean_{kind}", math.nan) for kind in kinds)])
    return Table(["class", *kinds], rows)


def curves(status: Status) -> Figure:
    """Loss and validation quality over training steps."""
    figure = Figure(figsize=(8, 3), layout="constrained")
    loss = figure.subplots()
    loss.set_xlabel("step")
    if status.losses:
        loss.plot(*zip(*status.losses, strict=True), color="#4c9be8", linewidth=1)
    loss.set_ylabel("loss", color="#4c9be8")
    quality = loss.twinx()
    points = [(step, metrics.get("mean_iou", math.nan)) for step, _, metrics in status.validations]
    if points:
        quality.plot(*zip(*points, strict=True), "o-", color="#d98200", markersize=4)
    quality.set_ylim(0, 1)
    quality.set_ylabel("mean IoU on validation places", color="#d98200")
    return figure


def confusion_figure(matrix: NDArray[np.integer | np.floating], classes: Sequence[str]) -> Figure:
    """Row-normalised confusion matrix.

    Parameters
    ----------
    matrix : ndarray, shape (C, C)
        Pixels of true class (row) found as class (column).
    classes : sequence of str
        Names of the C classes.
    """
    side = 1.6 + 0.75 * len(classes)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    draw_confusion(figure.subplots(), matrix, classes)
    return figure


def draw_confusion(axes: Axes, matrix: NDArray[np.integer | np.floating], classes: Sequence[str]) -> None:
    """`confusion_figure` on axes that there are already."""
    total = matrix.sum(1, keepdims=True)
    share = np.divide(matrix, total, out=np.full(matrix.shape, np.nan), where=total > 0)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
    axes.set_yticks(range(len(classes)), classes)
    axes.set_xlabel("found")
    axes.set_ylabel("true")
    for (row, column), value in np.ndenumerate(share):
        if np.isfinite(value):
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color="white" if value > 0.5 else "black")
