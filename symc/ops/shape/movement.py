"""Operators that reorder, broadcast, join and repeat elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symc.core.errors import ShapeError
from symc.core.params import MAX_PORTS
from symc.core.shapes import FullShape, Shape, mx_text, normalize_axis, size_of, unify, unify_extent
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import DTypes, Op, Shapes, op, param, same_dtype
from symc.loopir.expr import Expr, IndexLike, const
from symc.loopir.tensor import Lowering
from symc.ops.rules.movement import Index, Movement, repeated
from symc.ops.rules.shapes import result_shape, unify_all
from symc.ops.rules.terms import Term, flows, values

from .reshape import flat_index

# -- permutations ---------------------------------------------------------------------------------------------------


class Permutation(Movement):
    """Axes in another order: axis k of the output is axis order[k] of the data."""

    def order(self, rank: int) -> tuple[int, ...]:
        """Which input axis each output axis is."""
        raise NotImplementedError

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        known = ins[0] if ins[0] is not None else outs[0]
        if known is None:
            return ins, outs
        order = self.order(len(known))
        out = unify(None if ins[0] is None else tuple(ins[0][a] for a in order), outs[0])
        assert out is not None
        return [tuple(out[order.index(a)] for a in range(len(order)))], [out]

    def source(self, index: Index, shape: FullShape) -> Index:
        order = self.order(len(shape))
        return [index[order.index(a)] for a in range(len(order))]

    def keeps_order(self, shape: FullShape) -> bool:
        moved = [a for a in self.order(len(shape)) if shape[a] != 1]
        return moved == sorted(moved)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        order = self.order(len(g.shape(x[0])))
        return [g("transpose", flows(dy), axes=tuple(order.index(a) for a in range(len(order))))]


@op("transpose")
class Transpose(Permutation):
    """The axes in the order given, or reversed.  MXNet operator transpose."""

    converts_gradient = True

    axes: tuple[int, ...] = param((), doc="the data's axis at each place; () reverses")

    def order(self, rank: int) -> tuple[int, ...]:
        order = tuple(normalize_axis(a, rank) for a in self.axes) or tuple(reversed(range(rank)))
        if sorted(order) != list(range(rank)):
            raise ShapeError(f"axes {self.axes} are no permutation of {rank} dimensions")
        return order


@op("SwapAxis", aliases=("swapaxes", "_npi_swapaxes"))
class SwapAxis(Permutation):
    """Two axes exchanged.  MXNet operator SwapAxis."""

    dim1: int = param(0, doc="one axis")
    dim2: int = param(0, doc="the other")

    def order(self, rank: int) -> tuple[int, ...]:
        order = list(range(rank))
        a, b = normalize_axis(self.dim1, rank), normalize_axis(self.dim2, rank)
        order[a], order[b] = order[b], order[a]
        return tuple(order)


@op("reverse", aliases=("flip",))
class Reverse(Movement):
    """The elements along some axes from last to first.  MXNet operator reverse."""

    axis: tuple[int, ...] = param(doc="the axes to reverse; one named twice is turned back")

    def source(self, index: Index, shape: FullShape) -> Index:
        turned: set[int] = set()
        for a in self.axis:
            turned ^= {normalize_axis(a, len(shape))}
        return [(n - 1) - i if a in turned else i for a, (i, n) in enumerate(zip(index, shape))]

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        return [g("reverse", flows(dy), axis=self.axis)]


# -- broadcasting ---------------------------------------------------------------------------------------------------


class Spread(Movement):
    """Axes of extent 1 repeated."""

    def simplify(self, g: GraphBuilder, x: Sequence[Value]) -> Sequence[Value] | None:
        return [x[0]] if result_shape(self, g, x) == g.shape(x[0]) else None

    def source(self, index: Index, shape: FullShape) -> Index:
        return repeated(index, shape)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        return values([Term(g, flows(dy)).sum_to(g.shape(x[0])), *[None] * (len(x) - 1)])


def spread_shape(data: Shape, target: dict[int, int | None]) -> Shape:
    """The shape with some axes of extent 1 repeated to other extents; raises ShapeError for other axes."""
    for a, n in target.items():
        if n is not None and data[a] not in (1, n, None):
            raise ShapeError(f"Broadcasting axis {a} of {mx_text(data)} to {n}: its size must be 1")
    return tuple(target.get(a) or (n if a not in target or n != 1 else None) for a, n in enumerate(data))


@op("broadcast_axis", aliases=("broadcast_axes",))
class BroadcastAxis(Spread):
    """Some axes of extent 1 repeated to the sizes given.  MXNet operator broadcast_axis."""

    axis: tuple[int, ...] = param((), doc="the axes to repeat")
    size: tuple[int, ...] = param((), doc="their extents in the output")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (data,) = ins
        if len(self.axis) != len(self.size):
            raise ShapeError(f"axis {self.axis} and size {self.size} differ in length")
        if data is None:
            return ins, outs
        target: dict[int, int | None] = {normalize_axis(a, len(data)): n for a, n in zip(self.axis, self.size)}
        return ins, [unify(spread_shape(data, target), outs[0])]


@op("broadcast_to")
class BroadcastTo(Spread):
    """Axes of extent 1 repeated up to a shape of equal rank; 0 keeps an extent.  MXNet operator broadcast_to."""

    shape: tuple[int, ...] = param((), doc="the shape of the output; 0 keeps")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (data,) = ins
        if data is None:
            return ins, outs
        if len(data) != len(self.shape):
            raise ShapeError(f"Operand of shape {mx_text(data)} cannot be broadcasted to {mx_text(self.shape)}")
        target: dict[int, int | None] = {a: n for a, n in enumerate(self.shape) if n}
        return ins, [unify(spread_shape(data, target), outs[0])]


@op("broadcast_like")
class BroadcastLike(Spread):
    """Axes of lhs of extent 1 repeated to the extents of rhs, on all axes or on pairs of them.

    MXNet operator broadcast_like.
    """

    arguments = ("lhs", "rhs")
    lhs_axes: tuple[int, ...] | None = param(None, doc="axes of lhs to repeat")
    rhs_axes: tuple[int, ...] | None = param(None, doc="axes of rhs that give the extents")

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        dtype = same_dtype([ins[0], *outs])
        return [dtype, ins[1]], [dtype]

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        lhs, rhs = ins
        if lhs is None or rhs is None:
            return ins, outs
        mine, others = self.lhs_axes, self.rhs_axes
        if mine is None and others is None:
            mine = others = tuple(range(max(len(lhs), len(rhs))))
        if not mine or not others or len(mine) != len(others):
            raise ShapeError(f"lhs_axes {mine} and rhs_axes {others} must be given together, in pairs")
        pairs = {normalize_axis(a, len(lhs)): rhs[normalize_axis(b, len(rhs))] for a, b in zip(mine, others)}
        return ins, [unify(spread_shape(lhs, pairs), outs[0])]


# -- joining --------------------------------------------------------------------------------------------------------


@op("Concat", aliases=("concat", "_sparse_concat"))
class Concat(Op):
    """The inputs one after the other along an axis.  MXNet operator Concat."""

    variadic = "num_args"
    is_assembly = True
    num_args: int = param(low=1, high=MAX_PORTS, doc="number of inputs")
    dim: int = param(1, doc="the axis along which they are joined")

    def simplify(self, g: GraphBuilder, x: Sequence[Value]) -> Sequence[Value] | None:
        return [x[0]] if len(x) == 1 else None

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        known = next((s for s in (*ins, *outs) if s is not None), None)
        if known is None:
            return ins, outs
        at = normalize_axis(self.dim, len(known))

        def beside(s: Shape | None) -> Shape | None:
            return None if s is None else (*s[:at], None, *s[at + 1 :])

        common = unify_all([beside(s) for s in (*ins, *outs)])
        assert common is not None
        sizes = [None if s is None else s[at] for s in ins]
        total = None if outs[0] is None else outs[0][at]
        known_sizes = [n for n in sizes if n is not None]
        if len(known_sizes) == len(sizes):
            total = unify_extent(total, sum(known_sizes), "extent along the joined axis")
        elif len(known_sizes) == len(sizes) - 1 and total is not None:
            sizes = [total - sum(known_sizes) if n is None else n for n in sizes]
        shapes = [(*common[:at], n, *common[at + 1 :]) for n in (*sizes, total)]
        return list(shapes[:-1]), [shapes[-1]]

    def lower(self, t: Lowering) -> None:
        at, begin = normalize_axis(self.dim, len(t.out_shapes[0])), 0
        for x in t.ins:
            t.region(x.shape, lambda *i, b=begin: (*i[:at], i[at] + b, *i[at + 1 :]), x)
            begin += x.shape[at]

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        d, begin, found = flows(dy), 0, []
        at = normalize_axis(self.dim, len(g.shape(d)))
        for v in x:
            end = begin + g.shape(v)[at]
            part = g("slice_axis", d, axis=at, begin=begin, end=end) if end > begin else g.like(v, 0)
            found.append(part)
            begin = end
        return found


@op("stack")
class Stack(Op):
    """The inputs, of one shape, side by side along a new axis.  MXNet operator stack."""

    parameter_order = ("axis", "num_args")

    variadic = "num_args"
    num_args: int = param(low=1, high=MAX_PORTS, doc="number of inputs")
    axis: int = param(0, doc="where the new axis is in the result")

    def simplify(self, g: GraphBuilder, x: Sequence[Value]) -> Sequence[Value] | None:
        return [Term(g, x[0]).reshape(result_shape(self, g, x)).value] if len(x) == 1 else None

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        shape, (out,) = unify_all(ins), outs
        if shape is None and out is None:
            return ins, outs
        at = normalize_axis(self.axis, len(shape) + 1 if shape is not None else len(out or ()))
        if out is not None:
            shape = unify(shape, out[:at] + out[at + 1 :])
        assert shape is not None
        return [shape] * len(ins), [unify((*shape[:at], len(ins), *shape[at:]), out)]

    def lower(self, t: Lowering) -> None:
        at = normalize_axis(self.axis, len(t.out_shapes[0]))
        for k, x in enumerate(t.ins):
            t.region(x.shape, lambda *i, k=k: (*i[:at], k, *i[at:]), x)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        d = Term(g, flows(dy))
        at, shape = normalize_axis(self.axis, len(d.shape)), g.shape(x[0])
        return values([d("slice_axis", axis=at, begin=k, end=k + 1).reshape(shape) for k in range(len(x))])


# -- repeating ------------------------------------------------------------------------------------------------------


@op("tile", aliases=("_npi_tile",))
class Tile(Op):
    """The whole array `reps` times along each axis; shorter of shape and reps is extended by 1 on the left.

    MXNet operator tile.
    """

    reps: tuple[int, ...] = param(doc="how often along each axis")

    def aligned(self, shape: Shape) -> tuple[Any, tuple[int, ...]]:
        """Shape and repetitions with equal lengths."""
        rank = max(len(shape), len(self.reps))
        return (1,) * (rank - len(shape)) + shape, (1,) * (rank - len(self.reps)) + self.reps

    def simplify(self, g: GraphBuilder, x: Sequence[Value]) -> Sequence[Value] | None:
        return [Term(g, x[0]).reshape(result_shape(self, g, x)).value] if set(self.reps) <= {1} else None

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        if ins[0] is None:
            return ins, outs
        if any(r < 0 for r in self.reps):
            raise ShapeError(f"reps {self.reps} must not be negative")
        out = tuple(None if n is None else n * r for n, r in zip(*self.aligned(ins[0])))
        return ins, [unify(out, outs[0])]

    def lower(self, t: Lowering) -> None:
        x = t.ins[0]
        shape, reps = self.aligned(x.shape)
        rank, lead = len(shape), len(shape) - x.rank
        t.region(
            (*reps, *shape),
            lambda *i: [r * n + k for r, k, n in zip(i[:rank], i[rank:], shape)],
            lambda *i: x(*i[rank + lead :]),
        )

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        data = Term(g, x[0])
        shape, reps = self.aligned(data.shape)
        if 0 in reps:
            return [g.like(x[0], 0)]
        pairs = tuple(n for pair in zip(reps, shape) for n in pair)
        whole = Term(g, flows(dy)).reshape(pairs).sum([2 * a for a, r in enumerate(reps) if r > 1])
        return [whole.reshape(data.shape).value]


@op("repeat", aliases=("_np_repeat",))
class Repeat(Op):
    """Each element `repeats` times in a row along an axis, or in the flattened array.  MXNet operator repeat."""

    repeats: int = param(low=0, doc="how often; MXNet's shape of the result for 0 is (0,)")
    axis: int | None = param(None, doc="the axis; None flattens first")

    def simplify(self, g: GraphBuilder, x: Sequence[Value]) -> Sequence[Value] | None:
        return [Term(g, x[0]).reshape(result_shape(self, g, x)).value] if self.repeats == 1 else None

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (data,) = ins
        if data is None or (self.axis is None and None in data):
            return ins, outs
        if self.repeats == 0:
            return ins, [unify((0,), outs[0])]
        if self.axis is None:
            return ins, [unify((size_of(data) * self.repeats,), outs[0])]  # type: ignore[arg-type]
        at = normalize_axis(self.axis, len(data))
        return ins, [unify(tuple(n and n * (self.repeats if a == at else 1) for a, n in enumerate(data)), outs[0])]

    def lower(self, t: Lowering) -> None:
        x, times = t.ins[0], self.repeats
        if times == 0:
            t.map(lambda i: const(0, x.dtype))
            return

        def target(*i: IndexLike) -> Sequence[IndexLike | Expr]:
            *index, k = i
            if self.axis is None:
                return [flat_index(index, x.shape) * times + k]  # type: ignore[operator]
            at = normalize_axis(self.axis, x.rank)
            return [n * times + k if a == at else n for a, n in enumerate(index)]

        t.region((*x.shape, times), target, lambda *i: x(*i[:-1]))

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        data = Term(g, x[0])
        if self.repeats == 0:
            return [data.zeros().value]
        at = len(data.shape) - 1 if self.axis is None else normalize_axis(self.axis, len(data.shape))
        apart = (*data.shape[: at + 1], self.repeats, *data.shape[at + 1 :])
        return [Term(g, flows(dy)).reshape(apart).sum([at + 1]).reshape(data.shape).value]
