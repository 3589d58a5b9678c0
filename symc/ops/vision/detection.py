"""Boxes of object detection: their overlap and coding, matching by score, suppression of those that overlap."""

from __future__ import annotations

import math
from collections.abc import Sequence

from symc.core.dtypes import compute_dtype
from symc.core.errors import ShapeError
from symc.core.shapes import unify
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import DTypes, Op, Shapes, check_rank, op, param, same_dtype
from symc.loopir.expr import Expr, IndexLike, cast, index_value, prim, select
from symc.loopir.matching import Match, Suppress
from symc.loopir.tensor import Lowering, Tensor
from symc.ops.rules.floats import FloatData
from symc.ops.rules.numbers import number, single
from symc.ops.rules.terms import Term


@op("_contrib_box_iou")
class BoxIou(Op):
    """lhs (*a, 4), rhs (*b, 4) -> (*a, *b): the intersection of two boxes over their union; 0 without intersection.

    Source: MXNet operator _contrib_box_iou.
    """

    arguments = ("lhs", "rhs")

    format: str = param("corner", choices=("center", "corner"), doc="(x1, y1, x2, y2), or (x, y, width, height)")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        for side, shape in zip(self.arguments, ins):
            check_rank(shape, 2, None, f"{self.name}: {side}")
            if shape is not None and shape[-1] not in (4, None):
                raise ShapeError(f"last dimension of {side} must be 4 {shape[-1]} provided")
        lhs, rhs = ins
        if lhs is None or rhs is None:
            return ins, outs
        return [(*lhs[:-1], 4), (*rhs[:-1], 4)], [unify((*lhs[:-1], *rhs[:-1]), outs[0])]

    def lower(self, t: Lowering) -> None:
        lhs, rhs = t.ins
        n_lead = lhs.rank - 1

        def element(*i: IndexLike) -> Expr:
            one, other = self.box(lhs, i[:n_lead]), self.box(rhs, i[n_lead:])
            inner = shared(one[0], other[0]) * shared(one[1], other[1])
            union = area(one) + area(other) - inner
            return select(inner > 0.0, inner / union, 0.0)

        t.map(element)

    def box(self, boxes: Tensor, at: Sequence[IndexLike]) -> tuple[tuple[Expr, Expr, Expr], ...]:
        """(start, end, extent) along x and y."""
        x, y, right, bottom = (boxes(*at, k) for k in range(4))
        if self.format == "corner":
            return (x, right, right - x), (y, bottom, bottom - y)
        return (x - right * 0.5, x + right * 0.5, right), (y - bottom * 0.5, y + bottom * 0.5, bottom)


def centred(box: Sequence[Expr]) -> tuple[Expr, Expr, Expr, Expr]:
    """(centre x, centre y, width, height) of a box given by its corners."""
    x, y, right, bottom = box
    width, height = right - x, bottom - y
    return x + width * 0.5, y + height * 0.5, width, height


@op("_contrib_box_encode")
class BoxEncode(Op):
    """How each matched box differs from its anchor, normalised, and a mask of the anchors with a positive sample.

    samples (B, N), 1 for a positive anchor; matches (B, N), numbers of boxes; anchors (B, N, 4) and refs (B, M, 4) as
    corners; means and stds (4,) -> targets (B, N, 4) and masks (B, N, 4).  No gradients.
    Source: MXNet operator _contrib_box_encode.
    """

    arguments = ("samples", "matches", "anchors", "refs", "means", "stds")
    results = ("output0", "output1")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        anchors = ins[2]
        check_rank(anchors, 3, 3, f"{self.name}: anchors")
        if anchors is None:
            return ins, outs
        of_anchors = [unify(s, anchors[:2]) for s in ins[:2]]
        made = unify((*anchors[:2], 4), unify(outs[0], outs[1]))
        return [*of_anchors, unify(anchors, made), ins[3], *(unify(s, (4,)) for s in ins[4:])], [made, made]

    def lower(self, t: Lowering) -> None:
        samples, matches, anchors, refs, means, stds = t.ins
        dtype = anchors.dtype

        def is_positive(b: IndexLike, n: IndexLike) -> Expr:
            return samples(b, n) > 0.5

        def target(b: IndexLike, n: IndexLike, k: IndexLike) -> Expr:
            last = refs.shape[1] - 1
            match = prim("minimum", prim("maximum", cast(matches(b, n), "int64"), 0), last)
            anchor = centred([anchors(b, n, c) for c in range(4)])
            ref = centred([refs(b, match, c) for c in range(4)])
            shifts = [(ref[c] - anchor[c]) / anchor[c + 2] for c in range(2)]
            sizes = [prim("log", ref[c] / anchor[c]) for c in range(2, 4)]
            value = chosen(index_value(k), [*shifts, *sizes])
            return select(is_positive(b, n), (value - means(k)) / stds(k), number(0.0, dtype))

        t.map(target)
        t.map(lambda b, n, k: cast(is_positive(b, n), dtype), output=1)


