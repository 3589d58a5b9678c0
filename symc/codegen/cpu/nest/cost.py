"""What a form costs when lanes run along some of its axes: relative numbers, which only rank the choices.

Extents influence them, but are not part of the code.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from symc.codegen.cpu.abilities import LIBM
from symc.codegen.llvm import maths
from symc.codegen.nest.form import Access, Form
from symc.core.shapes import size_of
from symc.loopir.expr import Expr, walk

# Work per element relative to an addition with its loads and store; measured 0.3, 0.5 to 1 and 3 to 15 ns.
_SIMPLE, DIVISION, _POLYNOMIAL, _LIBRARY = 0.25, 1.0, 2.5, 20.0
_GATHER = 1.2  # of one element against one vector
REDUCE_OVERHEAD = 12.0  # start and horizontal end of one row reduction, in vectors


def cost_of(form: Form, lanes: int, vectors: set[str], exprs: Iterable[Expr] | None = None) -> float:
    """Vector operations when the lanes run along `vectors` wherever an expression depends on one of them."""
    total = 0.0
    for e in form.every if exprs is None else exprs:
        if e.op in ("const", "param"):
            continue
        if e.op == "load":
            total += _access_cost(form, form.loads[e], form.free(e), lanes, vectors)
        else:
            total += operation_cost(e) * _vectors(form, _walked(form, e), lanes, vectors)
    if exprs is None:
        for s in form.stores:
            total += _access_cost(form, s.access, frozenset(s.axes), lanes, vectors)
    return total


def _walked(form: Form, e: Expr) -> frozenset[str]:
    """The axes for each of whose positions an expression is evaluated."""
    return form.free(e).union(form.reduce_axes.get(e, ()))


def _access_cost(form: Form, access: Access, free: frozenset[str], lanes: int, vectors: set[str]) -> float:
    """Loads or stores over `free`: of whole vectors, or element by element where neighbours lie apart."""
    lane = _lane_axis(form, free, vectors)
    is_gather = lane is not None and (
        any(lane in form.free(e) for _, e in access.computed)
        or (access.stride(lane) != 0 and not access.is_contiguous(lane))
    )
    if is_gather:
        return _GATHER * trips(form, free)
    return _vectors(form, free, lanes, vectors) * 0.5


def _lane_axis(form: Form, free: frozenset[str], vectors: set[str]) -> str | None:
    """The axis of the lanes where `free` are walked: the form's first one, whatever the order of the set."""
    return next((axis for axis in form.extents if axis in vectors and axis in free), None)


def _vectors(form: Form, free: frozenset[str], lanes: int, vectors: set[str]) -> float:
    """How many vectors (or scalars) cover the iterations over `free`."""
    lane = _lane_axis(form, free, vectors)
    if lane is None:
        return float(trips(form, free))
    extent = max(1, form.extents[lane])
    return trips(form, free) / extent * math.ceil(extent / lanes)


def trips(form: Form, axes: Iterable[str]) -> int:
    """How many iterations loops over the axes take; an axis without any counts as one."""
    return size_of(tuple(max(1, form.extents[a]) for a in axes))


def operation_cost(e: Expr) -> float:
    """Work of one element, in units of a simple operation with its share of memory traffic."""
    if e.op in maths.FLOAT32 and e.dtype == "float32":
        return _POLYNOMIAL
    if e.op in LIBM or e.op in ("mod", "floordiv"):
        return _LIBRARY
    if e.op in ("div", "sqrt", "round"):
        return DIVISION
    return 0.0 if e.op in ("const", "param") else _SIMPLE


def weight_of(form: Form) -> float:
    """Operations in one copy of the body, which is what unrolling multiplies."""
    return sum(operation_cost(e) for e in form.every if e.op not in ("load", "index"))


def chained_polynomials(form: Form) -> int:
    """The most of them of which each waits for the one before."""
    longest: dict[Expr, int] = {}
    for e in walk(*(s.value for s in form.stores)):
        is_polynomial = e.op in maths.FLOAT32 and e.dtype == "float32"
        longest[e] = max((longest[a] for a in e.args), default=0) + is_polynomial
    return max(longest.values())


def total_work(form: Form) -> float:
    """Elements of simple work in the whole form."""
    total = sum(_SIMPLE * trips(form, s.axes) for s in form.stores)
    for e in form.every:
        total += operation_cost(e) * trips(form, _walked(form, e))
    return total
