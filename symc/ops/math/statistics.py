"""Numbers about whole arrays: moments, sums of squares, whether all is finite or close, histograms."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

from symc.core.dtypes import is_float
from symc.core.errors import ShapeError
from symc.core.params import MAX_PORTS
from symc.core.shapes import unify
from symc.ir.op import DTypes, Op, Shapes, check_rank, op, param, same_dtype
from symc.loopir.expr import Expr, IndexLike, cast, const, index_value, prim, select
from symc.loopir.tensor import Lowering
from symc.ops.rules.composite import Composite
from symc.ops.rules.numbers import number, single
from symc.ops.rules.shapes import unify_all
from symc.ops.rules.terms import Term

from .reduce import Mean


@op("moments")
class Moments(Composite):
    """Mean and variance (not corrected) over some axes, which must be given.  MXNet operator moments."""

    results = ("output0", "output1")

    axes: tuple[int, ...] | None = param(None, doc="the axes to reduce")
    keepdims: bool = param(False, doc="whether reduced axes stay with extent 1")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        if not self.axes:
            raise ShapeError(
                "Empty axes is not supported, if you would like to do global moments, please pass all axes to axes "
                "argument"
            )
        _, (shape,) = Mean(axis=self.axes, keepdims=self.keepdims).infer_shape(ins, [None])
        return ins, [unify(shape, o) for o in outs]

    def compose(self, *x: Term) -> Sequence[Term]:
        data = x[0].wide()
        mean = data("mean", axis=self.axes, keepdims=True)
        distance = data - mean
        found = [mean, (distance * distance)("mean", axis=self.axes, keepdims=True)]
        (shape,) = self.infer_shape([data.shape], [None, None])[1][:1]
        return [t.reshape(shape).cast(x[0].dtype) for t in found]  # type: ignore[arg-type]


class OfArrays(Op):
    """Numbers about whole arrays of any shapes and one dtype, in float32; no gradient."""

    is_differentiable = False

    def n_numbers(self, n_arrays: int) -> int:
        """How many numbers there are."""
        return 1

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return ins, [unify((self.n_numbers(len(ins)),), outs[0])]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        dtype = same_dtype(ins)
        return [dtype] * len(ins), [same_dtype(("float32", outs[0]))]


@op("all_finite")
class AllFinite(OfArrays):
    """1 when no element is infinite or NaN, else 0: (1,) float32.  MXNet operator all_finite."""

    init_output: bool = param(True, doc="ignored: the output is always written anew")

    def lower(self, t: Lowering) -> None:
        def finite(x: Expr) -> Expr:
            one = const(1, "float32")
            return select(prim("lt", prim("abs", x), math.inf), one, const(0, "float32")) if is_float(x.dtype) else one

        def element(*i: IndexLike) -> Expr:
            found = [t.reduce("min", x.shape, lambda *k, x=x: finite(x(*k))) for x in t.ins]
            return functools.reduce(lambda a, b: prim("minimum", a, b), found)

        t.map(element)


@op("multi_all_finite")
class MultiAllFinite(AllFinite):
    """1 when no element of any array is infinite or NaN, else 0: (1,) float32.  MXNet operator multi_all_finite."""

    parameter_order = ("num_arrays",)
    variadic = "num_arrays"
    part = "array_"

    num_arrays: int = param(1, low=1, high=MAX_PORTS, doc="number of inputs")


@op("multi_sum_sq")
class MultiSumSq(OfArrays):
    """The sum of the squares of every array: (num_arrays,) float32.  MXNet operator multi_sum_sq."""

    variadic = "num_arrays"
    part = "array_"

    num_arrays: int = param(low=1, high=MAX_PORTS, doc="number of inputs")

    def n_numbers(self, n_arrays: int) -> int:
        return n_arrays

    def lower(self, t: Lowering) -> None:
        def square(x: Expr) -> Expr:
            return cast(x, "float32") * cast(x, "float32")

        for k, x in enumerate(t.ins):
            total = t.reduce("sum", x.shape, lambda *i, x=x: square(x(*i)))
            t.region((1,), lambda i, k=k: (k,), lambda i, total=total: total)


@op("_contrib_allclose")
class AllClose(Op):
    """1 when |a - b| <= atol + rtol * |b| everywhere, else 0: a scalar, uint8.

    Equal infinities are close; NaN is close to NaN with equal_nan.  MXNet operator _contrib_allclose.
    """

    arguments = ("a", "b")
    is_differentiable = False

    rtol: float = param(1e-05, doc="relative tolerance")
    atol: float = param(1e-08, doc="absolute tolerance")
    equal_nan: bool = param(True, doc="whether NaN equals NaN")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        shape = unify_all(ins)
        return [shape, shape], [()]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        dtype = same_dtype(ins)
        return [dtype, dtype], ["uint8"]

    def lower(self, t: Lowering) -> None:
        a, b = t.ins
        work = a.dtype if is_float(a.dtype) else "float32"
        rtol, atol = (number(single(value), work) for value in (self.rtol, self.atol))

        def close(*i: IndexLike) -> Expr:
            x, y = cast(a(*i), work), cast(b(*i), work)
            found = prim("or", prim("abs", x - y) <= atol + rtol * prim("abs", y), prim("eq", x, y))
            if self.equal_nan:
                found = prim("or", found, prim("and", prim("ne", x, x), prim("ne", y, y)))
            return select(found, const(1, "uint8"), const(0, "uint8"))

        t.map(lambda *i: t.reduce("min", a.shape, close))


@op("_histogram", aliases=("_npi_histogram",))
class Histogram(Op):
    """How many elements lie in each bin (int64), and the bounds of the bins; a bin has its lower bound, the last both.

    bin_cnt bins of equal width over `range`, or bins between the numbers of a second input.  Elements outside and NaN
    are not counted.  MXNet operator _histogram.
    """

    arguments = ("data", "bins")
    results = ("output0", "output1")
    is_differentiable = False

    bin_cnt: int | None = param(None, doc="number of bins; needs range")
    range: tuple[float, ...] | None = param(None, doc="lower and upper bound of all bins")

    def argument_names(self) -> tuple[str, ...]:
        return self.arguments if self.bin_cnt is None else self.arguments[:1]

    @property
    def bounds(self) -> tuple[float, float]:
        """The outermost bounds."""
        assert self.range is not None
        low, high = self.range
        return (low - 0.5, high + 0.5) if low == high else (low, high)

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        if (self.bin_cnt is None) != (self.range is None):
            raise ShapeError("cnt and range should both or neither specified")
        if self.range is not None and (len(self.range) != 2 or self.range[0] > self.range[1]):
            raise ShapeError(f"range {self.range} must be two numbers, the smaller one first")
        if self.bin_cnt is None:
            check_rank(ins[1], 1, 1, "histogram: bins")
            bins = unify(ins[1], outs[1])
            n = None if bins is None else bins[0]
            if n is not None and n < 2:
                raise ShapeError(f"number of bounds should be >= 2, got {n}")
            return [ins[0], bins], [unify((n and n - 1,), outs[0]), bins]
        return ins, [unify((self.bin_cnt,), outs[0]), unify((self.bin_cnt + 1,), outs[1])]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        dtype = same_dtype((*ins, outs[1]))
        return [dtype] * len(ins), [same_dtype(("int64", outs[0])), dtype]

    def lower(self, t: Lowering) -> None:
        data, dtype = t.ins[0], t.out_dtype(1)
        (n_bins,) = t.out_shapes[0]

        def bound(k: IndexLike | Expr) -> Expr:
            if self.bin_cnt is None:
                return t.ins[1](k)
            low, high = (number(b, "float64") for b in self.bounds)
            at = cast(index_value(k), "float64")
            return cast((high * at + (n_bins - at) * low) / n_bins, dtype)

        def bin_of(x: Expr) -> Expr:
            """The bin of an element inside, anything in range for others."""
            if self.bin_cnt is None:
                above = t.reduce("sum", (n_bins,), lambda k: cast(x >= bound(k), "int64"))
                return prim("maximum", above - 1, 0)
            low, high = (number(b, "float64") for b in self.bounds)
            scaled = cast((cast(x, "float64") - low) * n_bins / (high - low), "int64")
            rough = prim("maximum", prim("minimum", scaled, n_bins - 1), 0)
            down = prim("maximum", rough - cast(x < bound(rough), "int64"), 0)
            return prim("minimum", down + cast(x >= bound(down + 1), "int64"), n_bins - 1)

        def counts(*i: IndexLike) -> Expr:
            x = data(*i)
            if self.bin_cnt is None:
                return cast(prim("and", x >= bound(0), x <= bound(n_bins)), "int64")
            low, high = (number(b, "float64") for b in self.bounds)  # not as the data's dtype holds them
            return cast(prim("and", cast(x, "float64") >= low, cast(x, "float64") <= high), "int64")

        t.region((n_bins,), lambda i: (i,), lambda i: const(0, "int64"))
        t.region(data.shape, lambda *i: (bin_of(data(*i)),), counts, mode="add")
        t.region((n_bins + 1,), lambda i: (i,), lambda i: bound(i), output=1)
