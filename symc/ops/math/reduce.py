"""Operators that combine the elements along axes."""

from __future__ import annotations

import math

from symc.core.dtypes import is_float
from symc.ir.op import DTypes, declares_parameters, op, param
from symc.loopir.expr import Expr, cast, prim, select
from symc.ops.rules.numbers import number
from symc.ops.rules.reduction import Reduction
from symc.ops.rules.terms import Term


@declares_parameters
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

    converts_gradient = True

    def pullback(self, d: Term, x: Term, y: Term) -> Term:
        return d.broadcast_to(x.shape)


@op("_square_sum")
class SquareSum(ExcludingReduction):
    """The sum of squares over axes.  MXNet operator _square_sum, which has it for row_sparse arrays alone."""

    def element(self, x: Expr) -> Expr:
        return x * x

    def pullback(self, d: Term, x: Term, y: Term) -> Term:
        return d.broadcast_to(x.shape) * x * 2


@op("mean", aliases=("_sparse_mean",))
class Mean(ExcludingReduction):
    """The sum over axes divided by the number of elements; of integers, truncated, of bool as it is.

    MXNet operator mean.
    """

    converts_gradient = True

    def finish(self, total: Expr, n: int) -> Expr:
        return total if total.dtype == "bool" else total / number(n, total.dtype)

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

    needs_elements = ("data",)

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

    Squares are summed in float64, which no float32 can overflow: MXNet scales them instead; of integers MXNet's norm is
    often smaller, as it divides them for that.
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
