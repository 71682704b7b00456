"""Pre-training of a segmenter, on small made-up images."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from safetensors.torch import load_file

from histotrain import TrainingError
from histotrain.models import build_model
from histotrain.pretraining import segmenter
from histotrain.pretraining.scenes import (
    BORDER,
    FARTHEST_NUCLEI,
    INSIDE,
    OUTSIDE,
    UNKNOWN,
    Scene,
    draw_scene_crop,
    load_scenes,
)
from histotrain.pretraining.segmenter import (
    HEADS,
    MODEL,
    SegmenterTraining,
    main,
    scene_loss,
    train_segmenter,
    write_weights,
)

SMALL = SegmenterTraining(minutes=1.0, steps=2, batch=2, side=32)


def scene(name: str = "a", *, regions: bool = True) -> Scene:
    """Dark squares, the left half of one kind and region, the right half of another."""
    objects = np.zeros((96, 96), np.int32)
    for n in range(16):
        row, column = 8 + 22 * (n // 4), 8 + 22 * (n % 4)
        objects[row : row + 12, column : column + 12] = n + 1
    image = np.where(objects[..., None] > 0, (90, 60, 140), (230, 190, 220)).astype(np.uint8)
    halves = np.repeat(np.where(np.arange(96) < 48, 1, 3).astype(np.uint8)[None], 96, axis=0)
    kinds = np.where(objects > 0, halves, 0).astype(np.uint8)
    return Scene(name, image, objects, halves if regions else None, kinds if regions else None)


def write_scene(folder: Path, made: Scene) -> None:
    for part in ("images", "labels", "regions", "kinds"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    Image.fromarray(made.image).save(folder / "images" / f"{made.name}.png")
    tifffile.imwrite(folder / "labels" / f"{made.name}.tif", made.objects)
    if made.regions is not None and made.kinds is not None:
        Image.fromarray(made.regions).save(folder / "regions" / f"{made.name}.png")
        Image.fromarray(made.kinds).save(folder / "kinds" / f"{made.name}.png")


def test_scenes_are_read_with_what_is_known_of_them(tmp_path: Path) -> None:
    write_scene(tmp_path, scene("a"))
    write_scene(tmp_path, scene("b", regions=False))
    first, second = load_scenes(tmp_path)
    assert (first.name, second.name) == ("a", "b")
    assert second.regions is None
    assert second.kinds is None
    assert first.regions is not None
    np.testing.assert_array_equal(first.regions, scene().regions)
    np.testing.assert_array_equal(first.objects, scene().objects)


def test_targets_of_a_crop_lie_on_what_it_shows() -> None:
    """Dark pixels are nuclei, whatever the crop's angle, scale and colours; borders surround insides."""
    rng = np.random.default_rng(0)
    checked = 0
    for _ in range(40):
        crop = draw_scene_crop(scene(regions=False), 48, rng)
        assert set(np.unique(crop.nuclei)) <= {OUTSIDE, INSIDE, BORDER, UNKNOWN}
        assert (crop.regions == UNKNOWN).all()
        assert (crop.kinds == UNKNOWN).all()
        grey = crop.image.mean(2)
        inside, outside = grey[crop.nuclei == INSIDE], grey[crop.nuclei == OUTSIDE]
        if len(inside) > 50 and len(outside) > 50:
            assert np.median(inside) < np.median(outside)
            checked += 1
    assert checked > 20


def test_nuclei_are_not_asked_for_from_afar() -> None:
    rng = np.random.default_rng(1)
    crops = [draw_scene_crop(scene(), 24, rng) for _ in range(60)]
    far = [crop for crop in crops if (crop.nuclei == UNKNOWN).all()]
    assert 0 < len(far) < len(crops)
    assert FARTHEST_NUCLEI < 4.5
    assert all((crop.kinds == UNKNOWN).all() and (crop.regions != UNKNOWN).any() for crop in far)


def test_kinds_are_known_where_nuclei_are_and_regions_everywhere_in_the_image() -> None:
    rng = np.random.default_rng(2)
    for _ in range(20):
        crop = draw_scene_crop(scene(), 32, rng)
        assert set(np.unique(crop.regions)) <= {0, 2, UNKNOWN}
        if (crop.nuclei != UNKNOWN).any():
            np.testing.assert_array_equal(crop.kinds != UNKNOWN, (crop.nuclei == INSIDE) | (crop.nuclei == BORDER))


def test_what_is_unknown_has_no_part_in_the_loss() -> None:
    channels = sum(HEADS.values())
    logits = torch.randn(1, channels, 4, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    targets = {name: torch.full((1, 4, 4), UNKNOWN, dtype=torch.uint8) for name in HEADS}
    assert scene_loss(logits, targets).item() == 0
    targets["regions"][0, 1, 2] = 3
    scene_loss(logits, targets).backward()
    assert logits.grad is not None
    moved = logits.grad[0].abs().sum((1, 2)) > 0
    first = HEADS["nuclei"]
    assert moved.nonzero().flatten().tolist() == list(range(first, first + HEADS["regions"]))
    assert (logits.grad[0].abs().sum(0) > 0).sum() == 1


def test_training_repeats_and_moves() -> None:
    real, synthetic = [scene(regions=False)], [scene()]
    one, steps = train_segmenter(real, synthetic, SMALL)
    two, _ = train_segmenter(real, synthetic, SMALL)
    assert steps == 2
    assert not one.training
    for (name, a), b in zip(one.state_dict().items(), two.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    torch.manual_seed(SMALL.seed)
    fresh = build_model(MODEL, sum(HEADS.values()))
    assert not torch.equal(
        fresh.get_submodule("net.encoder.conv1").weight, one.get_submodule("net.encoder.conv1").weight
    )


def test_what_is_written_is_all_but_the_last_layer(tmp_path: Path) -> None:
    net = build_model(MODEL, 3)
    file = tmp_path / "new" / "w.safetensors"
    write_weights(net, file, {"seed": 7})
    state = load_file(file)
    assert {key.split(".")[0] for key in state} == {"encoder", "decoder"}
    assert {value.dtype for value in state.values() if value.is_floating_point()} == {torch.float16}
    card = json.loads(file.with_suffix(".json").read_text())
    assert card["network"] == MODEL
    assert card["seed"] == 7
    assert len(card["sha256"]) == 64


def test_command_leaves_every_fourth_real_image_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abcdefgh":
        write_scene(tmp_path / "real", scene(name, regions=False))
    write_scene(tmp_path / "synthetic", scene("z"))
    seen: list[str] = []

    def train(real: list[Scene], synthetic: list[Scene], settings: SegmenterTraining) -> tuple[torch.nn.Module, int]:
        seen.extend(each.name for each in real)
        assert [each.name for each in synthetic] == ["z"]
        return build_model(MODEL, 2), settings.steps or 0

    monkeypatch.setattr(segmenter, "train_segmenter", train)
    folders = ["--nuclei", str(tmp_path / "real"), "--synthetic", str(tmp_path / "synthetic")]
    main([*folders, "--steps", "2", "--out", str(tmp_path / "w.safetensors")])
    assert seen == [*"abc", *"efg"]
    card = json.loads((tmp_path / "w.json").read_text())
    assert (card["real_images"], card["synthetic_slides"], card["steps"]) == (6, 1, 2)


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="nothing to train on"):
        load_scenes(tmp_path)
