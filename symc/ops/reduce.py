"""Operators that combine the elements along axes."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from symc.core.dtypes import is_float
from symc.core.errors import ShapeError
from symc.core.op import DTypes, Op, Shapes, op, param, same_dtype
from symc.core.shapes import unify
from symc.loopir.expr import Expr, IndexLike, cast, const, prim, select

from .composite import Composite
from .rules import Reduction, number
from .terms import Term

if TYPE_CHECKING:
    from symc.loopir.tensor import Lowering


@dataclass(frozen=True, kw_only=True)
class ExcludingReduction(Reduction):
    """A reduction that may name the axes to keep instead."""

    exclude: bool = param(False, doc="reduce all axes but those given")

    def axes(self, rank: int) -> tuple[int, ...]:
        given = super().axes(rank)
        return tuple(a for a in range(rank) if a not in given) if self.exclude and self.axis else given


def where_number(x: Expr, otherwise: float) -> Expr:
    """x, or a number where x is NaN."""
    return select(prim("ne", x, x), otherwise, x) if is_float(x.dtype) else x


@op("sum", aliases=("sum_axis", "_sparse_sum"))
class Sum(ExcludingReduction):
    """The sum over axes.  MXNet operator sum."""

    def pullback(self, d: Term, x: Term, y: Term) -> Term:
        return d.broadcast_to(x.shape)


@op("mean", aliases=("_sparse_mean",))
class Mean(ExcludingReduction):
    """The sum over axes divided by the number of elements; of integers, truncated.  MXNet operator mean."""

    def finish(self, total: Expr, n: int) -> Expr:
        return total / number(n, total.dtype)

    def pullback(self, d: Term, x: Term, y: Term) -> Term:
        n = math.prod(x.shape[a] for a in self.axes(len(x.shape)))
        return (d / n).broadcast_to(x.shape)


@op("prod")
class Prod(ExcludingReduction):
    """The product over axes; the gradient y / x is NaN where x is 0.  MXNet operator prod."""

    combiner = "prod"

    def pullback(self, d: Term, x: Term, y: Term) -> Term:
        return y / x * d


@op("nansum")
class NanSum(Sum):
    """The sum over axes, NaN counting as 0.  MXNet operator nansum."""

    def element(self, x: Expr) -> Expr:
        return where_number(x, 0)

    def pullback(self, d: Term, x: Term, y: Term) -> Term:
        return x.equals(x) * d


@op("nanprod")
class NanProd(Prod):
    """The product over axes, NaN counting as 1.  MXNet operator nanprod."""

    def element(self, x: Expr) -> Expr:
        return where_number(x, 1)

    def pullback(self, d: Term, x: Term, y: Term) -> Term:
        slope = y / x * d
        return x.equals(x).choose(slope, slope.zeros())


@op("max", aliases=("max_axis",))
class Max(ExcludingReduction):
    """The largest element over axes; every element equal to it gets the whole gradient.  MXNet operator max."""

    combiner = "max"

    def pullback(self, d: Term, x: Term, y: Term) -> Term:
        return x.equals(y) * d


@op("min", aliases=("min_axis",))
class Min(Max):
    """The smallest element over axes; every element equal to it gets the whole gradient.  MXNet operator min."""

    combiner = "min"


@op("norm", aliases=("_sparse_norm",))
class Norm(Reduction):
    """The sum of absolute values (ord 1) or the root of the sum of squares (ord 2) over axes.  MXNet operator norm.

    Squares are summed in float64, which no float32 can overflow: MXNet scales them instead.
    """

    parameter_order = ("ord", "axis", "out_dtype", "keepdims")

    ord: int = param(2, low=1, high=2, doc="1: sum of absolute values; 2: Euclidean")
    out_dtype: str | None = param(
        None, choices=("float16", "float32", "float64", "int32", "int64", "int8"), dtype=True, doc="dtype of the output"
    )

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return ins, [self.out_dtype or ins[0]]

    def element(self, x: Expr) -> Expr:
        if self.ord == 1:
            return prim("abs", x)
        wide = cast(x, "float64")
        return wide * wide

    def finish(self, total: Expr, n: int) -> Expr:
        return total if self.ord == 1 else prim("sqrt", total)

    def pullback(self, d: Term, x: Term, y: Term) -> Term:
        return d * x("sign") if self.ord == 1 else x / y * d


# -- statistics of whole arrays -------------------------------------------------------------------------------------


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
        data = x[0]
        mean = data("mean", axis=self.axes, keepdims=True)
        distance = data - mean
        found = [mean, (distance * distance)("mean", axis=self.axes, keepdims=True)]
        (shape,) = self.infer_shape([data.shape], [None, None])[1][:1]
        return [t.reshape(shape) for t in found]  # type: ignore[arg-type]


class OfArrays(Op):
    """Numbers about whole arrays of any shapes and one dtype, in float32; no gradient."""

    def n_numbers(self, n_arrays: int) -> int:
        """How many numbers there are."""
        return 1

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return ins, [unify((self.n_numbers(len(ins)),), outs[0])]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        dtype = same_dtype(ins)
        return [dtype] * len(ins), [same_dtype(("float32", outs[0]))]

    def refuses_gradient(self, argument: str, req: str) -> bool:
        return True


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

    num_arrays: int = param(1, low=1, doc="number of inputs")


@op("multi_sum_sq")
class MultiSumSq(OfArrays):
    """The sum of the squares of every array: (num_arrays,) float32.  MXNet operator multi_sum_sq."""

    variadic = "num_arrays"

    num_arrays: int = param(low=1, doc="number of inputs")

    def n_numbers(self, n_arrays: int) -> int:
        return n_arrays

    def lower(self, t: Lowering) -> None:
        def square(x: Expr) -> Expr:
            return cast(x, "float32") * cast(x, "float32")

        for k, x in enumerate(t.ins):
            total = t.reduce("sum", x.shape, lambda *i, x=x: square(x(*i)))
            t.region((1,), lambda i, k=k: (k,), lambda i, total=total: total)
