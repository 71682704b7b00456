"""What a dataset is asked to be: settings that come from a form, a command line or a file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_serializer, field_validator, model_validator

from histotrain.recipes.settings import SamplingSettings
from napari_histoanno.annotation import Granularity, LabelScheme
from napari_histoanno.datasets.errors import DatasetError
from napari_histoanno.datasets.holdout import HeldOut
from napari_histoanno.datasets.options import PAINTED, RenderOptions
from napari_histoanno.datasets.splits import SplitBy, SplitSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from napari_histoanno.project import SlideRecord


Teaching = Literal["pixels", "patches", "objects"]


class LabelSpec(BaseModel):
    """Square patches at a resolution, and what their labels show.

    ``classes`` names the classes that are kept (all without it) after ``merge`` has renamed some into others; what is
    left out is unlabelled, never background. ``slides`` are ids or names, all without it. ``sampling`` says which
    patches are taken and what class they have as a whole; its ``window`` is not looked at here, as ``mpp`` is that of
    the patch. ``teaches`` names what is learnt from patches: the classes of pixels, those of whole patches, single
    objects. ``stain`` is a look as ``StainLook.to_dict`` gives it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mpp: float = Field(default=0.5, gt=0, description="µm per pixel")
    patch_size: int = Field(default=256, ge=8, le=8192)
    classes: tuple[str, ...] | None = None
    merge: dict[str, str] = Field(default_factory=dict)
    granularities: frozenset[Granularity] = PAINTED
    annotators: frozenset[str] | None = None
    include_predicted: bool = Field(default=False, description="count predictions that nobody has reviewed")
    point_radius: float = Field(default=2.0, gt=0, description="µm, of the disc that a click paints")
    slides: tuple[str, ...] | None = None
    seed: int = Field(default=0, ge=0)
    sampling: SamplingSettings = Field(default_factory=SamplingSettings)
    teaches: frozenset[Teaching] = Field(default=frozenset({"pixels"}), description="what is learnt from a patch")
    magnifications: tuple[float, ...] = Field(
        default=(1.0,), min_length=1, description="sizes of a pixel of what is read around each centre; 1 comes first"
    )
    origins: bool = Field(default=False, description="say which kind of annotation each label comes from")
    stain: dict[str, Any] | None = Field(default=None, description="look to bring all slides into")

    @field_serializer("granularities", "annotators", "teaches", when_used="json")
    def _in_order(self, value: frozenset[str] | None) -> list[str] | None:
        return None if value is None else sorted(value)

    @property
    def wants_instances(self) -> bool:
        """Whether objects are told apart, and it is said where all of them are annotated."""
        return "objects" in self.teaches

    @property
    def wants_patch_classes(self) -> bool:
        """Whether patches have a class as a whole."""
        return "patches" in self.teaches

    @property
    def wants_shares(self) -> bool:
        """Whether it is said how many annotators name each class."""
        return self.sampling.disagreement == "shares"

    def render_options(self, scheme: LabelScheme) -> RenderOptions:
        """What label maps show, with class names resolved; raises DatasetError for a name that is not in the scheme."""
        kept = {class_id(scheme, name) for name in self.classes} if self.classes is not None else None
        merged = {class_id(scheme, name): class_id(scheme, target) for name, target in self.merge.items()}
        shown = {label.id: merged.get(label.id, label.id) for label in scheme}
        return RenderOptions(
            granularities=self.granularities,
            annotators=self.annotators,
            class_map={before: after for before, after in shown.items() if kept is None or after in kept},
            include_predicted=self.include_predicted,
            point_radius=self.point_radius,
        )

    def shown_classes(self, scheme: LabelScheme) -> LabelScheme:
        """The classes that label maps can hold, in the scheme's order; parents that are not shown are dropped."""
        shown = set((self.render_options(scheme).class_map or {}).values())
        return restricted(scheme, shown)


