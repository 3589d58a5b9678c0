"""Operators that take parts of an array: strided ranges, one range of an axis, pieces along an axis."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from symc.core.errors import ShapeError
from symc.core.params import MAX_PORTS
from symc.core.shapes import FullShape, Shape, mx_text, normalize_axis, unify
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import DTypes, Op, Shapes, declares_parameters, op, param, same_dtype
from symc.loopir.expr import const
from symc.loopir.tensor import Lowering
from symc.ops.rules.movement import Index, Movement
from symc.ops.rules.shapes import result_shape
from symc.ops.rules.terms import Term, flows, values

from .movement import Concat


class Range(NamedTuple):
    """Positions begin, begin + step, ... of one axis; `length` of them, or None when the extent is not known."""

    begin: int
    step: int
    length: int | None


class Ranges(Movement):
    """A range of every axis."""

    def ranges(self, shape: Shape) -> list[Range]:
        """The range of each axis of the first input."""
        raise NotImplementedError

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        if ins[0] is None:
            return ins, outs
        return ins, [unify(tuple(r.length for r in self.ranges(ins[0])), outs[0])]

    def keeps_order(self, shape: FullShape) -> bool:
        return all(r.length == n and r.step == 1 for r, n in zip(self.ranges(shape), shape))

    def source(self, index: Index, shape: FullShape) -> Index:
        return [i * r.step + r.begin for i, r in zip(index, self.ranges(shape))]

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        placed = place(Term(g, flows(dy)), g.shape(x[0]), self.ranges(g.shape(x[0])))
        return values([placed, *[None] * (len(x) - 1)])


def place(d: Term, shape: FullShape, ranges: Sequence[Range]) -> Term:
    """Zeros of `shape` with `d` at the given ranges: the adjoint of slicing."""
    begin, step = tuple(r.begin for r in ranges), tuple(r.step for r in ranges)
    return d("_place", shape=shape, begin=begin, step=step)


@op("_place")
class Place(Op):
    """Zeros of `shape` with data at begin, begin + step, ... of every axis: the adjoint of slice, made by gradients."""

    is_internal = True
    shape: tuple[int, ...] = param(doc="shape of the output")
    begin: tuple[int, ...] = param(doc="where the first element of each axis goes")
    step: tuple[int, ...] = param(doc="distance of two elements along each axis")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return ins, [self.shape]

    def lower(self, t: Lowering) -> None:
        x = t.ins[0]
        if x.shape != self.shape:
            t.region(self.shape, lambda *i: i, lambda *i: const(0, x.dtype))
        t.region(x.shape, lambda *i: [n * s + b for n, b, s in zip(i, self.begin, self.step)], x)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        stops = [b + s * n for b, s, n in zip(self.begin, self.step, g.shape(x[0]))]
        end = tuple(None if stop < 0 else stop for stop in stops)
        return [g("slice", flows(dy), begin=self.begin, end=end, step=self.step)]


def span(begin: int | None, end: int | None, step: int | None, extent: int | None, axis: int) -> Range:
    """The positions a Python slice selects, clipped to the axis; there may be none."""
    step = 1 if step is None else step
    if step == 0:
        raise ShapeError(f"slice op step[{axis}] cannot be 0")
    if extent is None:
        return Range(begin or 0, step, None)
    first, stop, _ = slice(begin, end, step).indices(extent)
    return Range(first, step, len(range(first, stop, step)))


@op("slice", aliases=("crop", "_npi_slice", "_npx_slice", "_sparse_slice"))
class Slice(Ranges):
    """data[begin:end:step] on the leading axes, each number possibly None or negative.  MXNet operator slice."""

    begin: tuple[int | None, ...] = param(doc="first position of each axis")
    end: tuple[int | None, ...] = param(doc="position after the last")
    step: tuple[int | None, ...] = param((), doc="distance of two positions; may be negative")

    def ranges(self, shape: Shape) -> list[Range]:
        steps = self.step or (None,) * len(self.begin)
        if not len(self.begin) == len(self.end) == len(steps) <= len(shape):
            raise ShapeError(f"begin {self.begin}, end {self.end} and step {self.step} do not fit {mx_text(shape)}")
        rest = [(None, None, None)] * (len(shape) - len(self.begin))
        triples = [*zip(self.begin, self.end, steps), *rest]
        return [span(*triple, extent, axis) for axis, (triple, extent) in enumerate(zip(triples, shape))]


@op("slice_axis")
class SliceAxis(Ranges):
    """data[begin:end] on one axis.  MXNet operator slice_axis."""

    axis: int = param(doc="the axis")
    begin: int = param(doc="first position; negative counts from the end")
    end: int | None = param(doc="position after the last; None is the end of the axis")

    def ranges(self, shape: Shape) -> list[Range]:
        at = normalize_axis(self.axis, len(shape))
        extent = shape[at]
        if extent is not None:
            first = self.begin + extent * (self.begin < 0)
            stop = extent if self.end is None else self.end + extent * (self.end < 0)
            if not 0 <= first < stop <= extent:
                raise ShapeError(f"Invalid begin, end, get begin={self.begin}, end={self.end} for extent {extent}")
        return [span(self.begin, self.end, 1, n, a) if a == at else Range(0, 1, n) for a, n in enumerate(shape)]

    def simplify(self, g: GraphBuilder, x: Sequence[Value]) -> Sequence[Value] | None:
        """Of joined arrays it is a range of the one that it lies in."""
        whole = x[0].node
        if isinstance(whole.op, Concat):
            shape = g.shape(x[0])
            at = normalize_axis(self.axis, len(shape))
            first, _, length = self.ranges(shape)[at]
            edges = pairwise(accumulate((g.shape(v)[at] for v in whole.inputs), initial=0))
            for v, (begin, end) in zip(whole.inputs, edges):
                if normalize_axis(whole.op.dim, len(shape)) == at and begin <= first < first + length <= end:
                    return [g("slice_axis", v, axis=at, begin=first - begin, end=first - begin + length)]
        return super().simplify(g, x)


@op("slice_like")
class SliceLike(Ranges):
    """data cut to the extents of shape_like on all axes or on those named.  MXNet operator slice_like."""

    arguments = ("data", "shape_like")
    axes: tuple[int, ...] = param((), doc="the axes to cut; () cuts all")

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        dtype = same_dtype([ins[0], *outs])
        return [dtype, ins[1]], [dtype]

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        data, like = ins
        if data is None or like is None:
            return ins, outs
        if not self.axes and len(data) != len(like):
            raise ShapeError(f"slice_like without axes needs equal ranks, got {mx_text(data)} and {mx_text(like)}")
        cut = list(data)
        for a in self.axes or range(len(data)):
            mine = normalize_axis(a, len(data))
            if mine >= len(like):
                raise ShapeError(f"Slice axis: {a} exceeds second input: {len(like)}")
            extent, limit = like[mine], data[mine]
            if extent is not None and limit is not None and extent > limit:
                raise ShapeError(f"Slice axis {a} with size {extent} exceeds limit of input with size {limit}")
            cut[mine] = extent
        return ins, [unify(tuple(cut), outs[0])]

    def ranges(self, shape: Shape) -> list[Range]:
        return [Range(0, 1, n) for n in shape]

    def keeps_order(self, shape: FullShape) -> bool:
        return False


@declares_parameters
class Pieces(Op):
    """Consecutive pieces along one axis, one output each."""

    axis: int = param(1, doc="the axis that is cut")
    squeeze_axis: bool = param(False, doc="drop the axis, all pieces being of extent 1")

    def n_pieces(self) -> int:
        """The number of outputs."""
        raise NotImplementedError

    def bounds(self, extent: int) -> list[int]:
        """Where each piece begins, and where the last one ends."""
        raise NotImplementedError

    def result_names(self) -> tuple[str, ...]:
        n = self.n_pieces()
        return ("output",) if n == 1 else tuple(f"output{k}" for k in range(n))

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (data,) = ins
        if data is None:
            return ins, outs
        at = normalize_axis(self.axis, len(data))
        for out in outs:
            data = unify(data, self.whole(out, at))
        assert data is not None
        extent = data[at]
        edges = None if extent is None else self.bounds(extent)
        found: Shapes = []
        for k, out in enumerate(outs):
            n = None if edges is None else edges[k + 1] - edges[k]
            if self.squeeze_axis and n not in (1, None):
                raise ShapeError(f"squeeze_axis needs pieces of extent 1 along axis {self.axis} of {mx_text(data)}")
            middle = () if self.squeeze_axis else (n,)
            found.append(unify((*data[:at], *middle, *data[at + 1 :]), out))
        return [data], found

    def whole(self, piece: Shape | None, at: int) -> Shape | None:
        """What the shape of one piece says about the data's."""
        if piece is None or len(piece) + self.squeeze_axis <= at:
            return None
        extent = 1 if self.squeeze_axis else piece[at]
        n_equal = self.n_equal_pieces()
        total = None if extent is None or n_equal is None else extent * n_equal
        return (*piece[:at], total, *piece[at + (not self.squeeze_axis) :])

    def n_equal_pieces(self) -> int | None:
        """The number of pieces when they are equal."""
        raise NotImplementedError

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        dtype = same_dtype([*ins, *outs])
        return [dtype], [dtype] * len(outs)

    def simplify(self, g: GraphBuilder, x: Sequence[Value]) -> Sequence[Value] | None:
        """Ranges: each fuses with what reads it."""
        if self.n_pieces() == 1:
            return [Term(g, x[0]).reshape(result_shape(self, g, x)).value]
        data = Term(g, x[0])
        at = normalize_axis(self.axis, len(data.shape))
        edges = self.bounds(data.shape[at])
        if any(a == b for a, b in pairwise(edges)):
            return None
        _, shapes = self.infer_shape([data.shape], [None] * self.n_pieces())
        parts = [data("slice_axis", axis=at, begin=a, end=b) for a, b in pairwise(edges)]
        return [part.reshape(shape).value for part, shape in zip(parts, shapes)]  # type: ignore[arg-type]

    def lower(self, t: Lowering) -> None:
        x = t.ins[0]
        at = normalize_axis(self.axis, x.rank)
        for k, begin in enumerate(self.bounds(x.shape[at])[:-1]):
            if self.squeeze_axis:
                t.map(lambda *i, b=begin: x(*i[:at], b, *i[at:]), output=k)
            else:
                t.map(lambda *i, b=begin: x(*i[:at], i[at] + b, *i[at + 1 :]), output=k)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        data = Term(g, x[0])
        at = normalize_axis(self.axis, len(data.shape))
        edges = self.bounds(data.shape[at])

        def part(begin: int, end: int, d: Value | None) -> Value:
            shape = (*data.shape[:at], end - begin, *data.shape[at + 1 :])
            if d is None:
                return g.full(shape, data.dtype, 0)
            return Term(g, d).reshape(shape).value

        parts = [part(a, b, d) for a, b, d in zip(edges, edges[1:], dy)]
        return [parts[0] if len(parts) == 1 else g("Concat", *parts, num_args=len(parts), dim=at)]