@op("_contrib_box_decode")
class BoxDecode(FloatData):
    """Boxes from their differences to anchors: data (B, N, 4), anchors (1, N, 4) -> corners (B, N, 4).

    No gradients.  Source: MXNet operator _contrib_box_decode.
    """

    arguments = ("data", "anchors")

    std0: float = param(1.0, doc="factor of the first difference")
    std1: float = param(1.0, doc="factor of the second")
    std2: float = param(1.0, doc="factor of the third")
    std3: float = param(1.0, doc="factor of the fourth")
    clip: float = param(-1.0, doc="limit of the logarithms of the sizes; not positive: none")
    format: str = param("center", choices=("center", "corner"), doc="of the anchors")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        data = unify(ins[0], outs[0])
        check_rank(data, 3, 3, f"{self.name}: data")
        if data is None:
            return ins, outs
        data = unify(data, (None, None, 4))
        return [data, unify(ins[1], (1, data[1], 4))], [data]

    def lower(self, t: Lowering) -> None:
        data, anchors = t.ins
        dtype = data.dtype
        factors = [number(single(s), dtype) for s in (self.std0, self.std1, self.std2, self.std3)]

        def corner(b: IndexLike, n: IndexLike, k: IndexLike) -> Expr:
            given = [anchors(0, n, c) for c in range(4)]
            x, y, width, height = centred(given) if self.format == "corner" else given
            shifts = [data(b, n, c) * factors[c] * side + at for c, side, at in ((0, width, x), (1, height, y))]
            logs = [data(b, n, c) * factors[c] for c in (2, 3)]
            if self.clip > 0:
                logs = [prim("minimum", v, number(single(self.clip), dtype)) for v in logs]
            halves = [prim("exp", v) * side * 0.5 for v, side in zip(logs, (width, height))]
            starts = [a - h for a, h in zip(shifts, halves)]
            ends = [a + h for a, h in zip(shifts, halves)]
            return chosen(index_value(k), [*starts, *ends])

        t.map(corner)


def shared(one: tuple[Expr, Expr, Expr], other: tuple[Expr, Expr, Expr]) -> Expr:
    """The length that two spans (start, end, extent) have in common."""
    length = prim("minimum", one[1], other[1]) - prim("maximum", one[0], other[0])
    return prim("maximum", length, 0.0)


def area(box: tuple[tuple[Expr, Expr, Expr], ...]) -> Expr:
    """The area of a box, 0 for one that is inside out."""
    width, height = box[0][2], box[1][2]
    return select(prim("minimum", width, height) < 0.0, 0.0, width * height)


def chosen(number: Expr, values: Sequence[Expr], first: int = 0) -> Expr:
    """values[number - first], by halving: as few decisions in a row as can be."""
    if len(values) == 1:
        return values[0]
    half = len(values) // 2
    left, right = chosen(number, values[:half], first), chosen(number, values[half:], first + half)
    return select(prim("lt", number, first + half), left, right)


@op("_contrib_bipartite_matching")
class BipartiteMatching(Op):
    """data (*b, n, m): scores of pairs -> for each row its column (*b, n), for each column its row (*b, m); -1: none.

    Greedy: the best pair of what is left is matched, down to the threshold.  Source: MXNet operator
    _contrib_bipartite_matching.
    """

    results = ("output0", "output1")

    is_ascend: bool = param(False, doc="whether the smallest score is the best")
    threshold: float = param(doc="scores that are not better are not matched")
    topk: int = param(-1, doc="matching ends when there are more matches than this; not positive: no limit")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (data,) = ins
        check_rank(data, 2, None, f"{self.name}: score matrix")
        if data is None:
            return ins, outs
        return ins, [unify(data[:-1], outs[0]), unify((*data[:-2], data[-1]), outs[1])]

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        data = Term(g, x[0])
        *lead, n_rows, n_columns = data.shape
        lines = data.cast(compute_dtype(data.dtype)).reshape((math.prod(lead), n_rows * n_columns))
        order = lines("_order", axis=1, k=n_rows * n_columns, is_ascend=self.is_ascend)
        sizes = {"n_rows": n_rows, "n_columns": n_columns}
        match = g.node("_match", lines.value, order.value, **sizes, **self.given_params())
        shapes = (*lead, n_rows), (*lead, n_columns)
        return [Term(g, match[k]).reshape(shape).cast(data.dtype).value for k, shape in enumerate(shapes)]


