"""``histoanno``: everything that can be done without a window, from a terminal or a script.

Exit codes: 0 done; 1 could not be done (the message says what, why and what to do); 2 wrong usage; 3 cancelled, what
was done so far is kept; 4 a fault of the program. With ``--json`` one JSON object goes to stdout and progress stays
off.
"""

from __future__ import annotations

import sys
import traceback

from napari_histoanno.cli import demo, doctor, models, projects, studies
from napari_histoanno.cli.app import FAULT, app

__all__ = ["app", "demo", "doctor", "main", "models", "projects", "studies"]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit.

    Parameters
    ----------
    arguments : list of str, optional
        Those of the process by default. ``--json`` may stand anywhere.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if "--json" in given:
        given.remove("--json")
        given.insert(0, "--json")
    try:
        app(given, prog_name="histoanno")
    except Exception:  # noqa: BLE001 - the last boundary: what nobody foresaw gets an exit code of its own
        traceback.print_exc()
        sys.exit(FAULT)
