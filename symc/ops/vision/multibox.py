"""Single-shot detectors: prior boxes, their training targets, and detections made of predictions for them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from symc.core.dtypes import compute_dtype
from symc.core.errors import ParameterError, ShapeError
from symc.core.shapes import Shape, unify
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import DTypes, Op, Shapes, check_rank, op, param, same_dtype
from symc.loopir.expr import Affine, Axis, Expr, IndexLike, cast, index_value, prim, select
from symc.loopir.multibox import NEGATIVE, AssignAnchors, Detect
from symc.loopir.tensor import Lowering
from symc.ops.rules.floats import FloatData
from symc.ops.rules.numbers import number, single
from symc.ops.rules.terms import Term

from .detection import centred, chosen

VARIANCES = (0.1, 0.1, 0.2, 0.2)


MAX_PRIORS = 512  # sizes and ratios of MultiBoxPrior: its kernel holds them all


@op("_contrib_MultiBoxPrior", aliases=("_npx_multibox_prior", "MultiBoxPrior"))
class MultiBoxPrior(Op):
    """data (N, C, H, W) -> (1, H * W * (sizes + ratios - 1), 4): boxes (x1, y1, x2, y2) around every pixel, in
    fractions of the image: all sizes in the first ratio, then the first size in the other ratios.

    Only the shape of the data matters.  Source: MXNet operator _contrib_MultiBoxPrior.
    """

    sizes: tuple[float, ...] = param((1.0,), doc="heights of the boxes")
    ratios: tuple[float, ...] = param((1.0,), doc="width over height")
    clip: bool = param(False, doc="whether to cut boxes off at the border")
    steps: tuple[float, ...] = param((-1.0, -1.0), doc="distance of pixels along y and x; not positive: 1 / H, 1 / W")
    offsets: tuple[float, ...] = param((0.5, 0.5), doc="centre of a pixel along y and x")

    def __post_init__(self) -> None:
        if len(self.sizes) + len(self.ratios) > MAX_PRIORS:
            raise ParameterError(f"{self.name}: expected at most {MAX_PRIORS} sizes and ratios together")
        if not self.sizes or not self.ratios or len(self.steps) != 2 or len(self.offsets) != 2:
            raise ParameterError(
                f"{self.name}: expected sizes, ratios, two steps and two offsets, got sizes={self.sizes}, "
                f"ratios={self.ratios}, steps={self.steps}, offsets={self.offsets}"
            )
        if self.steps[0] * self.steps[1] < 0:
            raise ParameterError(f"{self.name}: Must specify both step_y and step_x, got steps={self.steps}")
        if not all(0 <= offset <= 1 for offset in self.offsets):
            raise ParameterError(f"{self.name}: expected offsets from 0 to 1, got {self.offsets}")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (data,) = ins
        check_rank(data, 4, None, f"{self.name}: data")
        n_boxes: int | None = None
        if data is not None and data[2] is not None and data[3] is not None:
            n_boxes = data[2] * data[3] * len(self.extents())
        shape: Shape = (1, n_boxes, 4)
        return ins, [unify(shape, outs[0])]

    def extents(self) -> list[tuple[float, float]]:
        """(width relative to H / W, height) of half of each box at a pixel."""
        boxes = [(size, self.ratios[0]) for size in self.sizes] + [(self.sizes[0], r) for r in self.ratios[1:]]
        return [(single(s) * math.sqrt(single(r)) / 2, single(s) / math.sqrt(single(r)) / 2) for s, r in boxes]

    def lower(self, t: Lowering) -> None:
        height, width = (max(extent, 1) for extent in t.ins[0].shape[2:4])  # without pixels there are no boxes
        steps = self.steps if self.steps[0] > 0 and self.steps[1] > 0 else (1 / height, 1 / width)
        extents = [(w * height / width, h) for w, h in self.extents()]
        dtype = t.out_dtype()

        def centre(position: Expr, axis: int) -> Expr:
            return (cast(position, dtype) + number(self.offsets[axis], dtype)) * number(steps[axis], dtype)

        def element(_: IndexLike, box: IndexLike, corner: IndexLike) -> Expr:
            n, side = index_value(box), index_value(corner)
            pixel, kind = prim("floordiv", n, len(extents)), prim("mod", n, len(extents))
            is_y = prim("eq", prim("mod", side, 2), 1)
            half = chosen(kind, [select(is_y, number(h, dtype), number(w, dtype)) for w, h in extents])
            middle = select(is_y, centre(prim("floordiv", pixel, width), 0), centre(prim("mod", pixel, width), 1))
            edge = middle + select(side < 2, -half, half)
            return prim("minimum", prim("maximum", edge, 0.0), 1.0) if self.clip else edge

        t.map(element)


def check_variances(operator: Op, variances: tuple[float, ...]) -> None:
    """Raises ParameterError unless there are four."""
    if len(variances) != 4:
        raise ParameterError(f"{operator.name}: Variance size must be 4, got variances={variances}")


@op("_contrib_MultiBoxDetection", aliases=("_npx_multibox_detection", "MultiBoxDetection"))
class MultiBoxDetection(FloatData):
    """Detections (N, A, 6) = (class, score, x1, y1, x2, y2) from class probabilities (N, K, A), location predictions
    (N, 4 A) and anchors (1, A, 4); best first, class -1 where there is none.

    Class 0 is the background whatever background_id says, as in MXNet; others count from 0.  What lies in rows of
    class -1 tells loopir.multibox.Detect.  The gradients are zeros.  Source: MXNet operator
    _contrib_MultiBoxDetection.
    """

    arguments = ("cls_prob", "loc_pred", "anchor")

    clip: bool = param(True, doc="cut boxes off at the border of the image")
    threshold: float = param(0.01, doc="smallest score of a detection")
    background_id: int = param(0, doc="ignored")
    nms_threshold: float = param(0.5, doc="intersection over union with a better detection that suppresses one")
    force_suppress: bool = param(False, doc="whether detections of other classes suppress too")
    variances: tuple[float, ...] = param(VARIANCES, doc="factors of the predictions: x, y, width, height")
    nms_topk: int = param(-1, doc="how many detections may be kept; not positive: all")

    def __post_init__(self) -> None:
        check_variances(self, self.variances)

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        probabilities, locations, anchors = ins
        for name, shape, rank in zip(self.arguments, ins, (3, 2, 3)):
            check_rank(shape, rank, rank, f"{self.name}: {name}")
        n, k, a = probabilities or (None, None, None)
        a = (unify((a,), anchors and (anchors[1],)) or (None,))[0]
        flat = None if a is None else 4 * a
        if flat == 0:
            raise ShapeError(f"{self.name}: Number of anchors must > 0")
        found: Shapes = [
            unify(probabilities, (n, k, a)), unify(locations, (n, flat)), unify(anchors, (None, a, 4))
        ]  # fmt: skip
        return found, [unify((n, a, 6), outs[0])]

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        dtype = g.dtype(x[0])
        probabilities, locations, anchors = (Term(g, v).cast(compute_dtype(dtype)) for v in x)
        params = {name: getattr(self, name) for name in ("clip", "threshold", "variances")}
        rows = probabilities("_detection_rows", locations, anchors, **params)
        params = {"overlap": self.nms_threshold, "limit": self.nms_topk, "is_class_blind": self.force_suppress}
        return [rows("_detect", **params).cast(dtype).value]


@op("_detection_rows")
class DetectionRows(Op):
    """(N, 6, A): of each anchor the best class but the first, or -1 below the threshold; its score; its corners."""

    arguments = ("cls_prob", "loc_pred", "anchor")
    is_internal = True

    clip: bool = param(doc="cut boxes off at the border of the image")
    threshold: float = param(doc="smallest score of a class")
    variances: tuple[float, ...] = param(doc="factors of the predictions: x, y, width, height")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        probabilities = ins[0]
        return ins, [None if probabilities is None else (probabilities[0], 6, probabilities[2])]

    def lower(self, t: Lowering) -> None:
        probabilities, locations, anchors = t.ins
        dtype = probabilities.dtype
        n_images, n_classes, n_anchors = probabilities.shape

        def score(n: IndexLike, a: IndexLike, k: Axis) -> Expr:
            """A class's; what is no probability and the background have -1."""
            p = probabilities(n, k, a)
            return select(prim("and", index_value(k) >= 1, p > -1.0), p, -1.0)

        def best(n: IndexLike, a: IndexLike) -> Expr:
            return t.reduce("max", (n_classes,), lambda k: score(n, a, k))

        def class_of(n: IndexLike, a: IndexLike) -> Expr:
            top = best(n, a)
            first = t.reduce(
                "min", (n_classes,), lambda k: select(prim("eq", score(n, a, k), top), index_value(k), n_classes)
            )
            is_detection = prim("and", top > -1.0, top >= number(single(self.threshold), dtype))
            return select(is_detection, cast(first, dtype) - 1.0, -1.0)

        def corner(side: int, n: IndexLike, a: Axis) -> Expr:
            axis, edges = side % 2, [anchors(0, a, c) for c in (side % 2, side % 2 + 2)]
            size, centre = edges[1] - edges[0], (edges[0] + edges[1]) / 2.0
            shift, log = (locations(n, a * 4 + axis + c) * factors[axis + c] for c in (0, 2))
            half = prim("exp", log) * size / 2.0
            place = shift * size + centre + (half if side >= 2 else -half)
            return prim("maximum", prim("minimum", place, 1.0), 0.0) if self.clip else place

        factors = [number(single(v), dtype) for v in self.variances]
        rows = [class_of, best, *((lambda n, a, side=side: corner(side, n, a)) for side in range(4))]
        for k, row in enumerate(rows):
            t.region((n_images, n_anchors), lambda n, a, k=k: (n, k, a), row)


