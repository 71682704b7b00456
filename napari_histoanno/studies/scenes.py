"""The slides that the studies are run on: synthetic ones, made hard enough that no method is perfect.

What was made harder, decided before any method was run on them and not touched since:

- **Surroundings matter.** Stroma within 100 µm of a tumour gland is a class of its own, *peritumoural stroma*; the rest
  is *distant stroma*. The generator paints both alike, so within a small window nothing but a gland in sight tells them
  apart. (Studies that are not about magnification use the classes of the generator, with one stroma.)
- **Borders are ambiguous.** Where two tissues meet, the image fades over some micrometres into a blurred version of
  itself, strongly in some places and not at all in others. The truth stays where it was.
- **Slides differ.** Both laboratories occur, each slide takes up 0.8 to 1.25 times as much of either dye, and the
  section's thickness drifts across it, so that the same tissue is up to a third paler or darker.
- **Focus wanders.** About a fifth of each slide is blurred.
- **Classes are unbalanced**, as the generator grows them: benign glands, lymphoid aggregates and fat together cover
  about an eighth of a slide.

A slide depends on its seed alone, is made once and is then read from a cache folder. Slides for training, validation
and test, and those of different seeds of a study, are never the same.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from napari_histoanno.samples import NUCLEUS_CLASSES, REGION_CLASSES, generator, make_slide

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    UInt8 = NDArray[np.uint8]
    Field = NDArray[np.float32]

__all__ = ["CONTEXT_CLASSES", "NUCLEUS_CLASSES", "REGION_CLASSES", "Scene", "SceneSpec", "Split", "load_scene", "split"]

CONTEXT_CLASSES = {
    1: "Tumour gland",
    2: "Benign gland",
    3: "Peritumoural stroma",
    4: "Distant stroma",
    5: "Lymphoid aggregate",
    6: "Fat",
    7: "Background",
}
NEAR_UM = 100.0
"""How far from a tumour gland stroma is peritumoural."""

GENERATOR_MPP = 0.5
DYE = (0.8, 1.25)
BORDER_BLUR, BORDER_REACH = 6.0, 8.0
THICKNESS, THICKNESS_SCALE = 0.14, 500
DEFOCUS_SIGMA, DEFOCUS_SCALE, DEFOCUS_FROM = 1.6, 420, 0.84

_VERSION = 1
_FIRST = 100_000
_PER_SEED = 100


@dataclass(frozen=True, slots=True)
class SceneSpec:
    """Which slide.

    Parameters
    ----------
    seed : int
        Everything random follows from it; slides of odd seeds come from the second laboratory.
    size : (int, int)
        Width and height in pixels of 0.5 µm; multiples of ``reduce``.
    reduce : int
        How many of those pixels make one of the scene's along each side.
    """

    seed: int
    size: tuple[int, int] = (1536, 1536)
    reduce: int = 1

    @property
    def mpp(self) -> float:
        return GENERATOR_MPP * self.reduce

    @property
    def name(self) -> str:
        return f"scene{_VERSION}-{self.seed}-{self.size[0]}x{self.size[1]}-{self.reduce}"


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A slide in memory with everything that is true of it.

    Parameters
    ----------
    name : str
        Of the slide.
    image : uint8, shape (H, W, 3)
        RGB.
    regions : uint8, shape (H, W)
        Ids of :data:`REGION_CLASSES`; every pixel has one.
    context_regions : uint8, shape (H, W)
        Ids of :data:`CONTEXT_CLASSES`; every pixel has one.
    instances : int32, shape (H, W)
        Numbers of the nuclei, 0 between them.
    nucleus_classes : uint8, shape (n + 1,)
        Id in :data:`NUCLEUS_CLASSES` by a nucleus' number; that of 0 is 0.
    mpp : float
        Size of a pixel, µm.
    """

    name: str
    image: UInt8
    regions: UInt8
    context_regions: UInt8
    instances: NDArray[np.int32]
    nucleus_classes: UInt8
    mpp: float

    @property
    def nucleus_labels(self) -> UInt8:
        """Class of the nucleus at each pixel, uint8 (H, W); 0 between nuclei."""
        labels: UInt8 = self.nucleus_classes[self.instances]
        return labels


@dataclass(frozen=True, slots=True)
class Split:
    """Slides for training, for validation and for the test."""

    train: tuple[SceneSpec, ...]
    validation: tuple[SceneSpec, ...]
    test: tuple[SceneSpec, ...]


def split(seed: int, train: int, validation: int, test: int, *, like: SceneSpec) -> Split:
    """Slides of one seed of a study; no slide is in two parts or under two seeds.

    Parameters
    ----------
    seed : int
        Of the study, at least 0.
    train, validation, test : int
        How many slides of each kind, 100 in all at most.
    like : SceneSpec
        Their size and resolution.

    Raises
    ------
    ValueError
        If there are more slides than a seed has, or the seed is negative.
    """
    if seed < 0 or train + validation + test > _PER_SEED:
        raise ValueError(f"a seed of at least 0 has {_PER_SEED} slides, not {train + validation + test}")
    specs = [replace(like, seed=_FIRST + _PER_SEED * seed + i) for i in range(train + validation + test)]
    return Split(tuple(specs[:train]), tuple(specs[train : train + validation]), tuple(specs[train + validation :]))


