"""Which of a slide's annotation records count, and which speak for others.

An object is often said several times: a click, the mask computed from it, an ellipse derived for a comparison.
Together they are one *family*, linked by ``parent``. Training on all of them would paint a loose box around a tight
mask, so within a family only the finest granularity that was asked for speaks; the coarser ones step back, and come
forward again where the finer one was rejected or not asked for.

What a model predicted and nobody looked at is not an annotation. Such records, and whatever was converted from them,
are left out unless asked for, and a conversion without a review of its own inherits that of the record it came from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_histoanno.annotation import Annotation, Granularity, Review, Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from uuid import UUID

# Coarse to fine. A click says the least about an object's extent and so gives way within its family.
_FINENESS = {
    Granularity.POINT: 1,
    Granularity.BOX: 2,
    Granularity.ELLIPSE: 3,
    Granularity.SPARSE: 4,
    Granularity.PIXEL: 5,
}
_OBJECTLESS = frozenset({Granularity.IMAGE, Granularity.EXHAUSTIVE})


def effective_review(record: Annotation, by_id: Mapping[UUID, Annotation]) -> Review:
    """Review of a record, inherited along conversions where it has none of its own."""
    return _origin(record, by_id).review


def is_prediction(record: Annotation, by_id: Mapping[UUID, Annotation]) -> bool:
    """Whether a record is what a model said, directly or converted, rather than a person."""
    seen = set()
    while record.source is Source.CONVERTED and record.id not in seen and (parent := _parent(record, by_id)):
        seen.add(record.id)
        record = parent
    return record.source is Source.PREDICTED


def admissible(records: Iterable[Annotation], *, include_predicted: bool) -> list[Annotation]:
    """Records that count: never rejected ones, predictions only once a person has reviewed them.

    Parameters
    ----------
    records : iterable of Annotation
        All records of a slide, so that parents are found.
    include_predicted : bool
        Count predictions that nobody has reviewed too.
    """
    every = list(records)
    by_id = {record.id: record for record in every}
    kept = []
    for record in every:
        review = effective_review(record, by_id)
        unseen = review is Review.UNREVIEWED and is_prediction(record, by_id)
        if review is not Review.REJECTED and (include_predicted or not unseen):
            kept.append(record)
    return kept


def speaking(
    records: Sequence[Annotation], granularities: frozenset[Granularity]
) -> tuple[list[Annotation], list[Annotation]]:
    """Split records into those that speak at these granularities and those that have nobody to speak for them.

    Parameters
    ----------
    records : sequence of Annotation
        Admissible records of one slide.
    granularities : frozenset of Granularity
        Those asked for.

    Returns
    -------
    chosen : list of Annotation
        The finest asked-for members of each family, in the order of creation; labels of whole images and exhaustive
        regions are about no object and belong to no family.
    silent : list of Annotation
        Members of families in which no granularity was asked for: something is known to be there, but not said here.
    """
    objects = [record for record in records if record.granularity not in _OBJECTLESS]
    chosen = [record for record in records if record.granularity in _OBJECTLESS & granularities]
    silent: list[Annotation] = []
    for family in _families(objects):
        asked = [record for record in family if record.granularity in granularities]
        if not asked:
            silent.extend(family)
            continue
        finest = max(_FINENESS[record.granularity] for record in asked)
        finest_members = [record for record in asked if _FINENESS[record.granularity] == finest]
        replaced = {record.parent for record in finest_members}
        chosen.extend(record for record in finest_members if record.id not in replaced)
    return sorted(chosen, key=_age), sorted(silent, key=_age)


def _origin(record: Annotation, by_id: Mapping[UUID, Annotation]) -> Annotation:
    seen = set()
    while (
        record.review is Review.UNREVIEWED
        and record.source is Source.CONVERTED
        and record.id not in seen
        and (parent := _parent(record, by_id))
    ):
        seen.add(record.id)
        record = parent
    return record


def _parent(record: Annotation, by_id: Mapping[UUID, Annotation]) -> Annotation | None:
    return by_id.get(record.parent) if record.parent is not None else None


def _families(records: Sequence[Annotation]) -> list[list[Annotation]]:
    present = {record.id for record in records}
    head: dict[UUID, UUID] = {record.id: record.id for record in records}

    def find(key: UUID) -> UUID:
        while head[key] != key:
            head[key] = head[head[key]]
            key = head[key]
        return key

    for record in records:
        if record.parent is not None and record.parent in present:
            head[find(record.id)] = find(record.parent)
    families: dict[UUID, list[Annotation]] = {}
    for record in records:
        families.setdefault(find(record.id), []).append(record)
    return list(families.values())


def _age(record: Annotation) -> tuple[float, UUID]:
    return record.created.timestamp(), record.id