@op("_detect")
class DetectRows(Op):
    """rows (N, 6, A) -> (N, A, 6), see loopir.multibox.Detect."""

    is_internal = True

    overlap: float = param(doc="intersection over union that suppresses")
    limit: int = param(doc="how many may be kept")
    is_class_blind: bool = param(doc="whether detections of other classes suppress too")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        rows = ins[0]
        return ins, [None if rows is None else (rows[0], rows[2], 6)]

    def lower(self, t: Lowering) -> None:
        t.template(Detect(single(self.overlap), self.limit, self.is_class_blind))


@op("_contrib_MultiBoxTarget", aliases=("_npx_multibox_target", "MultiBoxTarget"))
class MultiBoxTarget(FloatData):
    """Training targets of anchors (1, A, 4), from labels (N, M, 5 or more) = (class, x1, y1, x2, y2, ...), ended by
    rows of -1, and class predictions (N, K, A): location targets (N, 4 A), their mask (N, 4 A) of ones for anchors
    with an object, class targets (N, A): 0 the background, 1 + class, ignore_label.

    Which anchor has which object tells loopir.multibox.AssignAnchors; with mining, negative samples are those that the
    softmax of the predictions gives the least background, the first where equal.  The gradients are zeros.
    Source: MXNet operator _contrib_MultiBoxTarget.
    """

    arguments = ("anchor", "label", "cls_pred")
    results = ("loc_target", "loc_mask", "cls_target")

    overlap_threshold: float = param(0.5, doc="intersection over union above which an anchor has an object")
    ignore_label: float = param(-1.0, doc="class target of ignored anchors")
    negative_mining_ratio: float = param(-1.0, doc="negative samples for each positive one; not positive: all")
    negative_mining_thresh: float = param(0.5, doc="negative samples overlap every object less than this")
    minimum_negative_samples: int = param(0, doc="ignored")
    variances: tuple[float, ...] = param(VARIANCES, doc="divisors of the targets: x, y, width, height")

    def __post_init__(self) -> None:
        check_variances(self, self.variances)
        if self.negative_mining_ratio > 0 >= self.negative_mining_thresh:
            raise ParameterError(
                f"{self.name}: expected a positive negative_mining_thresh with "
                f"negative_mining_ratio={self.negative_mining_ratio}, got {self.negative_mining_thresh}"
            )

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        anchors, labels, predictions = ins
        for name, shape in zip(self.arguments, ins):
            check_rank(shape, 3, 3, f"{self.name}: {name}")
        n, k, a = predictions or (None, None, None)
        a = (unify((a,), anchors and (anchors[1],)) or (None,))[0]
        n = (unify((n,), labels and (labels[0],)) or (None,))[0]
        if a == 0 or (labels is not None and labels[1] == 0):
            raise ShapeError(f"{self.name}: Number boxes and padded label should be greater than 0")
        if labels is not None and labels[2] is not None and labels[2] < 5:
            raise ShapeError(f"{self.name}: Label width should be greater than or equal to 5, got {labels[2]}")
        wide: Shape = (n, None if a is None else 4 * a)
        found = [unify(anchors, (1, a, 4)), unify(labels, (n, None, None)), unify(predictions, (n, k, a))]
        return found, [unify(s, o) for s, o in zip((wide, wide, (n, a)), outs)]

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        dtype = g.dtype(x[0])
        anchors, labels, predictions = (Term(g, v).cast(compute_dtype(dtype)) for v in x)
        anchors = anchors.reshape(anchors.shape[1:])
        if self.negative_mining_ratio > 0:
            predictions = predictions("softmax", axis=1)
        background = predictions("slice_axis", axis=1, begin=0, end=1).reshape((labels.shape[0], anchors.shape[0]))
        names = ("overlap_threshold", "negative_mining_ratio", "negative_mining_thresh")
        match = anchors("_assign_anchors", labels, background, **{n: getattr(self, n) for n in names})
        params = {"ignore_label": self.ignore_label, "variances": self.variances}
        found = g.node("_anchor_targets", anchors.value, labels.value, match.value, **params)
        return [Term(g, found[k]).cast(dtype).value for k in range(3)]


