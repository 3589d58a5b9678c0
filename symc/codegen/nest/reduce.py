"""The arithmetic of reductions: neutral elements, combinations in a fixed order, sums that stay accurate."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from llvmlite import ir

from symc.codegen.llvm.emit import Emitter, primitive
from symc.codegen.llvm.lanes import I32, I64, Lanes
from symc.codegen.llvm.loops import Values, loop, minimum
from symc.core.dtypes import is_float
from symc.loopir.expr import Expr
from symc.loopir.prims import COMBINERS

from .form import SUM_BLOCK


def combine(v: Lanes, reduce: Expr, x: ir.Value, y: ir.Value) -> ir.Value:
    """Two partial results as one; a NaN of either is kept."""
    if reduce.data[0] in ("max", "min") and is_float(reduce.dtype):
        # An instruction that gives x beside a NaN, and a choice that does not wait for x.
        further = v.b.select(v.b.fcmp_ordered(">" if reduce.data[0] == "max" else "<", y, x), y, x)
        return v.b.select(v.is_nan(y), v.like(y, float("nan")), further)
    return primitive(v, COMBINERS[reduce.data[0]][0], reduce.dtype, [x, y], [reduce.dtype] * 2)


def add_to(emitter: Emitter, reduce: Expr, total: ir.Value, mask: ir.Value | None = None) -> ir.Value:
    """A partial result with one more element, in the lanes of a mask; a product is added and rounded in one step."""
    v, body = emitter.lanes, reduce.args[0]
    if reduce.data[0] == "sum" and body.op == "mul" and body.dtype in ("float32", "float64"):
        x, y = map(emitter.value, body.args)
        further = v.fma(x, y, total)
        return further if mask is None else v.b.select(mask, further, total)
    value = emitter.value(body)
    return combine(v, reduce, total, value if mask is None else v.b.select(mask, value, neutral(v, reduce)))


def combine_all(v: Lanes, reduces: Sequence[Expr], left: Values, right: Values) -> Values:
    """Partial results of several reductions, as many of each."""
    parts = len(left) // len(reduces)
    return [combine(v, reduces[k // parts], x, y) for k, (x, y) in enumerate(zip(left, right))]


def neutral(v: Lanes, reduce: Expr) -> ir.Value:
    """What leaves a partial result as it is."""
    combiner = reduce.data[0]
    if reduce.dtype == "bool":
        return v.const(combiner in ("min", "prod"), "bool")
    value = COMBINERS[combiner][1](np.dtype(reduce.dtype))
    return v.const(float(value) if reduce.dtype.startswith("float") else int(value), reduce.dtype)


def tree(v: Lanes, reduce: Expr, values: Values) -> ir.Value:
    """All values combined pairwise, always in the same order."""
    while len(values) > 1:
        paired = [combine(v, reduce, x, y) for x, y in zip(values[::2], values[1::2])]
        values = paired + values[len(paired) * 2 :]
    return values[0]


def across_lanes(v: Lanes, reduce: Expr, x: ir.Value) -> ir.Value:
    """The lanes of one vector combined: upper half with lower half until one is left."""
    n, b = v.n, v.b
    while n > 1:
        half = v.resized(n // 2)
        blank = ir.Constant(x.type, ir.Undefined)
        parts = []
        for first in (0, n // 2):
            mask = ir.Constant(ir.VectorType(I32, n // 2), [I32(first + k) for k in range(n // 2)])
            part = b.shuffle_vector(x, blank, mask)
            parts.append(part if n > 2 else b.extract_element(part, I32(0)))
        x, n = combine(half, reduce, *parts), n // 2
    return x


def cascade(
    b: ir.IRBuilder,
    first: ir.Value,
    stop: ir.Value,
    step: int,
    start: Values,
    join: Callable[[Values, Values], Values],
    add_block: Callable[[ir.Value, ir.Value], Values],
) -> Values:
    """Blocks of SUM_BLOCK steps into groups of SUM_BLOCK blocks into the total."""

    def level(first: ir.Value, stop: ir.Value, sizes: tuple[int, ...]) -> Values:
        if not sizes:
            return add_block(first, stop)

        def once(at: ir.Value, totals: Values) -> Values:
            end = minimum(b, b.add(at, I64(sizes[0])), stop)
            return join(totals, level(at, end, sizes[1:]))

        return loop(b, first, stop, start, once, step=sizes[0])

    return level(first, stop, (SUM_BLOCK**2 * step, SUM_BLOCK * step))
