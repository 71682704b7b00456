"""The command line's frame: options of all commands, output for people or machines, errors as exit codes."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec

import typer
from rich.console import Console
from rich.table import Table

from napari_histoanno import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

DONE, REFUSED, USAGE, CANCELLED, FAULT = range(5)

_Given = ParamSpec("_Given")

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Annotate whole-slide images, train a model, correct what it finds, export datasets.",
    epilog="Exit codes: 0 done, 1 could not be done, 2 wrong usage, 3 cancelled, 4 a fault of the program.",
)


@dataclass
class Output:
    """Where results and progress go: one JSON object to stdout, or text for people."""

    as_json: bool = False
    progress: Console = field(default_factory=lambda: Console(stderr=True))

    def say(self, text: str) -> None:
        """Tell a person something on the way; silent with ``--json``."""
        if not self.as_json:
            self.progress.print(text, markup=False, highlight=False)

    def result(self, values: dict[str, Any], *shown: str | Table) -> None:
        """Give the command's result: ``values`` to machines, ``shown`` to people."""
        if self.as_json:
            sys.stdout.write(json.dumps(values, default=str, allow_nan=False) + "\n")
            sys.stdout.flush()
            return
        console = Console()
        for item in shown:
            if isinstance(item, Table):
                console.print(item)
            else:
                console.print(item, markup=False, highlight=False, soft_wrap=True)

    def refuse(self, message: str) -> None:
        """Say why the command could not be done."""
        if self.as_json:
            sys.stdout.write(json.dumps({"error": message}) + "\n")
        else:
            self.progress.print(f"Error: {message}", style="red", markup=False, highlight=False, soft_wrap=True)


output = Output()


def command(name: str) -> Callable[[Callable[_Given, None]], Callable[_Given, None]]:
    """Register a command whose refusals become exit code 1 and whose interruption becomes 3."""

    def register(function: Callable[_Given, None]) -> Callable[_Given, None]:
        @app.command(name)
        @wraps(function)
        def run(*args: _Given.args, **kwargs: _Given.kwargs) -> None:
            from pydantic import ValidationError

            from napari_histoanno.session import USER_ERRORS

            try:
                function(*args, **kwargs)
            except ValidationError as error:
                output.refuse("; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()))
                raise typer.Exit(USAGE) from None
            except USER_ERRORS as error:
                output.refuse(str(error))
                raise typer.Exit(REFUSED) from None
            except KeyboardInterrupt:
                output.refuse("interrupted")
                raise typer.Exit(CANCELLED) from None

        return run

    return register


def _show_version(wanted: bool) -> None:  # typer calls it with the option's value
    if wanted:
        sys.stdout.write(f"histoanno {__version__}\n")
        raise typer.Exit


@app.callback()
def options(
    as_json: Annotated[
        bool, typer.Option("--json", help="Write one JSON object to stdout, for machines; may stand anywhere.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options of all commands."""
    output.as_json = as_json
    output.progress = Console(stderr=True)
