"""The demonstration empties only what it has made itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from napari_histoanno.widgets.demo import run, run_demo

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which somebody has opened the demonstration in a window and worked."""
    folder = tmp_path / "demo"

    def draw(folder: Path) -> None:
        (folder / run.PROJECT).mkdir(parents=True, exist_ok=True)
        (folder / run.PROJECT / "drawn").write_text("an hour of work")

    monkeypatch.setattr(run, "_open", draw)
    run_demo(output=folder, headless=False)
    return folder / run.PROJECT / "drawn"


def test_opening_it_again_keeps_what_was_drawn(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_open", lambda _: None)
    run_demo(output=work.parents[1], headless=False)
    assert work.read_text() == "an hour of work"


def test_running_it_by_itself_refuses_a_folder_with_work_in_it(work: Path) -> None:
    with pytest.raises(FileExistsError, match="--output"):
        run_demo(output=work.parents[1], headless=True)
    assert work.read_text() == "an hour of work"


def test_its_own_output_is_made_anew_until_somebody_opens_it(tmp_path: Path, work: Path) -> None:
    folder = tmp_path / "own"
    run._empty(folder)
    (folder / "old").touch()
    run._empty(folder)
    assert not (folder / "old").exists()
    run_demo(output=folder, headless=False)
    with pytest.raises(FileExistsError):
        run._empty(folder)
