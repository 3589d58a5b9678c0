"""The softmax family: softmax, softmin, log_softmax and SoftmaxActivation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import ClassVar

from symc.core.errors import ShapeError
from symc.core.shapes import normalize_axis, unify
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import DTypes, Op, Shapes, check_rank, declares_parameters, op, param, same_dtype
from symc.loopir.expr import Expr, IndexLike, cast, index_value, prim, rounded, select
from symc.loopir.tensor import Lowering
from symc.ops.rules.floats import FloatData, require_float
from symc.ops.rules.numbers import number
from symc.ops.rules.terms import Term, flows


def replaced(
    index: Sequence[IndexLike | Expr], axes: Sequence[int], k: Sequence[IndexLike | Expr]
) -> list[IndexLike | Expr]:
    """The index with its components along some axes replaced."""
    changed = list(index)
    for a, component in zip(axes, k):
        changed[a] = component
    return changed


def log_weights(
    t: Lowering, x: Callable[..., Expr], extents: Sequence[int], axes: Sequence[int], index: Sequence[IndexLike | Expr]
) -> tuple[Expr, Expr]:
    """x - max at an index, and the sum of exp(x - max), both over some axes: softmax is exp(first) / second."""
    top = t.reduce("max", extents, lambda *k: x(*replaced(index, axes, k)))
    total = t.reduce("sum", extents, lambda *k: prim("exp", x(*replaced(index, axes, k)) - top))
    return x(*index) - top, total


@declares_parameters
class _Softmax(Op):
    """What softmax, softmin and log_softmax share."""

    negated: ClassVar[bool] = False
    is_log: ClassVar[bool] = False
    converts_gradient = True

    axis: int = param(-1, doc="the axis that sums to 1")
    temperature: float | None = param(None, doc="divides the data; 1 by default")
    dtype: str | None = param(None, choices=("float16", "float32", "float64"), dtype=True, doc="dtype of the output")
    use_length: bool | None = param(False, doc="take the number of valid elements along the axis as second input")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        shape = unify(ins[0], outs[0])
        if shape is not None:
            normalize_axis(self.axis, len(shape))
        if self.use_length and len(ins) < 2:
            raise ShapeError(f"{self.name} with use_length is not supported: it has no input for the length")
        return [shape, *ins[1:]], [shape]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        require_float(self, ins[0])
        if self.dtype is not None:
            return ins, [same_dtype((self.dtype, outs[0]))]
        dtype = same_dtype((ins[0], outs[0]))
        return [dtype, *ins[1:]], [dtype]

    @property
    def divisor(self) -> float:
        """The temperature."""
        return 1.0 if self.temperature is None else self.temperature

    @property
    def factor(self) -> float:
        """What the data is multiplied with: the sign over the temperature, of which 0 makes everything NaN."""
        return (-1.0 if self.negated else 1.0) * (1 / self.divisor if self.divisor else math.inf)

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value] | None:
        """A wider result of float16 data still has MXNet's float16 rounding."""
        if g.dtype(x[0]) != "float16" or self.dtype in (None, "float16"):
            return None
        axis = normalize_axis(self.axis, len(g.shape(x[0])))
        y = g(
            "_float16_softmax",
            x[0],
            axis=axis,
            is_negated=self.negated,
            is_log=self.is_log,
            temperature=self.divisor,
        )
        return [Term(g, y).cast(self.dtype).value]

    def lower(self, t: Lowering) -> None:
        x, out = t.ins[0], t.out_dtype()
        axis = normalize_axis(self.axis, x.rank)
        work = x.dtype

        def scaled(*i: IndexLike) -> Expr:
            value = cast(x(*i), work)
            return value if self.factor == 1 else value * number(self.factor, work)

        def valid(*i: IndexLike | Expr) -> Expr:
            return index_value(i[axis]) < cast(t.ins[1](*i[:axis], *i[axis + 1 :]), "int64")

        def counted(*i: IndexLike) -> Expr:
            return select(valid(*i), scaled(*i), -math.inf) if self.use_length else scaled(*i)

        def element(*i: IndexLike) -> Expr:
            difference, total = log_weights(t, counted, (x.shape[axis],), (axis,), i)
            if self.is_log:
                return cast(difference - prim("log", total), out)
            y = cast(prim("exp", difference) * (1.0 / total), out)
            return select(valid(*i), y, 0.0) if self.use_length else y

        t.map(element)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        if dy[0] is None:
            return [None] * len(x)
        axis = (normalize_axis(self.axis, len(g.shape(x[0]))),)
        d = g("_softmax_gradient", dy[0], y[0], axis=axis, factor=self.factor, is_log=self.is_log)
        return [Term(g, d).cast(g.dtype(x[0])).value, *[None] * (len(x) - 1)]


