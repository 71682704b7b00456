"""Which part of the data a model learns from, which it is judged by.

Patches of one slide look alike, and slides of one patient more than slides of two: a split below the patient measures
memory. So whole patients are split (a slide without a patient stands for one), what a person assigned by hand stays
where it is, and blocks within a slide are used only when asked for, with a gap that no patch crosses.

Few groups and rare classes are the normal case. Fractions are therefore turned into whole numbers of groups, per class,
with at least one for every split that can have one, and the groups are dealt out from the rarest class to the commonest
(iterative stratification, Sechidis et al. 2011, on presence).
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from napari_histoanno.datasets.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

SPLITS = ("train", "validation", "test")


class SplitBy(StrEnum):
    """What is kept together in one split."""

    SLIDE = "slide"
    PATIENT = "patient"
    BLOCK = "block"
    NONE = "none"


class SplitSpec(BaseModel):
    """How to split: what stays together and which share goes where.

    ``SLIDE`` keeps slides together, and slides of one patient where patients are known; ``PATIENT`` does the same and
    refuses slides without a patient; ``BLOCK`` splits slides into square blocks of ``block`` patches, with patches near
    another split's block left out; ``NONE`` makes one split called "all".
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    by: SplitBy = SplitBy.SLIDE
    train: float = Field(default=0.7, ge=0, le=1)
    validation: float = Field(default=0.15, ge=0, le=1)
    test: float = Field(default=0.15, ge=0, le=1)
    block: int = Field(default=8, ge=2, description="side of a block, in patches")

    @model_validator(mode="after")
    def _shares_add_up(self) -> SplitSpec:
        total = self.train + self.validation + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the shares of train, validation and test must add up to 1, not {total:g}")
        return self

    @property
    def fractions(self) -> dict[str, float]:
        """Share of each split that is wanted, without those of share 0."""
        shares = dict(zip(SPLITS, (self.train, self.validation, self.test), strict=True))
        return {name: share for name, share in shares.items() if share > 0}


class SplitSlide(Protocol):
    """What of a slide's record a split depends on."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def patient(self) -> str: ...
    @property
    def split(self) -> str: ...


def split_slides(
    slides: Sequence[SplitSlide],
    spec: SplitSpec,
    counts: Mapping[str, NDArray[np.int64]] | None = None,
    *,
    seed: int = 0,
) -> dict[str, str]:
    """Split of every slide.

    Parameters
    ----------
    slides : sequence of slide records
        Those with a ``split`` of their own keep it.
    spec : SplitSpec
        What stays together, and the shares.
    counts : mapping from slide id to int64 array, shape (C,), optional
        Labelled pixels of each class, so that rare classes are shared between the splits where they can be.
    seed : int
        Decides between groups that are equally good.

    Returns
    -------
    dict from slide id to "train", "validation" or "test"; "all" throughout if ``spec.by`` is ``NONE``.

    Raises
    ------
    DatasetError
        If a patient was put into two splits by hand, or if patients are asked for and a slide has none.

    Examples
    --------
    >>> split_slides([], SplitSpec())
    {}
    """
    if spec.by is SplitBy.NONE:
        return {slide.id: "all" for slide in slides}
    if spec.by is SplitBy.PATIENT and (nameless := [s.name for s in slides if not s.patient]):
        raise DatasetError(
            f"Cannot split by patient: {_listed(nameless)} has no patient. Enter the patients in the slide list, or "
            "split by slide."
        )
    fixed = check_patients(slides)
    members: dict[str, list[SplitSlide]] = {}
    for slide in slides:
        members.setdefault(group_of(slide), []).append(slide)
    classes = len(next(iter(counts.values()))) if counts else 0
    nothing = np.zeros(classes, np.int64)
    present = {
        group: np.sum([(counts or {}).get(slide.id, nothing) for slide in its_slides], axis=0)
        for group, its_slides in members.items()
    }
    assigned = deal(present, spec.fractions, seed=seed, fixed=fixed)
    return {slide.id: assigned[group] for group, its_slides in members.items() for slide in its_slides}


def group_of(slide: SplitSlide) -> str:
    """What a slide is split together with: its patient, or itself where that is unknown."""
    return f"patient:{slide.patient}" if slide.patient else f"slide:{slide.id}"


def check_patients(slides: Iterable[SplitSlide]) -> dict[str, str]:
    """Split that was chosen by hand for each group; raises DatasetError if a patient is in two."""
    chosen: dict[str, str] = {}
    for slide in slides:
        if not slide.split:
            continue
        earlier = chosen.setdefault(group_of(slide), slide.split)
        if earlier != slide.split:
            raise DatasetError(
                f"Patient {slide.patient!r} would be in both {earlier} and {slide.split}: a model would be judged on a "
                "patient it has learnt from. Give all slides of the patient the same split."
            )
    return chosen


def deal(
    groups: Mapping[str, NDArray[np.int64]],
    fractions: Mapping[str, float],
    *,
    seed: int,
    fixed: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Assign groups to splits so that every class is shared as the fractions say, rarest class first.

    Parameters
    ----------
    groups : mapping from name to int64 array, shape (C,)
        Labelled pixels of each class in the group.
    fractions : mapping from split to share
        In order of importance; shares add up to 1.
    seed : int
        Decides between groups that are equally good.
    fixed : mapping from group to split, optional
        Decided beforehand; counts towards the shares.

    Returns
    -------
    dict from group to split.
    """
    assigned = dict(fixed or {})
    if not groups:
        return assigned
    names = sorted(groups)
    order = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    has = np.stack([np.asarray(groups[name]) > 0 for name in order])
    wanted = {split: np.zeros(has.shape[1] + 1) for split in fractions}
    for column, number in enumerate([*has.sum(0), len(order)]):
        for split, whole in apportion(int(number), fractions).items():
            wanted[split][column] = whole
    row = {name: np.append(has[i], True) for i, name in enumerate(order)}
    for name, split in assigned.items():
        if split in wanted and name in row:
            wanted[split] -= row[name]
    waiting = [name for name in order if name not in assigned]
    while waiting:
        remaining = np.sum([row[name][:-1] for name in waiting], axis=0)
        candidates = np.flatnonzero(remaining)
        column = int(candidates[np.argmin(remaining[candidates])]) if len(candidates) else -1
        name = next(name for name in waiting if row[name][column])
        split = max(fractions, key=lambda s, c=column: (wanted[s][c], wanted[s][-1]))  # type: ignore[misc]
        assigned[name] = split
        wanted[split] -= row[name]
        waiting.remove(name)
    return assigned


def apportion(number: int, fractions: Mapping[str, float]) -> dict[str, int]:
    """Whole numbers that add up to ``number`` in these fractions, none zero while there is enough to go round.

    Examples
    --------
    >>> apportion(3, {"train": 0.8, "validation": 0.1, "test": 0.1})
    {'train': 1, 'validation': 1, 'test': 1}
    >>> apportion(1, {"train": 0.8, "validation": 0.2})
    {'train': 1, 'validation': 0}
    """
    exact = {split: number * share for split, share in fractions.items()}
    whole = {split: int(value) for split, value in exact.items()}
    by_remainder = sorted(exact, key=lambda split: whole[split] - exact[split])
    for split in by_remainder[: number - sum(whole.values())]:
        whole[split] += 1
    for split in whole:
        largest = max(whole, key=lambda s: whole[s])
        if whole[split] == 0 and whole[largest] > 1:
            whole[largest] -= 1
            whole[split] = 1
    return whole


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