@op("_match")
class MatchLines(Op):
    """scores (b, n * m), their order (b, n * m) -> the matching (b, n), (b, m); see loopir.matching."""

    arguments = ("scores", "order")
    results = ("output0", "output1")
    is_internal = True

    n_rows: int = param(doc="n")
    n_columns: int = param(doc="m")
    is_ascend: bool = param(False, doc="whether the smallest score is the best")
    threshold: float = param(doc="scores that are not better are not matched")
    topk: int = param(-1, doc="matching ends when there are more matches than this; not positive: no limit")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        n_lines = None if ins[0] is None else ins[0][0]
        return ins, [unify((n_lines, n), o) for n, o in zip((self.n_rows, self.n_columns), outs)]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        dtype = same_dtype((ins[0], *outs))
        return [dtype, "int32"], [dtype, dtype]

    def lower(self, t: Lowering) -> None:
        t.template(Match(self.n_rows, self.n_columns, self.is_ascend, single(self.threshold), self.topk))


@op("_contrib_box_nms", aliases=("_contrib_box_non_maximum_suppression",))
class BoxNms(FloatData):
    """data (*b, n, w): boxes with scores -> those kept, best first, then rows of -1; see loopir.matching.Suppress.

    The hidden output (*b, n, 1) is where each came from, counted over all boxes, or -1.  Source: MXNet operator
    _contrib_box_nms; as there, a box whose first coordinate is negative keeps its format.
    """

    results = ("output0", "output1")

    overlap_thresh: float = param(0.5, doc="largest intersection over union with a better box")
    valid_thresh: float = param(0.0, doc="boxes with a higher score count")
    topk: int = param(-1, doc="how many of these may be kept; negative: all; 0: data as it is")
    coord_start: int = param(2, doc="where the four coordinates begin")
    score_index: int = param(1, doc="where the score is")
    id_index: int = param(-1, doc="where the class is; negative: nowhere")
    background_id: int = param(-1, doc="class of boxes that do not count")
    force_suppress: bool = param(False, doc="whether boxes of other classes suppress too")
    in_format: str = param("corner", choices=("center", "corner"), doc="what the coordinates are")
    out_format: str = param("corner", choices=("center", "corner"), doc="what they become")

    def n_visible(self) -> int:
        return 1

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        data = unify(ins[0], outs[0])
        check_rank(data, 2, None, f"{self.name}: data")
        if data is None:
            return ins, outs
        if data[-1] is not None:
            self.check_places(data[-1])
        return [data], [data, unify((*data[:-1], 1), outs[1])]

    def check_places(self, width: int) -> None:
        """Raises ShapeError where rows of `width` numbers do not hold what the parameters say."""
        coordinates = set(range(self.coord_start, self.coord_start + 4))
        others = [self.score_index, *([self.id_index] if self.id_index >= 0 else [])]
        places = coordinates | set(others)
        if len(places) < 4 + len(others) or not all(0 <= place < width for place in places):
            raise ShapeError(
                f"{self.name}: expected score_index={self.score_index}, id_index={self.id_index} and four coordinates "
                f"from {self.coord_start} on at different places of rows of {width} numbers"
            )

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        data = Term(g, x[0])
        *lead, n, width = data.shape
        n_batches = math.prod(lead)
        rows = data.reshape((n_batches, n, width))
        base = Term(g, g("_arange", start=0.0, stop=float(n_batches), dtype="int32")).reshape((n_batches, 1)) * n
        if self.topk == 0:
            every = Term(g, g("_arange", start=0.0, stop=float(n_batches * n), dtype="int32"))
            return [data.value, every.cast(data.dtype).reshape((*lead, n, 1)).value]
        wide = rows.cast(compute_dtype(data.dtype))
        names = ("score_index", "valid_thresh", "id_index", "background_id")
        scores = wide("_box_scores", **{name: getattr(self, name) for name in names})
        limit = n if self.topk < 0 else min(self.topk, n)
        order = scores("_order", axis=1, k=limit, is_ascend=False)
        params = {name: getattr(self, name) for name in BoxNms.params() if name != "out_format"}
        record = wide("_suppress", order, **{**params, "topk": limit, "most": limit})
        kept = rows("_rows_or_minus_one", record, coord_start=self.coord_start, change=self.change())
        origin = (record >= 0).choose(record + base, record)
        return [kept.reshape(data.shape).value, origin.cast(data.dtype).reshape((*lead, n, 1)).value]

    def change(self) -> str:
        """What the format of the coordinates becomes."""
        return "none" if self.in_format == self.out_format else self.out_format

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        """Each row's goes to where it came from, whatever the format."""
        if dy[0] is None:
            return [None]
        shape = g.shape(x[0])
        head = Term(g, dy[0]).reshape((-1, shape[-1]))
        origin = Term(g, y[1]).reshape((head.shape[0],))
        flowing = (origin >= 0).reshape((head.shape[0], 1)) * head
        return [flowing("_take_gradient", origin, axis=0, mode="clip", shape=head.shape).reshape(shape).value]


