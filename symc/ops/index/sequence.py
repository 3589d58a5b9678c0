"""Operators on batches of sequences of different lengths, and running sums."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from symc.core.dtypes import compute_dtype
from symc.core.errors import ShapeError
from symc.core.shapes import Shape, is_known, normalize_axis, size_of, unify, unify_extent
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import DTypes, Op, Shapes, declares_parameters, op, param, same_dtype
from symc.loopir.expr import Expr, IndexLike, cast, index_value, prim, select
from symc.loopir.scan import Scan
from symc.loopir.tensor import Lowering
from symc.ops.rules.numbers import number, single
from symc.ops.rules.terms import Term, flows, values


@declares_parameters
class SequenceOp(Op):
    """data (T, N, ...), or (N, T, ...) with axis 1; sequence_length (N,) only with use_sequence_length.

    Lengths truncate to integers.  The gradient of the lengths is 0.
    """

    arguments = ("data", "sequence_length")
    axes: ClassVar[tuple[int, ...]] = (0, 1)  # which may be that of time

    use_sequence_length: bool = param(False, doc="whether sequences have lengths of their own")
    axis: int = param(0, doc="the axis of time")

    def argument_names(self) -> tuple[str, ...]:
        return self.arguments if self.use_sequence_length else self.arguments[:1]

    def out_shape(self, data: Shape) -> Shape:
        """The shape of the output."""
        return data

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        data = ins[0]
        if data is not None and len(data) < 2:
            raise ShapeError(f"The data array must be of rank 2 or greater, got {len(data)} dimensions.")
        if self.axis not in self.axes:
            raise ShapeError(f"Current implementation expects axis to be {' or '.join(map(str, self.axes))}.")
        if data is None:
            return ins, outs
        lengths = [unify(s, (data[1 - self.axis],)) for s in ins[1:]]
        if lengths and lengths[0] is not None and self.axis < 2:
            n = unify_extent(data[1 - self.axis], lengths[0][0])
            data = (n, *data[1:]) if self.axis == 1 else (data[0], n, *data[2:])
        return [data, *lengths], [unify(self.out_shape(data), outs[0])]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        dtype = same_dtype((ins[0], outs[0]))
        return [dtype, *(d or dtype for d in ins[1:])], [dtype]

    def length(self, t: Lowering, batch: IndexLike) -> Expr | int:
        """How many steps a sequence has."""
        return cast(t.ins[1](batch), "int64") if self.use_sequence_length else t.ins[0].shape[self.axis]


@op("SequenceMask", aliases=("_npx_sequence_mask",))
class SequenceMask(SequenceOp):
    """data with `value` in place of every step at or after the sequence's length.  MXNet operator SequenceMask."""

    value: float = param(0.0, doc="what stands behind the end of a sequence")

    def lower(self, t: Lowering) -> None:
        data = t.ins[0]

        def element(*i: IndexLike) -> Expr:
            if not self.use_sequence_length:
                return data(*i)
            inside = prim("lt", index_value(i[self.axis]), self.length(t, i[1 - self.axis]))
            return select(inside, data(*i), number(single(self.value), data.dtype))

        t.map(element)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        masked = g("SequenceMask", flows(dy), *x[1:], use_sequence_length=self.use_sequence_length, axis=self.axis)
        return [masked, *[None] * (len(x) - 1)]


@op("SequenceLast")
class SequenceLast(SequenceOp):
    """The last step of every sequence: data without the axis of time.  MXNet operator SequenceLast."""

    needs_elements = ("data",)

    def out_shape(self, data: Shape) -> Shape:
        return data[: self.axis] + data[self.axis + 1 :]

    def at(self, t: Lowering, steps: int, batch: IndexLike) -> Expr | int:
        """The last step; a length out of range counts as the nearest that exists."""
        if not self.use_sequence_length:
            return steps - 1
        return prim("maximum", prim("minimum", cast(t.ins[1](batch), "int64") - 1, steps - 1), 0)

    def lower(self, t: Lowering) -> None:
        data = t.ins[0]

        def element(batch: IndexLike, *rest: IndexLike) -> Expr:
            last = self.at(t, data.shape[self.axis], batch)
            return data(*((batch, last) if self.axis == 1 else (last, batch)), *rest)

        t.map(element)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        params = {"use_sequence_length": self.use_sequence_length, "axis": self.axis}
        placed = g("_sequence_last_gradient", flows(dy), *x[1:], steps=g.shape(x[0])[self.axis], **params)
        return [placed, *[None] * (len(x) - 1)]


