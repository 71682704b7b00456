"""What the README shows is true: its Python runs, its commands exist, its pictures are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from napari_histoanno.annotation.tools import TOOLS
from napari_histoanno.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = sorted(set(re.findall(r"^histoanno (\w+)", README, re.MULTILINE)))


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_python_runs(block: str) -> None:
    space: dict[str, object] = {}
    exec(compile(block, "README.md", "exec"), space)
    assert len(space) > 1


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_exist(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0, result.output


def test_pictures_are_there() -> None:
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README)
    assert pictures
    missing = [picture for picture in pictures if not (ROOT / picture).is_file()]
    assert not missing


def test_keys_are_those_of_the_tools() -> None:
    shown = set(re.findall(r"\| ([A-Z]) \|", README))
    assert shown == {info.shortcut for info in TOOLS.values()}