@op("_box_scores")
class BoxScores(Op):
    """boxes (b, n, w) -> their scores (b, n), -inf where a box does not count."""

    is_internal = True

    score_index: int = param(doc="where the score is")
    valid_thresh: float = param(doc="boxes with a higher score count")
    id_index: int = param(doc="where the class is; negative: nowhere")
    background_id: int = param(doc="class of boxes that do not count")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return ins, [None if ins[0] is None else ins[0][:2]]

    def lower(self, t: Lowering) -> None:
        (boxes,) = t.ins

        def element(b: IndexLike, n: IndexLike) -> Expr:
            score = boxes(b, n, self.score_index)
            counts = score > number(single(self.valid_thresh), boxes.dtype)
            if self.id_index >= 0:
                is_object = prim("ne", boxes(b, n, self.id_index), number(self.background_id, boxes.dtype))
                counts = prim("and", counts, is_object)
            return select(counts, score, -math.inf)

        t.map(element)


@op("_suppress")
class SuppressBoxes(Op):
    """boxes (b, n, w), positions in order (b, k) -> int32 (b, n): the positions of those kept, then -1; see
    loopir.matching.Suppress."""

    arguments = ("boxes", "order")
    is_internal = True

    overlap_thresh: float = param(doc="largest intersection over union with a better box")
    valid_thresh: float = param(-math.inf, doc="boxes with a higher score count")
    topk: int = param(doc="how many of these are looked at")
    most: int = param(doc="how many are kept")
    coord_start: int = param(0, doc="where the four coordinates begin")
    score_index: int = param(4, doc="where the score is")
    id_index: int = param(-1, doc="where the class is; negative: nowhere")
    background_id: int = param(-1, doc="class of boxes that do not count")
    force_suppress: bool = param(False, doc="whether boxes of other classes suppress too")
    in_format: str = param("corner", choices=("center", "corner"), doc="what the coordinates are")
    reach: float = param(0.0, doc="what a span has besides the difference of its ends")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return ins, [unify(None if ins[0] is None else ins[0][:2], outs[0])]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return ins, ["int32"]

    def lower(self, t: Lowering) -> None:
        t.template(
            Suppress(
                single(self.overlap_thresh), single(self.valid_thresh), self.topk, self.most, self.coord_start,
                self.score_index, max(self.id_index, -1), self.background_id, self.force_suppress,
                self.in_format == "center", self.reach,
            )
        )  # fmt: skip


@op("_rows_or_minus_one")
class RowsOrMinusOne(Op):
    """data (b, n, w), record (b, n) -> (b, n, w): the row each position names, -1 everywhere for position -1; boxes
    that start at a coordinate of at least 0 change their format."""

    arguments = ("data", "record")
    is_internal = True

    coord_start: int = param(doc="where the four coordinates begin")
    change: str = param(choices=("none", "center", "corner"), doc="the new format")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return ins, [unify(ins[0], outs[0])]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return ins, [same_dtype((ins[0], outs[0]))]

    def lower(self, t: Lowering) -> None:
        data, record = t.ins

        def element(b: IndexLike, n: IndexLike, place: IndexLike) -> Expr:
            row = cast(record(b, n), "int64")
            found = prim("maximum", row, 0)
            value = data(b, found, place)
            if self.change != "none":
                x, y, right, bottom = (data(b, found, self.coord_start + k) for k in range(4))
                if self.change == "center":
                    new = (x + right) / 2.0, (y + bottom) / 2.0, right - x, bottom - y
                else:
                    new = x - right / 2.0, y - bottom / 2.0, x + right / 2.0, y + bottom / 2.0
                changed = value
                for k, coordinate in enumerate(new):
                    changed = select(prim("eq", index_value(place), self.coord_start + k), coordinate, changed)
                value = select(x < 0.0, value, changed)
            return select(row < 0, number(-1.0, value.dtype), value)

        t.map(element)