def load_scene(spec: SceneSpec, cache: Path) -> Scene:
    """The slide of a specification, from the cache folder or made and put there.

    Raises
    ------
    SampleError
        If the generator is missing.
    OSError
        If the cache cannot be written.
    """
    path = cache / f"{spec.name}.npz"
    if not path.is_file():
        scene = make_scene(spec)
        arrays = {name: getattr(scene, name) for name in _ARRAYS}
        cache.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".{spec.name}.{os.getpid()}.npz")
        np.savez_compressed(scratch, **arrays)
        scratch.replace(path)
        return scene
    with np.load(path) as stored:
        return Scene(name=spec.name, mpp=spec.mpp, **{name: stored[name] for name in _ARRAYS})


_ARRAYS = ("image", "regions", "context_regions", "instances", "nucleus_classes")


def make_scene(spec: SceneSpec) -> Scene:
    """Make a slide; the same specification always gives the same.

    Raises
    ------
    SampleError
        If the generator is missing.
    ValueError
        If the size is no multiple of the reduction.
    """
    if spec.size[0] % spec.reduce or spec.size[1] % spec.reduce:
        raise ValueError(f"{spec.size} is not a multiple of {spec.reduce}")
    rng = np.random.default_rng([spec.seed, _VERSION])
    styles = generator().STYLES
    style = styles[sorted(styles)[spec.seed % 2]]
    style = replace(
        style,
        haematoxylin_strength=style.haematoxylin_strength * rng.uniform(*DYE),
        eosin_strength=style.eosin_strength * rng.uniform(*DYE),
    )
    slide = make_slide(spec.seed, spec.size, style)
    classes = np.zeros(max(slide.nucleus_classes, default=0) + 1, np.uint8)
    classes[list(slide.nucleus_classes)] = list(slide.nucleus_classes.values())
    image = _defocused(_faded(_blended(slide.image, slide.regions, rng), rng), rng)
    step = spec.reduce
    middle = (slice(step // 2, None, step),) * 2
    if step > 1:
        smaller = (spec.size[0] // step, spec.size[1] // step)
        image = np.asarray(cv2.resize(image, smaller, interpolation=cv2.INTER_AREA), np.uint8)
    return Scene(
        name=spec.name,
        image=image,
        regions=np.ascontiguousarray(slide.regions[middle]),
        context_regions=np.ascontiguousarray(with_context(slide.regions, slide.mpp)[middle]),
        instances=np.ascontiguousarray(slide.instances[middle]),
        nucleus_classes=classes,
        mpp=spec.mpp,
    )


def with_context(regions: UInt8, mpp: float) -> UInt8:
    """Ids of :data:`CONTEXT_CLASSES` from those of the generator, uint8 (H, W); ``mpp`` is the size of a pixel, µm."""
    far = cv2.distanceTransform((regions != 1).astype(np.uint8), cv2.DIST_L2, 5) > NEAR_UM / mpp
    table = np.array([0, 1, 2, 3, 5, 6, 7], np.uint8)
    return np.asarray(table[regions] + ((regions == 3) & far), np.uint8)


def _blended(image: UInt8, regions: UInt8, rng: np.random.Generator) -> Field:
    """Tissues that fade into each other, in some places more than in others."""
    border = cv2.morphologyEx(regions, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) == 0
    distance = cv2.distanceTransform(border.astype(np.uint8), cv2.DIST_L2, 5)
    strength = np.clip(0.5 + 0.8 * _noise((regions.shape[0], regions.shape[1]), 160, rng), 0, 1)
    weight = (np.exp(-((distance / BORDER_REACH) ** 2)) * strength).astype(np.float32)[..., None]
    sharp = image.astype(np.float32)
    return np.asarray(sharp + weight * (cv2.GaussianBlur(sharp, (0, 0), BORDER_BLUR) - sharp), np.float32)


def _faded(image: Field, rng: np.random.Generator) -> Field:
    """Section of uneven thickness: optical density times a slow field around 1."""
    thickness = 1 + THICKNESS * np.clip(_noise((image.shape[0], image.shape[1]), THICKNESS_SCALE, rng), -2, 2)
    density = -np.log((image + 1) / 256)
    return np.asarray(256 * np.exp(-np.maximum(density, 0) * thickness[..., None]) - 1, np.float32)


def _defocused(image: Field, rng: np.random.Generator) -> UInt8:
    worse = np.clip((_noise((image.shape[0], image.shape[1]), DEFOCUS_SCALE, rng) - DEFOCUS_FROM) * 3, 0, 1)[..., None]
    soft = cv2.GaussianBlur(image, (0, 0), DEFOCUS_SIGMA)
    return np.asarray(np.clip(np.rint(image + worse * (soft - image)), 0, 255), np.uint8)


def _noise(shape: tuple[int, int], scale: float, rng: np.random.Generator) -> Field:
    """Smooth random field of mean 0 and standard deviation 1 whose bumps are about ``scale`` pixels apart."""
    rows, columns = (int(np.ceil(side / scale)) + 5 for side in shape)
    lattice = rng.standard_normal((rows, columns)).astype(np.float32)
    shift = rng.uniform(1, 2, 2)
    to_lattice = np.array([[1 / scale, 0, shift[0]], [0, 1 / scale, shift[1]]])
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    field = cv2.warpAffine(lattice, to_lattice, shape[::-1], flags=flags)
    return np.asarray(field / 0.72, np.float32)
