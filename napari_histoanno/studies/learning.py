"""One training of a study: recipe and patches in, a model out."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from histotrain.errors import TrainingError
from histotrain.events import Finished

if TYPE_CHECKING:
    from histotrain import LoadedModel, PatchSet, PatchSource, Recipe


def learn(
    recipe: Recipe,
    patches: PatchSet | PatchSource,
    *,
    validation: PatchSet | None = None,
    device: str = "auto",
    init: Path | None = None,
    folder: Path | None = None,
) -> LoadedModel:
    """Train to the end and give the model: that of the best validation, without validation patches the last one.

    Parameters
    ----------
    recipe : Recipe
        How; its seed is the cell's.
    patches : PatchSet or PatchSource
        From what.
    validation : PatchSet, optional
        What the best weights are chosen on.
    device : str
        As for `histotrain.train`.
    init : Path, optional
        Folder of a model to go on from.
    folder : Path, optional
        Where the model is kept; nowhere without it.

    Raises
    ------
    TrainingError
        If it cannot start, or fails.
    """
    from histotrain import load_model, train

    with tempfile.TemporaryDirectory(prefix="histoanno-study-") as scratch:
        output = folder or Path(scratch)
        finished = None
        for event in train(recipe, patches, validation=validation, output=output, device=device, init=init):
            if isinstance(event, Finished):
                finished = event
        if finished is None or finished.reason != "completed":
            raise TrainingError(f"the training of {recipe.name} failed", finished.message if finished else "")
        return load_model(output, device)