class PatchSpec(LabelSpec):
    """Which patches are cut from the annotated places, and how they are split.

    A ``min_annotated`` of 0 takes every patch with at least one labelled pixel. ``unlabelled`` names a class that
    unlabelled pixels become; without it they stay unlabelled.
    """

    stride: int | Literal["full", "half"] = "full"
    min_annotated: float = Field(default=0.01, ge=0, le=1, description="share of labelled pixels that a patch needs")
    unlabelled: str | None = None
    split: SplitSpec = SplitSpec(by=SplitBy.NONE)

    @field_validator("split", mode="before")
    @classmethod
    def _split_by_name(cls, value: Any) -> Any:
        return {"by": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _stride_is_positive(self) -> PatchSpec:
        if self.step < 1:
            raise ValueError("the stride must be at least one pixel")
        return self

    @property
    def step(self) -> int:
        """Stride in pixels."""
        if isinstance(self.stride, int):
            return self.stride
        return self.patch_size if self.stride == "full" else self.patch_size // 2

    def shown_classes(self, scheme: LabelScheme) -> LabelScheme:
        """As in :class:`LabelSpec`, with the class that unlabelled pixels become."""
        shown = {label.id for label in super().shown_classes(scheme)}
        return restricted(scheme, shown if self.unlabelled is None else shown | {class_id(scheme, self.unlabelled)})


class SamplingSpec(LabelSpec):
    """How training patches are drawn, and what is held out for validation.

    ``hold_out`` "auto" takes the slides marked as validation, else holds out whole patients, else (with few slides)
    blocks within slides with a gap of one patch; "none" trains on everything. ``held`` is what an earlier training held
    out, to be left out again when its model goes on learning, and ``learnt`` the slides it has learnt from, by which it
    is not judged should they be marked as validation since; see :meth:`after`.
    """

    jitter: float = Field(
        default=0.8, ge=0, lt=1, description="how far a patch may shift off the place it was drawn for"
    )
    held: HeldOut | None = None
    learnt: tuple[str, ...] = ()
    hold_out: Literal["auto", "slides", "blocks", "none"] = "auto"
    validation_share: float = Field(default=0.2, gt=0, lt=1)
    max_validation: int = Field(default=64, ge=1, description="patches")
    elastic_grid: int = Field(default=17, ge=4, description="nodes along each side, of the elastic copies")
    elastic_sigma: float = Field(default=4.0, ge=0, description="pixels, deviation of these nodes")
    cache_bytes: int = Field(default=256 << 20, ge=0)

    def after(self, lineage: Mapping[str, Any], slides: Iterable[SlideRecord]) -> SamplingSpec:
        """The same for a model that has learnt before: its lineage says what from, and what it never saw.

        Slides are recognised by their fingerprints, so that it may have learnt in another project; where it has seen
        none of these slides, nothing is different.
        """
        ids = {record.fingerprint: record.id for record in slides}
        said = lineage.get("slides", {}).items()
        now = {before: ids[slide["fingerprint"]] for before, slide in said if slide.get("fingerprint") in ids}
        if self.held is not None or "held" not in lineage or not now:
            return self
        held = HeldOut.model_validate(lineage["held"]).renamed(now)
        learnt = tuple(now.get(slide, slide) for slide in lineage.get("learnt", ()))
        return self.model_copy(update={"held": held, "learnt": learnt})


def restricted(scheme: LabelScheme, ids: set[int]) -> LabelScheme:
    """Some classes of a scheme in its order; parents that are not among them are dropped."""
    return LabelScheme(tuple(replace(c, parent=c.parent if c.parent in ids else None) for c in scheme if c.id in ids))


def class_id(scheme: LabelScheme, name: str) -> int:
    """Id of a class by name; raises DatasetError with the names there are."""
    label = scheme.find(name)
    if label is None:
        known = ", ".join(c.name for c in scheme) or "none"
        raise DatasetError(f"There is no class {name!r} in this project's label scheme; it has {known}.")
    return label.id