@op("_float16_softmax")
class Float16Softmax(Op):
    """softmax, or its logarithm, of float16 data as MXNet computes it: every step rounds to float16, also the running
    sum (over at most LONGEST elements; the sum of longer rows rounds once).
    """

    LONGEST: ClassVar[int] = 32
    is_internal = True

    axis: int = param(doc="the axis that sums to 1, not negative")
    is_negated: bool = param(doc="whether the data changes sign first")
    is_log: bool = param(doc="whether the logarithm is wanted")
    temperature: float = param(doc="divides the data")

    def lower(self, t: Lowering) -> None:
        x = t.ins[0]
        extent = x.shape[self.axis]

        def element(*i: IndexLike) -> Expr:
            def signed(k: IndexLike | Expr) -> Expr:
                value = x(*replaced(i, (self.axis,), (k,)))
                return -value if self.is_negated else value

            def scaled(k: IndexLike | Expr) -> Expr:
                shifted = rounded(signed(k) - top)
                return shifted if self.temperature == 1 else rounded(shifted / number(self.temperature, x.dtype))

            top = t.reduce("max", (extent,), signed)
            if extent <= self.LONGEST:
                total = number(0, x.dtype)
                for k in range(extent):
                    total = rounded(total + prim("exp", scaled(k)))
            else:
                total = rounded(t.reduce("sum", (extent,), lambda k: prim("exp", scaled(k))))
            here = scaled(i[self.axis])
            # Rounded here as well as by a store: when fused into its user there is no store.
            return rounded(here - prim("log", total) if self.is_log else prim("exp", here) / total)

        t.map(element)


@op("softmax", aliases=("_npx_softmax",))
class Softmax(_Softmax):
    """exp(data / temperature) / sum of exp(data / temperature) along an axis.

    With use_length, length (data's shape without the axis) says how many elements count; the others give 0.
    Source: MXNet operator softmax.
    """

    arguments = ("data", "length")

    def argument_names(self) -> tuple[str, ...]:
        return self.arguments if self.use_length else self.arguments[:1]

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        ins, outs = super().infer_shape(ins, outs)
        if not self.use_length or ins[0] is None:
            return ins, outs
        axis = normalize_axis(self.axis, len(ins[0]))
        return [ins[0], unify(ins[1], ins[0][:axis] + ins[0][axis + 1 :])], outs


@op("softmin")
class Softmin(_Softmax):
    """softmax of -data.  Source: MXNet operator softmin."""

    negated = True


@op("log_softmax", aliases=("_npx_log_softmax",))
class LogSoftmax(_Softmax):
    """The logarithm of softmax.  Source: MXNet operator log_softmax."""

    is_log = True


@op("SoftmaxActivation")
class SoftmaxActivation(FloatData):
    """softmax over the last axis (mode instance) or over axis 1 (mode channel).

    Its gradient is that of a softmax over axis 1 in both modes, which is right for data (N, C).
    Source: MXNet operator SoftmaxActivation.
    """

    mode: str = param("instance", choices=("channel", "instance"), doc="what sums to 1")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        check_rank(ins[0], 3 if self.mode == "channel" else 2, None, f"SoftmaxActivation: data of mode {self.mode}")
        return super().infer_shape(ins, outs)

    def lower(self, t: Lowering) -> None:
        softmax_over(t, (1 if self.mode == "channel" else t.ins[0].rank - 1,))

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        if dy[0] is None:
            return [None]
        return [g("_softmax_gradient", dy[0], y[0], axis=(1,))]


def softmax_over(t: Lowering, axes: Sequence[int]) -> None:
    """output 0 = softmax of input 0 over some axes."""
    x = t.ins[0]

    def element(*i: IndexLike) -> Expr:
        difference, total = log_weights(t, x, [x.shape[a] for a in axes], axes, i)
        return prim("exp", difference) * (1.0 / total)

    t.map(element)


@op("_softmax_gradient")
class SoftmaxGradient(Op):
    """y * (dy - sum of dy * y) * factor over some axes, y being a softmax; (dy - exp(y) * sum of dy) * factor for its
    logarithm.
    """

    arguments = ("dy", "output")
    is_internal = True

    axis: tuple[int, ...] = param(doc="the axes that sum to 1")
    factor: float = param(1.0, doc="what the data had been multiplied with")
    is_log: bool = param(False, doc="whether output is the logarithm of the softmax")

    def lower(self, t: Lowering) -> None:
        dy, y = t.ins
        extents = [y.shape[a] for a in self.axis]

        def element(*i: IndexLike) -> Expr:
            def term(*k: IndexLike) -> Expr:
                at = replaced(i, self.axis, k)
                return dy(*at) if self.is_log else dy(*at) * y(*at)

            total = t.reduce("sum", extents, term)
            d = dy(*i) - prim("exp", y(*i)) * total if self.is_log else y(*i) * (dy(*i) - total)
            return d if self.factor == 1 else d * number(self.factor, d.dtype)

        t.map(element)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        d, head, out = Term(g, flows(dy)) * self.factor, Term(g, x[0]), Term(g, x[1])
        if self.is_log:
            flow = (d * out("exp")).sum(self.axis)
            return [(d - flow).value, (d * out("exp") * head.sum(self.axis) * -1).value]
        flow = d - (d * out).sum(self.axis)
        return [(out * flow).value, (head * flow - d * (head * out).sum(self.axis)).value]
