"""Region proposals of Faster R-CNN: anchors moved by predictions, the best of those that do not overlap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from symc.core.dtypes import compute_dtype
from symc.core.errors import ParameterError, ShapeError
from symc.core.shapes import FullShape, Shape, unify
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import DTypes, Op, Shapes, check_rank, declares_parameters, op, param, same_dtype
from symc.loopir.expr import Affine, Axis, Expr, IndexLike, cast, index_value, prim, select
from symc.loopir.tensor import Lowering
from symc.ops.rules.floats import FloatData
from symc.ops.rules.numbers import number, single
from symc.ops.rules.terms import Term

from .detection import chosen


@declares_parameters
class Proposing(FloatData):
    """Regions (N * rpn_post_nms_top_n, 5) = (image, x1, y1, x2, y2) and their scores (N * rpn_post_nms_top_n, 1), from
    background and object probabilities (N, 2 A, H, W), predictions (N, 4 A, H, W) and images (N, 3) = (height, width,
    scale).

    Spans are counted in pixels, last ones included.  Boxes smaller than rpn_min_size times the scale and those outside
    the image have score -1, the former grow by rpn_min_size.  Too few proposals are repeated.  Of equal scores the
    first counts, by rows, columns, anchors.  The gradients are zeros.
    """

    arguments = ("cls_prob", "bbox_pred", "im_info")
    results = ("output", "score")

    of_one_image: ClassVar[bool] = False

    rpn_pre_nms_top_n: int = param(6000, doc="how many boxes are looked at; not positive: all")
    rpn_post_nms_top_n: int = param(300, doc="number of proposals")
    threshold: float = param(0.7, doc="largest intersection over union with a better proposal")
    rpn_min_size: int = param(16, doc="smallest width and height at scale 1")
    scales: tuple[float, ...] = param((4.0, 8.0, 16.0, 32.0), doc="of the anchors, in pixels of the features")
    ratios: tuple[float, ...] = param((0.5, 1.0, 2.0), doc="height over width")
    feature_stride: int = param(16, doc="pixels of the image for each of the features")
    output_score: bool = param(False, doc="whether the scores are an output")
    iou_loss: bool = param(False, doc="whether predictions are added to the corners")

    def __post_init__(self) -> None:
        if self.rpn_post_nms_top_n < 1 or self.feature_stride < 1 or not self.scales or not self.ratios:
            raise ParameterError(
                f"{self.name}: expected positive rpn_post_nms_top_n and feature_stride, scales and ratios, got "
                f"{self.rpn_post_nms_top_n}, {self.feature_stride}, {self.scales}, {self.ratios}"
            )
        if min(self.scales) <= 0 or min(self.ratios) <= 0:
            raise ParameterError(f"{self.name}: expected positive scales and ratios, got {self.scales}, {self.ratios}")

    def n_visible(self) -> int:
        return 2 if self.output_score else 1

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        probabilities = ins[0]
        check_rank(probabilities, 4, 4, f"{self.name}: cls_prob")
        if probabilities is None:
            return ins, outs
        n, channels, *extents = probabilities
        n_anchors = len(self.scales) * len(self.ratios)
        if channels not in (None, 2 * n_anchors):
            raise ShapeError(
                f"{self.name}: expected {2 * n_anchors} channels of cls_prob, two for each of "
                f"{len(self.ratios)} ratios x {len(self.scales)} scales, got {channels}"
            )
        if self.of_one_image and n not in (None, 1):
            raise ShapeError(f"{self.name}: expected one image, got {n}; _contrib_MultiProposal takes several")
        if 0 in extents:
            raise ShapeError(f"{self.name}: expected features with pixels, got {probabilities}")
        n_found = None if n is None else n * self.rpn_post_nms_top_n
        predictions: Shape = (n, 4 * n_anchors, *extents)
        found = [(n, 2 * n_anchors, *extents), unify(ins[1], predictions), unify(ins[2], (n, 3))]
        return found, [unify((n_found, 5), outs[0]), unify((n_found, 1), outs[1])]

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        dtype = g.dtype(x[0])
        probabilities, predictions, images = (Term(g, v).cast(compute_dtype(dtype)) for v in x)
        names = ("rpn_min_size", "scales", "ratios", "feature_stride", "iou_loss")
        boxes = probabilities("_anchor_boxes", predictions, images, **{n: getattr(self, n) for n in names})
        n, n_boxes, _ = boxes.shape
        n_seen = min(self.rpn_pre_nms_top_n, n_boxes) if self.rpn_pre_nms_top_n > 0 else n_boxes
        n_kept = min(self.rpn_post_nms_top_n, n_seen)
        scores = boxes("slice_axis", axis=2, begin=4, end=5).reshape((n, n_boxes))
        order = scores("_order", axis=1, k=n_seen, is_ascend=False)
        params = {"overlap_thresh": self.threshold, "topk": n_seen, "most": n_kept, "reach": 1.0}
        record = boxes("_suppress", order, **params)("slice_axis", axis=1, begin=0, end=n_kept)
        found = g.node("_proposals", boxes.value, record.value, count=self.rpn_post_nms_top_n)
        return [Term(g, found[k]).cast(dtype).value for k in range(2)]


@op("_contrib_Proposal", aliases=("Proposal",))
class Proposal(Proposing):
    """Proposals of one image.  Source: MXNet operator _contrib_Proposal."""

    of_one_image = True


@op("_contrib_MultiProposal", aliases=("MultiProposal",))
class MultiProposal(Proposing):
    """Proposals of several images.  Source: MXNet operator _contrib_MultiProposal."""


@op("_anchor_boxes")
class AnchorBoxes(Op):
    """The boxes (N, H * W * A, 5) = (x1, y1, x2, y2, score) that anchors and predictions give, cut off at the image."""

    arguments = ("cls_prob", "bbox_pred", "im_info")
    is_internal = True

    rpn_min_size: int = param(doc="smallest width and height at scale 1")
    scales: tuple[float, ...] = param(doc="of the anchors, in pixels of the features")
    ratios: tuple[float, ...] = param(doc="height over width")
    feature_stride: int = param(doc="pixels of the image for each of the features")
    iou_loss: bool = param(doc="whether predictions are added to the corners")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        n, channels, height, width = ins[0]  # type: ignore[misc]
        return ins, [(n, channels // 2 * height * width, 5)]  # type: ignore[operator]

    def anchors(self) -> list[tuple[float, float]]:
        """(width, height) of each: all scales in the first ratio, then in the next."""
        area = self.feature_stride**2
        found = []
        for ratio in map(single, self.ratios):
            base = math.floor(single(math.sqrt(math.floor(single(area / ratio))) + 0.5))
            for scale in map(single, self.scales):
                width = single(base * scale)
                # In float32 the width over the scale is not always the base again; halves then go the other way.
                height = math.floor(single(single(single(width / scale) * ratio) + 0.5))
                found.append((width, single(height * scale)))
        return found

    def lower(self, t: Lowering) -> None:
        probabilities, predictions, images = t.ins
        n_images, channels, *extents = probabilities.shape
        n_anchors = channels // 2
        dtype = probabilities.dtype
        sizes, stride = self.anchors(), self.feature_stride
        domain = n_images, *extents, n_anchors

        def edges(axis: int, n: IndexLike, place: Axis, at: tuple[IndexLike, ...], a: Axis) -> tuple[Expr, Expr]:
            """Where a box starts and ends along x (axis 0) or y, inside the image."""
            size = chosen(index_value(a), [number(s[axis], dtype) for s in sizes])
            middle = cast(index_value(place), dtype) * float(stride) + number((stride - 1) / 2, dtype)
            first, last = (predictions(n, a * 4 + axis + k, *at) for k in (0, 2))
            if self.iou_loss:
                found = middle - (size - 1.0) * 0.5 + first, middle + (size - 1.0) * 0.5 + last
            else:
                centre, half = first * size + middle, (prim("exp", last) * size - 1.0) * 0.5
                found = centre - half, centre + half
            border = images(n, 1 - axis) - 1.0
            start, end = (prim("maximum", prim("minimum", p, border), 0.0) for p in found)
            return start, end

        def box(n: IndexLike, h: Axis, w: Axis, a: Axis) -> tuple[list[Expr], Expr]:
            """The corners and the score."""
            (left, right), (top, bottom) = edges(0, n, w, (h, w), a), edges(1, n, h, (h, w), a)
            least = images(n, 2) * float(self.rpn_min_size)
            is_small = prim("minimum", right - left, bottom - top) + 1.0 < least
            growth = select(is_small, least / 2.0, 0.0)
            extents = (images(n, k) / float(stride) for k in (0, 1))
            outside = [index_value(p) >= cast(extent, "int64") for p, extent in zip((h, w), extents)]
            is_void = prim("or", is_small, prim("or", *outside))
            score = select(is_void, -1.0, probabilities(n, a + n_anchors, h, w))
            return [left - growth, top - growth, right + growth, bottom + growth], score

        for k in range(5):

            def place(n: IndexLike, h: Axis, w: Axis, a: Axis, k: int = k) -> tuple[IndexLike, Affine, int]:
                return n, (h * extents[1] + w) * n_anchors + a, k

            def value(n: IndexLike, h: Axis, w: Axis, a: Axis, k: int = k) -> Expr:
                corners, score = box(n, h, w, a)
                return corners[k] if k < 4 else score

            t.region(domain, place, value)


@op("_proposals")
class Proposals(Op):
    """boxes (N, n, 5) and the positions of those kept (N, k), then -1 -> regions (N * count, 5) with their image,
    scores (N * count, 1); too few are repeated."""

    arguments = ("boxes", "record")
    results = ("output", "score")
    is_internal = True

    count: int = param(doc="how many of an image")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        n = ins[0][0] * self.count  # type: ignore[index, operator]
        return ins, [(n, 5), (n, 1)]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        dtype = same_dtype((ins[0], *outs))
        return [dtype, "int32"], [dtype] * 2

    def lower(self, t: Lowering) -> None:
        boxes, record = t.ins
        n_images, n_kept = record.shape
        domain: FullShape = (n_images, self.count)

        def number_of(n: IndexLike, k: IndexLike, side: int) -> Expr:
            found = t.reduce("sum", (n_kept,), lambda j: cast(record(n, j) >= 0, "int64"))
            again = prim("mod", index_value(k), prim("maximum", found, 1))
            row = prim("maximum", cast(record(n, again), "int64"), 0)
            return boxes(n, row, side)

        def place(n: Axis, k: Axis) -> Affine:
            return n * self.count + k

        t.region(domain, lambda n, k: (place(n, k), 0), lambda n, k: cast(index_value(n), boxes.dtype))
        for side in range(4):
            t.region(domain, lambda n, k, s=side: (place(n, k), s + 1), lambda n, k, s=side: number_of(n, k, s))
        t.region(domain, lambda n, k: (place(n, k), 0), lambda n, k: number_of(n, k, 4), output=1)
