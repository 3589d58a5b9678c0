"""Reductions over windows walk only what counts: conditions on a reduced axis become the bounds of its loop.

before:  sum[k<3](select(and(ge(i + k - 1, 0), lt(i + k - 1, 28)), x[min(max(i + k - 1, 0), 27)], 0))
after:   sum[k<3](x[i + k - 1]; bound(k; max(0, 1 - i), min(3, 29 - i)))

A bound is an expression of the axes around the reduction, so a loop over windows tests nothing in its body; the loads
need no clamps. This holds where all lanes of a vector have the same bounds: the plan sees to that.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np

from symc.loopir.expr import INDEX_DTYPE, Affine, Axis, Expr, const, free_axes, index_value, prim, select, walk
from symc.loopir.kernel import Store
from symc.loopir.prims import COMBINERS

_SIGNS = ("ge", "gt", "le", "lt")
_AFFINE = ("index", "const")


def bounded(store: Store) -> Store:
    """The store with conditions as bounds where that is possible, or the store itself."""
    new: dict[Expr, Expr] = {}
    for e in walk(store.value):
        args = tuple(new.get(a, a) for a in e.args)
        made = e if args == e.args else Expr(e.op, args, e.data, e.dtype)
        if e.op == "reduce":
            made = _with_bounds(made)
        if made is not e:
            new[e] = made
    value = new.get(store.value)
    return store if value is None else Store(store.buffer, store.index, value, store.axes, store.mode)


def _with_bounds(e: Expr) -> Expr:
    """A reduction whose body counts only under conditions, with those that are bounds taken out of it."""
    (body,), (combiner, axes) = e.args, e.data
    if body.op != "select" or body.args[2] is not _neutral(combiner, body.dtype):
        return e
    conditions = _conjuncts(body.args[0])
    bounds: dict[Axis, tuple[list[Expr], list[Expr]]] = {}
    left, used = [], []
    for c in conditions:
        found = _bound_of(c, axes)
        if found is None:
            left.append(c)
        else:
            axis, limit, is_high = found
            bounds.setdefault(axis, ([], []))[is_high].append(limit)
            used.append(c)
    if not bounds:
        return e
    value = _unclamped(body.args[1], used)
    if left:
        value = select(reduce(lambda x, y: prim("and", x, y), left), value, body.args[2])
    return Expr("reduce", (value, *(_bound(a, *limits) for a, limits in bounds.items())), e.data, e.dtype)


def _bound(axis: Axis, lows: list[Expr], highs: list[Expr]) -> Expr:
    """The span of an axis: from the largest of its lower limits to the smallest of its upper ones."""
    low = reduce(lambda x, y: prim("maximum", x, y), lows, const(0, INDEX_DTYPE))
    high = reduce(lambda x, y: prim("minimum", x, y), highs, const(axis.extent, INDEX_DTYPE))
    return Expr("bound", (low, prim("maximum", low, high)), axis, INDEX_DTYPE)


def _neutral(combiner: str, dtype: str) -> Expr:
    return const(COMBINERS[combiner][1](np.dtype(dtype)), dtype)


def _conjuncts(condition: Expr) -> list[Expr]:
    if condition.op != "and":
        return [condition]
    return [c for part in condition.args for c in _conjuncts(part)]


def _bound_of(condition: Expr, axes: tuple[Axis, ...]) -> tuple[Axis, Expr, bool] | None:
    """(axis, limit, whether it is the end or else the beginning) of a condition linear in one reduced axis."""
    if condition.op not in _SIGNS or condition.args[0].dtype != INDEX_DTYPE:
        return None
    left, right = (_linear(a, axes) for a in condition.args)
    if left is None or right is None:
        return None
    if condition.op in ("le", "lt"):
        left, right = right, left
    steps_of = [(a, left[0].get(a, 0) - right[0].get(a, 0)) for a in axes]
    moving = [(a, factor) for a, factor in steps_of if factor]
    if len(moving) != 1 or moving[0][0].extent == 1:
        return None
    ((axis, factor),) = moving
    rest = folded(prim("sub", left[1], right[1]))  # factor * axis + rest >= 0, or > 0
    if condition.op in ("gt", "lt"):
        rest = folded(rest - 1)
    steps = rest if abs(factor) == 1 else prim("floordiv", rest, abs(factor))
    return (axis, folded(-steps), False) if factor > 0 else (axis, folded(steps + 1), True)


def _linear(e: Expr, axes: tuple[Axis, ...]) -> tuple[dict[Axis, int], Expr] | None:
    """(factors of some axes, the rest) of an integer expression; None where it is not linear in them."""
    if e.op == "index":
        inside = {a: c for a, c in e.data.terms if a in axes}
        rest = Affine(tuple(t for t in e.data.terms if t[0] not in inside), e.data.constant)
        return inside, index_value(rest) if rest.terms else const(rest.constant, INDEX_DTYPE)
    if e.op in ("add", "sub"):
        x, y = (_linear(a, axes) for a in e.args)
        if x is None or y is None:
            return None
        sign = 1 if e.op == "add" else -1
        factors = {a: x[0].get(a, 0) + sign * y[0].get(a, 0) for a in (*x[0], *y[0])}
        return factors, folded(prim(e.op, x[1], y[1]))
    if e.op == "mul" and e.args[1].op == "const":
        x = _linear(e.args[0], axes)
        return x and ({a: f * e.args[1].data for a, f in x[0].items()}, folded(prim("mul", x[1], e.args[1])))
    return None if free_axes(e) & set(axes) else ({}, e)


def _unclamped(value: Expr, conditions: list[Expr]) -> Expr:
    """A value that is needed only under conditions, without the limits that these make superfluous."""
    known = {(c.op, c.args[0], c.args[1].data) for c in conditions if c.args[1].op == "const"}
    new: dict[Expr, Any] = {}

    def moved(x: Any) -> Any:
        return new.get(x, x) if isinstance(x, Expr) else x

    for e in walk(value):
        made = e
        if e.op == "load":
            index = tuple(moved(i) for i in e.data[1])
            if index != e.data[1]:
                made = Expr("load", (), (e.data[0], tuple(map(_as_affine, index))), e.dtype)
        elif any(a in new for a in e.args):
            made = Expr(e.op, tuple(moved(a) for a in e.args), e.data, e.dtype)
        if made.op in ("maximum", "minimum") and made.args[1].op == "const" and made.dtype == INDEX_DTYPE:
            x, limit = made.args[0], made.args[1].data
            if (("ge", x, limit) if made.op == "maximum" else ("lt", x, limit + 1)) in known:
                made = x
        if made is not e:
            new[e] = made
    return moved(value)


def _as_affine(index: Affine | Expr) -> Affine | Expr:
    if isinstance(index, Expr):
        index = folded(index)
        if index.op == "index":
            return index.data
    return index


def folded(e: Expr) -> Expr:
    """Sums, differences and multiples of index expressions as one."""
    if e.op not in ("add", "sub", "mul", "neg") or e.dtype != INDEX_DTYPE:
        return e
    args = tuple(folded(a) for a in e.args)
    total = _folded(e.op, *(a.data if a.op == "index" else Affine((), a.data) for a in args if a.op in _AFFINE))
    if total is None:
        return e if args == e.args else Expr(e.op, args, e.data, e.dtype)
    return index_value(total) if total.terms else const(total.constant, INDEX_DTYPE)


def _folded(op: str, *args: Affine) -> Affine | None:
    if op == "neg" and args:
        return -args[0]
    if len(args) < 2:
        return None
    x, y = args
    if op == "mul":
        return x * y.constant if not y.terms else y * x.constant if not x.terms else None
    return x + y if op == "add" else x - y