@op("SliceChannel", aliases=("split",))
class SliceChannel(Pieces):
    """num_outputs equal pieces along one axis.  MXNet operator SliceChannel."""

    parameter_order = ("num_outputs", "axis", "squeeze_axis")

    num_outputs: int = param(low=1, high=MAX_PORTS, doc="how many pieces")

    def result_names(self) -> tuple[str, ...]:
        return tuple(f"output{k}" for k in range(self.num_outputs))

    def n_pieces(self) -> int:
        return self.num_outputs

    def n_equal_pieces(self) -> int | None:
        return self.num_outputs

    def bounds(self, extent: int) -> list[int]:
        if extent % self.num_outputs:
            raise ShapeError(f"the axis of extent {extent} does not split into {self.num_outputs} equal pieces")
        size = extent // self.num_outputs
        return [k * size for k in range(self.num_outputs + 1)]


@op("_split_v2", aliases=("_npi_split",))
class SplitV2(Pieces):
    """Pieces that begin at `indices`, the first at 0, or `sections` equal ones.  MXNet operator _split_v2."""

    parameter_order = ("indices", "axis", "squeeze_axis", "sections")

    indices: tuple[int, ...] = param(doc="where pieces begin")
    sections: int = param(0, low=0, high=MAX_PORTS, doc="number of equal pieces; 0: use indices")

    def n_pieces(self) -> int:
        return self.sections or len(self.indices)

    def n_equal_pieces(self) -> int | None:
        return self.sections or None

    def bounds(self, extent: int) -> list[int]:
        if self.sections:
            if extent % self.sections:
                raise ShapeError(f"the axis of extent {extent} does not split into {self.sections} equal pieces")
            return [k * (extent // self.sections) for k in range(self.sections + 1)]
        edges = [*self.indices, extent]
        if edges[0] != 0 or any(a > b for a, b in pairwise(edges)):
            raise ShapeError(f"indices {self.indices} do not cut an axis of extent {extent} into pieces")
        return edges
