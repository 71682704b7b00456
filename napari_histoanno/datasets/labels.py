"""The label map of any place of a slide, at any resolution: what training sees and exports write.

Statements are painted from coarse to fine, so that the more careful one has the last word:

1. exhaustive regions, as the background class ("everything here is annotated, the rest is background");
2. unlabelled again wherever something is known to lie that this map is not asked to show: a dot without its extent, a
   box when only masks are wanted. Without this step those objects would be taught as background;
3. boxes, ellipses, clicks (as small discs: they say more about their place than a box around it), scribbles;
4. areas and painted masks; a painted mask corrects its annotator's areas.

Within a step, what a model said comes before what people said; it counts once a person accepted it, or if asked for.
Annotators are painted apart and compared: where they name different classes, the pixel is unlabelled. Nothing is
decided for them.

Every mask is sampled at pixel centres of the asked-for grid, which is the grid of ``slide.read_mpp``; painted masks are
sampled from level 0, because their pyramid keeps thin strokes alive for the screen by widening them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

import numpy as np
import shapely

from histotrain.data import Origin
from napari_histoanno.annotation import UNLABELLED, Annotation, Ellipse, Granularity, Point, WholeSlide
from napari_histoanno.datasets.errors import DatasetError
from napari_histoanno.datasets.frame import Frame
from napari_histoanno.datasets.options import PAINTED, RenderArguments, RenderOptions, options_from
from napari_histoanno.datasets.painted import PaintedMask
from napari_histoanno.datasets.painting import Canvas
from napari_histoanno.datasets.records import admissible, is_prediction, speaking

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from napari_histoanno.annotation import Bounds, Geometry
    from napari_histoanno.project import Project

DEFAULT_MPP = 0.5

_ORDER = (Granularity.BOX, Granularity.ELLIPSE, Granularity.POINT, Granularity.SPARSE, Granularity.PIXEL)
_ORIGINS = {
    Granularity.BOX: Origin.BOX,
    Granularity.ELLIPSE: Origin.ELLIPSE,
    Granularity.POINT: Origin.POINT,
    Granularity.SPARSE: Origin.SPARSE,
    Granularity.PIXEL: Origin.PIXEL,
}
_REST = 255


def render_labels(
    project: Project,
    slide_id: str,
    location: tuple[float, float],
    size: tuple[int, int],
    *,
    downsample: float | None = None,
    mpp: float | None = None,
    **options: Unpack[RenderArguments],
) -> NDArray[np.uint8]:
    """Label map of one region of a slide; for many regions keep a :class:`SlideLabels`.

    Parameters
    ----------
    project : Project
        Where the annotations are.
    slide_id : str
        The slide's id or name.
    location : (x, y)
        Level-0 position of the region's top-left corner.
    size : (width, height)
        Of the map, in its own pixels.
    downsample, mpp : float, optional
        Resolution of the map, either in level-0 pixels per pixel or in µm per pixel; level 0 without both.
    **options
        The fields of :class:`RenderOptions`.

    Returns
    -------
    uint8 array, shape (height, width)
        Class ids; 0 is unlabelled.

    Raises
    ------
    DatasetError
        If the region is empty, or the resolution not positive or given twice.
    """
    if downsample is not None and mpp is not None:
        raise DatasetError("A label map takes a downsample or an mpp, not both.")
    labels = SlideLabels(project, slide_id, options_from(**options))
    scale = mpp / labels.mpp if mpp is not None else 1.0 if downsample is None else downsample
    return labels.render(location, scale, size)


class SlideLabels:
    """The annotations of one slide, indexed for rendering any part of it.

    A snapshot of the records at the time of construction; painted masks are read when rendering. Thread-safe.

    Parameters
    ----------
    project : Project
    slide_id : str
    options : RenderOptions, optional
    """

    def __init__(self, project: Project, slide_id: str, options: RenderOptions | None = None) -> None:
        self.options = options or RenderOptions()
        self.record = project.find_slide(slide_id)
        self.scheme = project.scheme
        self._table = self.options.lookup(self.scheme)
        everybody = self.options.annotators is None
        self.mpp = slide_mpp(self.record.mpp)
        stored = project.annotations.query(self.record.id)
        by_id = {record.id: record for record in stored}
        counted = admissible(stored, include_predicted=self.options.include_predicted)
        theirs = [r for r in counted if everybody or r.annotator in (self.options.annotators or ())]
        said = [record for record in theirs if record.class_id or record.granularity is Granularity.EXHAUSTIVE]
        self.records, self._silent = speaking(said, self.options.granularities & PAINTED)
        # Something without a class is no class and, in an exhaustive region, no background either.
        unnamed = (record for record in theirs if not record.class_id)
        self._silent += [record for record in unnamed if record.granularity in _ORDER]
        # A prediction that nobody has looked at may be right: until then there is no telling what lies there.
        heard = {record.id for record in counted}
        unseen = (record for record in admissible(stored, include_predicted=True) if record.id not in heard)
        self._silent += [record for record in unseen if record.granularity in _ORDER]
        self.counted = [record for record in theirs if record.granularity in self.options.granularities]
        self.image_labels = [record for record in said if record.granularity is Granularity.IMAGE]
        self._masks: dict[str, PaintedMask] = {}
        self._guesses: dict[str, PaintedMask] = {}
        self._unreviewed: list[PaintedMask] = []
        self._read_masks(project)
        self._predicted = {record.id for record in self.records if is_prediction(record, by_id)}
        self._tree = self._index(self.records)
        self._silent_tree = self._index(self._silent)

    def _read_masks(self, project: Project) -> None:
        for name in sorted(project.raster_annotators(self.record.id)):
            if self.options.annotators is None or name in self.options.annotators:
                raster = project.raster(self.record.id, name)
                if mask := PaintedMask(raster.confirmed):
                    self._masks[name] = mask
                if guess := PaintedMask(raster.unconfirmed):
                    if self.options.include_predicted:
                        self._guesses[name] = guess
                    else:
                        self._unreviewed.append(guess)

    @property
    def masks(self) -> Mapping[str, PaintedMask]:
        """What people painted, by annotator; nothing where ``PIXEL`` is not among the granularities."""
        return self._masks if Granularity.PIXEL in self.options.granularities else {}

    @property
    def guesses(self) -> Mapping[str, PaintedMask]:
        """Predicted pixels that nobody has reviewed, by annotator, where they count."""
        return self._guesses if Granularity.PIXEL in self.options.granularities else {}

    @property
    def highest_class(self) -> int:
        """Highest class id that can be shown, 0 if none can."""
        return int(self._table.max())

    @property
    def extent(self) -> tuple[int, int]:
        """Width and height of the slide in level-0 pixels."""
        return (self.record.width, self.record.height)

    def render(
        self, location: tuple[float, float], downsample: float, size: tuple[int, int], *, unlabelled: int = UNLABELLED
    ) -> NDArray[np.uint8]:
        """Class ids of a region.

        Parameters
        ----------
        location : (x, y)
            Level-0 position of the top-left corner.
        downsample : float
            Level-0 pixels per pixel of the map.
        size : (width, height)
            Of the map, in its own pixels.
        unlabelled : int, default 0
            What unlabelled pixels of the slide become; beyond its edges they stay 0.

        Returns
        -------
        uint8 array, shape (height, width)
            0 is unlabelled.
        """
        frame = Frame(location, downsample, size)
        return self._clip(self._painted(frame).labels, frame, unlabelled)

    def render_origins(
        self, location: tuple[float, float], downsample: float, size: tuple[int, int]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Class ids of a region and what kind of annotation each comes from (``histotrain.data.Origin``).

        Parameters and the first result are those of `render`; a pixel has an origin where it has a class. The rest of
        an exhaustive region is as good as outlined.
        """
        frame = Frame(location, downsample, size)
        canvas = self._painted(frame, origins=True)
        assert canvas.origins is not None
        return self._clip(canvas.labels, frame), self._clip(canvas.origins, frame)

    def render_exhaustive(
        self, location: tuple[float, float], downsample: float, size: tuple[int, int]
    ) -> NDArray[np.bool_]:
        """Where everything there is is annotated and shown; parameters as for `render`.

        That is inside exhaustive regions, but for what is known to lie there and not shown.
        """
        frame, inside = Frame(location, downsample, size), np.zeros((size[1], size[0]), np.uint8)
        regions = [r for r in self.records_in(frame.bounds) if r.granularity is Granularity.EXHAUSTIVE]
        frame.paint(inside, [(record.geometry, 1) for record in regions])
        if inside.any():
            inside[self._painted(frame, rest=_REST).labels == UNLABELLED] = 0
        return np.asarray(self._clip(inside, frame), bool)

    def render_shares(
        self, location: tuple[float, float], downsample: float, size: tuple[int, int], class_ids: Sequence[int]
    ) -> NDArray[np.float32]:
        """Of those who name a class for a pixel, the share that names each.

        Only the finest kind of annotation of a pixel is asked, as for its label.

        Parameters
        ----------
        location, downsample, size
            As for `render`.
        class_ids : sequence of int
            Classes C, in the order of the last axis.

        Returns
        -------
        float32 array, shape (height, width, C)
            0 where nothing was said. Shares add up to less than 1 where somebody names a class that is not among
            these.
        """
        frame = Frame(location, downsample, size)
        shares = self._painted(frame, class_ids=class_ids).shares()
        inside = self._clip(np.ones(shares.shape[:2], np.uint8), frame)
        return np.asarray(shares * inside[..., None], np.float32)

    def _painted(
        self, frame: Frame, *, rest: int = UNLABELLED, origins: bool = False, class_ids: Sequence[int] | None = None
    ) -> Canvas:
        """Everything that is said of a frame; ``rest`` is shown in exhaustive regions without a class of their own."""
        found = self.records_in(frame.bounds)
        canvas = Canvas(frame, self._table, origins=origins, class_ids=class_ids)
        self._paint_background(canvas, found, rest)
        for granularity in _ORDER:
            here = [record for record in found if record.granularity is granularity]
            machine = [record for record in here if record.id in self._predicted]
            people = [record for record in here if record.id not in self._predicted]
            painted = granularity is Granularity.PIXEL
            self._paint_step(canvas, machine, self.guesses if painted else {}, _ORIGINS[granularity])
            self._paint_step(canvas, people, self.masks if painted else {}, _ORIGINS[granularity])
        return canvas

    def render_masks(
        self, location: tuple[float, float], downsample: float, size: tuple[int, int], *, predicted: bool = False
    ) -> NDArray[np.uint8]:
        """Class ids of a region from painted masks alone; 0 where nobody painted or annotators disagree.

        With ``predicted`` they are those of predicted pixels that nobody has reviewed, where these count.
        """
        frame = Frame(location, downsample, size)
        canvas = Canvas(frame, self._table)
        self._paint_step(canvas, [], self.guesses if predicted else self.masks, Origin.PIXEL)
        return self._clip(canvas.labels, frame)

    def records_in(self, bounds: Bounds) -> list[Annotation]:
        """Records shown that touch a level-0 box, oldest first."""
        return [self.records[i] for i in _hits(self._tree, bounds)]

    def image_class(self, bounds: Bounds) -> int:
        """What annotators say of a level-0 box as a whole: the class shown, 0 if nothing or not the same.

        A label of a part that holds the box counts for more than one of the whole slide.
        """
        box = shapely.box(*bounds)
        whole = {self.shown(r.class_id) for r in self.image_labels if isinstance(r.geometry, WholeSlide)}
        part = {
            self.shown(record.class_id)
            for record in self.image_labels
            if not isinstance(record.geometry, WholeSlide) and record.geometry.shape.covers(box)
        }
        said = part or whole
        return said.pop() if len(said) == 1 else UNLABELLED

    @property
    def has_image_classes(self) -> bool:
        """Whether somebody labelled the slide, or a part of it, as a whole."""
        return any(self.shown(record.class_id) for record in self.image_labels)

    def annotators_in(self, bounds: Bounds) -> tuple[str, ...]:
        """Names of those who said something within a level-0 box, sorted."""
        names = {record.annotator for record in self.records_in(bounds)}
        for masks in (self.masks, self.guesses):
            names |= {name for name, mask in masks.items() if mask.reaches(bounds)}
        return tuple(sorted(names))

    def annotated_boxes(self) -> NDArray[np.float64]:
        """Level-0 boxes (x0, y0, x1, y1) outside of which nothing is labelled, shape (N, 4)."""
        boxes = [self._bounds(record) for record in self.records]
        for mask in (*self.masks.values(), *self.guesses.values()):
            boxes += mask.boxes()
        return np.array(boxes, np.float64).reshape(-1, 4)

    def presence(self) -> NDArray[np.int64]:
        """How often each class is said: records and painted pixels that show it, shape (255,) for class ids 1 … 255."""
        said = np.zeros(256, np.int64)
        for record in self.records:
            said[self.shown(record.class_id)] += 1
        for mask in (*self.masks.values(), *self.guesses.values()):
            for class_id, pixels in mask.part.counts().items():
                said[self.shown(class_id)] += pixels
        return said[1:]

    def shown(self, class_id: int) -> int:
        """Class id that a statement of ``class_id`` is shown as; 0 if it is left out."""
        return int(self._table[class_id])

    def _paint_background(self, canvas: Canvas, found: Sequence[Annotation], rest: int) -> None:
        background, frame = self.scheme.background, canvas.frame
        regions = [record for record in found if record.granularity is Granularity.EXHAUSTIVE]
        shapes = [
            (record.geometry, self.shown(record.class_id or (background.id if background else UNLABELLED)) or rest)
            for record in regions
        ]
        if not any(value for _, value in shapes):
            return
        canvas.paint(shapes, Origin.PIXEL)
        silent = [self._silent[i] for i in _hits(self._silent_tree, frame.bounds)]
        canvas.paint([(self.disc(record.geometry), UNLABELLED) for record in silent], Origin.NONE)
        unsaid = self._unreviewed
        if Granularity.PIXEL not in self.options.granularities:
            unsaid = [*unsaid, *self._masks.values(), *self._guesses.values()]
        for mask in unsaid:
            canvas.forget(mask.sample(frame) != UNLABELLED)

    def _paint_step(
        self, canvas: Canvas, records: Sequence[Annotation], masks: Mapping[str, PaintedMask], origin: Origin
    ) -> None:
        names = sorted({record.annotator for record in records} | set(masks))
        if len(names) == 1:  # nobody to disagree with
            canvas.paint([(self.disc(r.geometry), self.shown(r.class_id)) for r in records], origin)
            for mask in masks.values():
                canvas.stamp(mask.sample(canvas.frame), origin)
            return
        said = []
        for name in names:
            raw = np.zeros_like(canvas.labels)
            canvas.frame.paint(raw, [(self.disc(r.geometry), r.class_id) for r in records if r.annotator == name])
            if name in masks:
                painted = masks[name].sample(canvas.frame)
                np.copyto(raw, painted, where=painted != UNLABELLED)
            said.append(raw)
        canvas.compare(said, origin)

    def _clip(self, canvas: NDArray[np.uint8], frame: Frame, unlabelled: int = UNLABELLED) -> NDArray[np.uint8]:
        """Unlabelled beyond the slide's edges, where shapes may reach but no tissue is."""
        if unlabelled != UNLABELLED:
            canvas[canvas == UNLABELLED] = unlabelled
        columns, rows = frame.centres()
        canvas[:, (columns < 0) | (columns >= self.record.width)] = UNLABELLED
        canvas[(rows < 0) | (rows >= self.record.height)] = UNLABELLED
        return canvas

    def _bounds(self, record: Annotation) -> Bounds:
        x0, y0, x1, y1 = self.disc(record.geometry).bounds
        return (max(x0, 0), max(y0, 0), min(x1, self.record.width), min(y1, self.record.height))

    def _index(self, records: Sequence[Annotation]) -> shapely.STRtree:
        bounds = np.array([self._bounds(record) for record in records], np.float64).reshape(-1, 4)
        tree = shapely.STRtree([shapely.box(*box) for box in bounds])
        tree.query(shapely.box(0, 0, 1, 1))  # builds the index now: building it lazily is not thread-safe
        return tree

    def disc(self, geometry: Geometry) -> Geometry:
        """The shape that is painted: a small disc for a click, everything else as it is."""
        if not isinstance(geometry, Point):
            return geometry
        radius = self.options.point_radius / self.mpp
        return Ellipse(geometry.x, geometry.y, radius, radius)


def slide_mpp(mpp: float | None) -> float:
    """Level-0 µm/px of a slide, 0.5 where neither its file nor a person says."""
    return mpp if mpp is not None else DEFAULT_MPP


def _hits(tree: shapely.STRtree, bounds: Bounds) -> list[int]:
    return sorted(int(i) for i in tree.query(shapely.box(*bounds)))