@op("_assign_anchors")
class AssignedAnchors(Op):
    """anchors (A, 4), labels (N, M, w), background (N, A) -> int32 (N, A), see loopir.multibox.AssignAnchors."""

    arguments = ("anchors", "labels", "background")
    is_internal = True

    overlap_threshold: float = param(doc="intersection over union above which an anchor has an object")
    negative_mining_ratio: float = param(doc="negative samples for each positive one; not positive: all")
    negative_mining_thresh: float = param(doc="negative samples overlap every object less than this")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return ins, [unify(ins[2], outs[0])]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return ins, ["int32"]

    def lower(self, t: Lowering) -> None:
        numbers = self.overlap_threshold, self.negative_mining_ratio, self.negative_mining_thresh
        t.template(AssignAnchors(*map(single, numbers)))


@op("_anchor_targets")
class AnchorTargets(Op):
    """anchors (A, 4), labels (N, M, w), match (N, A) -> location targets and mask (N, 4 A), class targets (N, A)."""

    arguments = ("anchors", "labels", "match")
    results = ("loc_target", "loc_mask", "cls_target")
    is_internal = True

    ignore_label: float = param(doc="class target of ignored anchors")
    variances: tuple[float, ...] = param(doc="divisors of the targets: x, y, width, height")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        match = ins[2]
        if match is None or match[1] is None:
            return ins, outs
        return ins, [(match[0], 4 * match[1]), (match[0], 4 * match[1]), match]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        dtype = same_dtype((*ins[:2], *outs))
        return [dtype, dtype, "int32"], [dtype] * 3

    def lower(self, t: Lowering) -> None:
        anchors, labels, match = t.ins
        dtype = anchors.dtype

        def target(c: int, n: IndexLike, a: IndexLike) -> Expr:
            found = prim("maximum", cast(match(n, a), "int64"), 0)
            anchor = centred([anchors(a, k) for k in range(4)])
            box = centred([labels(n, found, k + 1) for k in range(4)])
            size = anchor[2 + c % 2]
            value = (box[c] - anchor[c]) / size if c < 2 else prim("log", box[c] / size)
            return select(match(n, a) < 0, 0.0, value / number(single(self.variances[c]), dtype))

        def class_of(n: IndexLike, a: IndexLike) -> Expr:
            found = match(n, a)
            label = labels(n, prim("maximum", cast(found, "int64"), 0), 0) + 1.0
            other = select(prim("eq", found, NEGATIVE), number(0.0, dtype), number(single(self.ignore_label), dtype))
            return select(found >= 0, label, other)

        for c in range(4):

            def place(n: IndexLike, a: Axis, c: int = c) -> tuple[IndexLike, Affine]:
                return n, a * 4 + c

            t.region(match.shape, place, lambda n, a, c=c: target(c, n, a))
            t.region(match.shape, place, lambda n, a: cast(match(n, a) >= 0, dtype), output=1)
        t.map(class_of, output=2)
