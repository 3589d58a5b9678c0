"""A contraction as a loop nest: each result is a sum that threads add up as it is defined.

before:  forward: y[n, o, q] = sum over c, tap of x[n, c, q * stride + tap * dilate - pad] * w[o, c, tap], then stores
after:   for n, o, q: stores, with @acc = sum[c, tap](select(is inside, x[n, c, clamped] * w[o, c, tap], 0))

It computes every contraction in any memory order; what is large has a kernel of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from functools import reduce as fold

from symc.core.dtypes import compute_dtype
from symc.loopir.expr import Affine, Axis, Expr, cast, const, index_value, load, prim, reduce, select, substitute
from symc.loopir.kernel import ACCUMULATOR, Contraction, Nest, Store, buffer_of, loads_of

Index = Affine | Expr


def nest_of(c: Contraction) -> Nest:
    """The nest that computes what the contraction does; its right operand must lie as its buffer says."""
    return Nest(c.buffers, tuple(with_sum(store, partial(_sum, c)) for store in c.stores))


def with_sum(store: Store, sum_of: Callable[[Sequence[Axis], str, int], Expr]) -> Store:
    """A store of a contraction with an expression, of its axes, a dtype and a section, for the finished sum."""
    finished = {e.dtype: None for e in loads_of(store.value) if e.data[0] == ACCUMULATOR}
    value = store.value
    for dtype in finished:

        def total(*index: Affine, dtype: str = dtype) -> Expr:
            (section,) = index or (Affine(),)
            return sum_of(store.axes, dtype, section.constant)

        value = substitute(value, ACCUMULATOR, total)
    return replace(store, value=value)


def _sum(c: Contraction, axes: Sequence[Axis], dtype: str, section: int) -> Expr:
    """The sum of one element of the result, whose axes are [stack,] image or output, channel, *positions."""
    stack = [Affine.of(axes[0])] if c.stack is not None else []
    first, second, *rest = axes[len(stack) :]
    parts = {"forward": _forward, "data_gradient": _data_gradient, "weight_gradient": _weight_gradient}
    channel = Affine.of(second) + section * (c.out_channels // c.sections)
    reduced, lhs, rhs, conditions = parts[c.kind](c, Affine.of(first), channel, [Affine.of(a) for a in rest])
    operands = [_operand(c, name, [*stack, *index], dtype) for name, index in ((c.lhs, lhs), (c.rhs, rhs))]
    product = prim("mul", *operands)
    if conditions:
        is_inside = fold(lambda x, y: prim("and", x, y), conditions)
        product = select(is_inside, product, const(0, dtype))
    return reduce("sum", tuple(reduced), product)


Parts = tuple[list[Axis], list[Index], list[Index], list[Expr]]  # reduced axes, indices of lhs and rhs, conditions


def _forward(c: Contraction, image: Affine, output: Affine, at: list[Affine]) -> Parts:
    channel, taps = Axis("channel", c.in_channels // c.groups), _axes("tap", c.window.kernel)
    positions = [
        q * stride + tap * dilate - pad
        for q, stride, tap, dilate, pad in zip(at, c.window.stride, taps, c.window.dilate, c.window.pad)
    ]
    source, conditions = _inside(positions, c.window.in_extents)
    first = _group_start(output, c.out_channels // c.groups, channel.extent, c.groups)
    lhs = [image, _plus(first, channel), *source]
    return [channel, *taps], lhs, [output, Affine.of(channel), *map(Affine.of, taps)], conditions


def _data_gradient(c: Contraction, image: Affine, channel: Affine, at: list[Affine]) -> Parts:
    w, n_channels, n_outputs = c.window, c.in_channels // c.groups, c.out_channels // c.groups
    output, taps = Axis("output", n_outputs), _axes("tap", w.kernel)
    positions: list[Index] = []
    conditions: list[Expr] = []
    for p, stride, tap, dilate, pad in zip(at, w.stride, taps, w.dilate, w.pad):
        reached = p + pad - tap * dilate
        if stride == 1:
            positions.append(reached)
            continue
        step = const(stride, "int64")
        conditions.append(prim("eq", prim("mod", index_value(reached), step), const(0, "int64")))
        positions.append(prim("floordiv", index_value(reached), step))
    source, inside = _inside(positions, w.out_extents)
    output_at = _plus(_group_start(channel, n_channels, n_outputs, c.groups), output)
    within = channel if c.groups == 1 else prim("mod", index_value(channel), const(n_channels, "int64"))
    lhs = [image, output_at, *source]
    return [output, *taps], lhs, [output_at, within, *map(Affine.of, taps)], [*inside, *conditions]


def _weight_gradient(c: Contraction, output: Affine, channel: Affine, taps: list[Affine]) -> Parts:
    w, image, at = c.window, Axis("image", c.batch), _axes("at", c.window.out_extents)
    positions = [
        q * stride + tap * dilate - pad for q, stride, tap, dilate, pad in zip(at, w.stride, taps, w.dilate, w.pad)
    ]
    source, conditions = _inside(positions, w.in_extents)
    first = _group_start(output, c.out_channels // c.groups, c.in_channels // c.groups, c.groups)
    lhs = [Affine.of(image), _plus(first, channel), *source]
    return [image, *at], lhs, [Affine.of(image), output, *map(Affine.of, at)], conditions


def _axes(name: str, extents: Sequence[int]) -> list[Axis]:
    return [Axis(f"{name}{k}", n) for k, n in enumerate(extents)]


def _operand(c: Contraction, name: str, index: Sequence[Index], dtype: str) -> Expr:
    stored = compute_dtype(buffer_of(c, name).dtype)
    return cast(load(name, tuple(index), stored), dtype)


def _inside(positions: Sequence[Index], extents: Sequence[int]) -> tuple[list[Index], list[Expr]]:
    """Positions limited to their axes, and the conditions under which they lie there anyway."""
    found: list[Index] = []
    conditions: list[Expr] = []
    for position, extent in zip(positions, extents):
        if isinstance(position, Affine) and _reach(position) == (0, extent):
            found.append(position)
            continue
        at = index_value(position)
        conditions += [prim("ge", at, const(0, "int64")), prim("lt", at, const(extent, "int64"))]
        found.append(prim("minimum", prim("maximum", at, const(0, "int64")), const(extent - 1, "int64")))
    return found, conditions


def _reach(position: Affine) -> tuple[int, int]:
    """(0, end) where all values of a position are in 0..end-1, as far as that is an axis of its own."""
    if len(position.terms) == 1 and position.constant == 0 and position.terms[0][1] == 1:
        return 0, position.terms[0][0].extent
    return 0, -1


def _group_start(number: Affine, n_of_group: int, n_others: int, groups: int) -> Index:
    """The first of `n_others` channels that belong to the group of a channel, of which a group has `n_of_group`."""
    if groups == 1:
        return Affine((), 0)
    if n_of_group == 1:
        return number * n_others
    group = prim("floordiv", index_value(number), const(n_of_group, "int64"))
    return prim("mul", group, const(n_others, "int64"))


def _plus(start: Index, axis: Axis | Affine) -> Index:
    if isinstance(start, Affine):
        return start + axis
    return prim("add", start, index_value(axis))