@op("_sequence_last_gradient")
class SequenceLastGradient(SequenceLast):
    """dy at the last step of every sequence, 0 at the others."""

    is_internal = True

    steps: int = param(doc="extent of the axis of time")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        dy = ins[0]
        assert dy is not None
        return ins, [(*dy[: self.axis], self.steps, *dy[self.axis :])]

    def lower(self, t: Lowering) -> None:
        dy = t.ins[0]

        def element(*i: IndexLike) -> Expr:
            last = self.at(t, self.steps, i[1 - self.axis])
            return select(prim("eq", index_value(i[self.axis]), last), dy(i[1 - self.axis], *i[2:]), 0)

        t.map(element)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        params = {name: getattr(self, name) for name in SequenceLast.params()}
        return [g("SequenceLast", flows(dy), *x[1:], **params), *[None] * (len(x) - 1)]


@op("SequenceReverse")
class SequenceReverse(SequenceOp):
    """Every sequence from its last step to its first; what follows its end stays.  MXNet operator SequenceReverse."""

    axes = (0,)

    def lower(self, t: Lowering) -> None:
        data = t.ins[0]
        steps = data.shape[0]

        def element(step: IndexLike, *rest: IndexLike) -> Expr:
            if not self.use_sequence_length:
                return data((steps - 1) - step, *rest)
            length = prim("minimum", cast(t.ins[1](rest[0]), "int64"), steps)
            at = index_value(step)
            return data(select(prim("lt", at, length), length - 1 - at, at), *rest)

        t.map(element)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        """Reversing twice changes nothing."""
        reversed_ = g("SequenceReverse", flows(dy), *x[1:], use_sequence_length=self.use_sequence_length)
        return [reversed_, *[None] * (len(x) - 1)]


# -- running sums ---------------------------------------------------------------------------------------------------

SUM_DTYPES = ("float16", "float32", "float64", "int32", "int64", "int8")


@op("_np_cumsum", aliases=("cumsum",))
class CumSum(Op):
    """Sums of the elements up to each place along an axis, computed in the output's dtype (float16 in float32).

    Without axis, of the flattened data.  Source: MXNet operator _np_cumsum.
    """

    converts_gradient = True

    arguments = ("a",)

    axis: int | None = param(None, doc="the axis to sum along; None flattens first")
    dtype: str | None = param(None, choices=SUM_DTYPES, dtype=True, doc="dtype of the sums; None keeps the data's")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        if self.axis is not None:
            shape = unify(ins[0], outs[0])
            if shape is not None:
                normalize_axis(self.axis, len(shape))
            return [shape], [shape]
        if not is_known(ins[0]):
            return ins, outs
        return ins, [unify((size_of(ins[0]),), outs[0])]  # type: ignore[arg-type]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        wanted = self.dtype or ("int64" if ins[0] == "bool" else ins[0])
        return ins, [same_dtype((wanted, outs[0]))]

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        data = Term(g, x[0])
        (dtype,) = self.infer_dtype([data.dtype], [None])[1]
        assert dtype is not None
        return values([_running_sum(data.cast(dtype), self.axis)])  # type: ignore[return-value]

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        """An element is part of every sum from its place on; as in MXNet the data's dtype adds up."""
        data = Term(g, x[0])
        head = Term(g, flows(dy)).cast(data.dtype)
        axis = self.axis or 0
        total = _running_sum(head("reverse", axis=(axis,)), axis)("reverse", axis=(axis,))
        return values([total.reshape(data.shape)])


def _running_sum(x: Term, axis: int | None) -> Term:
    if axis is None:
        x, axis = x.reshape((size_of(x.shape),)), 0
    return x.cast(compute_dtype(x.dtype))("_scan", axis=normalize_axis(axis, len(x.shape))).cast(x.dtype)


@op("_scan")
class RunningSum(Op):
    """The sums up to each place along an axis."""

    is_internal = True

    axis: int = param(doc="the axis, not negative")

    def lower(self, t: Lowering) -> None:
        t.template(Scan(self.axis))

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        turned = Term(g, flows(dy))("reverse", axis=(self.axis,))
        return [turned("_scan", axis=self.axis)("reverse", axis=(self.axis,)).value]
