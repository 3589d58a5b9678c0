"""Operators that give the same elements another shape: views of the same memory."""

from __future__ import annotations

import math
from collections.abc import Sequence

from symc.core.errors import ShapeError
from symc.core.shapes import FullShape, Shape, is_known, mx_text, normalize_axis, row_major_strides, size_of, unify
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import DTypes, Op, Shapes, check_rank, op, param
from symc.loopir.expr import Affine, Expr, IndexLike, const, index_value, prim
from symc.loopir.tensor import Lowering
from symc.ops.rules.movement import Index
from symc.ops.rules.shapes import result_shape
from symc.ops.rules.terms import Term, flows


def flat_index(index: Index, shape: FullShape) -> Affine | Expr:
    """The position of an element in row-major order; affine when the index is."""
    parts = [(i, s) for i, s, n in zip(index, row_major_strides(shape), shape) if n != 1]
    if all(not isinstance(i, Expr) for i, _ in parts):
        return sum((Affine.of(i) * s for i, s in parts), Affine())  # type: ignore[arg-type]
    total: Expr | None = None
    for i, s in parts:
        term = index_value(i) * s if s != 1 else index_value(i)
        total = term if total is None else total + term
    assert total is not None
    return total


def split_index(flat: IndexLike | Expr, shape: FullShape) -> list[IndexLike | Expr]:
    """The index of the element at a row-major position: quotients and remainders; shape has extents > 1 only."""
    if len(shape) == 1:
        return [flat]
    position, index = index_value(flat), []
    for k, s in enumerate(row_major_strides(shape)):
        part = prim("floordiv", position, s) if s != 1 else position
        index.append(prim("mod", part, shape[k]) if k else part)
    return list(index)


def reindex(index: Index, shape: FullShape, new_shape: FullShape) -> Index:
    """The index, in an array of `new_shape`, of the element at `index` of the same elements in `shape`.

    Runs of axes that hold the same elements in both are translated on their own, so that merging axes stays affine and
    only splitting them costs a division: (N, C, 4, 6) read as (N, C, 24) becomes n, c, 6 * h + w.
    """
    found: list[IndexLike | Expr] = [Affine()] * len(new_shape)
    old = [a for a, n in enumerate(shape) if n != 1]
    new = [a for a, n in enumerate(new_shape) if n != 1]
    while old and new:
        here, there = [old.pop(0)], [new.pop(0)]
        sizes = shape[here[0]], new_shape[there[0]]
        while sizes[0] != sizes[1]:
            if sizes[0] < sizes[1]:
                here.append(old.pop(0))
                sizes = sizes[0] * shape[here[-1]], sizes[1]
            else:
                there.append(new.pop(0))
                sizes = sizes[0], sizes[1] * new_shape[there[-1]]
        flat = flat_index([index[a] for a in here], tuple(shape[a] for a in here))
        for a, part in zip(there, split_index(flat, tuple(new_shape[a] for a in there))):
            found[a] = part
    return found


class View(Op):
    """The first input's memory under another shape."""

    is_view = True
    converts_gradient = True

    def simplify(self, g: GraphBuilder, x: Sequence[Value]) -> Sequence[Value] | None:
        source = x[0]
        while source.node.op is not None and source.node.op.is_view:
            source = source.node.inputs[0]
        if g.shape(source) == result_shape(self, g, x):
            return [source]
        return None if source == x[0] else [Term(g, source).reshape(result_shape(self, g, x)).value]

    def lower(self, t: Lowering) -> None:
        x, shape = t.ins[0], t.out_shapes[0]
        t.map(lambda *i: const(0, x.dtype) if 0 in shape else x(*reindex(i, shape, x.shape)))

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        nothing: list[Value | None] = [None] * (len(x) - 1)
        return [Term(g, flows(dy)).reshape(g.shape(x[0])).value, *nothing]


def fill_in(shape: Shape | None, other: Shape | None) -> Shape | None:
    """`shape` with its one unknown extent computed from the number of elements of `other`, where that is decided."""
    if shape is None or other is None or shape.count(None) != 1 or not is_known(other):
        return shape
    known = math.prod(n for n in shape if n is not None)
    total = size_of(other)  # type: ignore[arg-type]
    if known == 0 or total % known:
        raise ShapeError(f"{total} elements do not fit the shape {mx_text(shape)}")
    return tuple(total // known if n is None else n for n in shape)


def check_sizes(shape: Shape | None, other: Shape | None) -> None:
    """Raises ShapeError when two known shapes hold different numbers of elements."""
    if is_known(shape) and is_known(other) and size_of(shape) != size_of(other):  # type: ignore[arg-type]
        raise ShapeError(f"Target shape size is different to source. Target: {mx_text(other)} Source: {mx_text(shape)}")


@op("Reshape", aliases=("reshape",))
class Reshape(View):
    """The same elements in row-major order in another shape.  MXNet operator Reshape.

    In `shape`, a positive number is an extent; 0 copies the extent at this place; -1 (once) is inferred; -2 copies all
    remaining extents; -3 merges two; -4 splits one into the two numbers that follow, one of which may be -1.  With
    `reverse` the places are counted from the right.  `target_shape` with 0 as the inferred extent is the old form.
    """

    shape: tuple[int, ...] = param((), doc="the new shape, with the codes above")
    reverse: bool = param(False, doc="match the shape from the right")
    target_shape: tuple[int, ...] = param((), doc="deprecated: the new shape, 0 being inferred")
    keep_highest: bool = param(False, doc="deprecated: keep the first extent with target_shape")
    is_exact: bool = False

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (data,) = ins
        if data is None:
            return ins, outs
        wanted = self.wanted(data)
        out = unify(wanted, outs[0])
        data = fill_in(data, out)
        if wanted is not None and None in wanted:
            out = unify(self.wanted(data), out)  # type: ignore[arg-type]
        out = fill_in(out, data)
        check_sizes(data, out)
        return [data], [out]

    def wanted(self, data: Shape) -> Shape | None:
        """The new shape as the parameters give it; None when they leave it to the users."""
        if self.shape:
            step = -1 if self.reverse else 1
            return tuple(decode(self.shape[::step], data[::step]))[::step]
        if not self.target_shape:
            return () if self.is_exact else None
        extents = [n or None for n in self.target_shape]
        if self.keep_highest:
            check_rank(data, 1, None, "Reshape: data of which the first extent is kept")
            extents[0] = data[0]
        return fill_in(tuple(extents), data)


@op("_reshape_exactly")
class ReshapeExactly(View):
    """The same elements in just this shape: () is a scalar, 0 an extent."""

    is_internal = True

    shape: tuple[int, ...] = param(doc="the new shape")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        check_sizes(ins[0], self.shape)
        return ins, [unify(self.shape, outs[0])]


def decode(codes: Sequence[int], data: Shape) -> list[int | None]:
    """MXNet's shape codes applied to a partial shape; raises ShapeError when they do not fit."""
    out: list[int | None] = []
    inferred: int | None = None
    at, places = 0, iter(codes)

    def take() -> int | None:
        nonlocal at
        if at >= len(data):
            raise ShapeError(f"shape {tuple(codes)} needs more than the {len(data)} dimensions of {mx_text(data)}")
        at += 1
        return data[at - 1]

    for code in places:
        if code > 0:
            out.append(code)
            at += 1
        elif code == 0:
            out.append(take())
        elif code == -1:
            if inferred is not None:
                raise ShapeError(f"One and only one dim can be inferred, got shape {tuple(codes)}")
            inferred = len(out)
            out.append(None)
            at += 1
        elif code == -2:
            out.extend(data[at:])
            at = max(at, len(data))
        elif code == -3:
            first, second = take(), take()
            out.append(None if first is None or second is None else first * second)
        elif code == -4:
            out.extend(_split(take(), next(places, 0), next(places, 0), codes))
        else:
            raise ShapeError(f"{code} is no shape code, in shape {tuple(codes)}")
    if inferred is None:
        return out
    rest = [n for k, n in enumerate(out) if k != inferred]
    return out if None in rest else list(fill_in(tuple(out), data) or out)


def _split(extent: int | None, left: int, right: int, codes: Sequence[int]) -> tuple[int | None, int | None]:
    """The two extents of code -4."""
    if left == right == -1 or 0 in (left, right) or min(left, right) < -1:
        raise ShapeError(f"-4 must be followed by two extents, one of which may be -1, in shape {tuple(codes)}")
    if extent is None:
        return (left if left > 0 else None), (right if right > 0 else None)
    left = extent // right if left == -1 else left
    right = extent // left if right == -1 and left else right
    if left * right != extent:
        raise ShapeError(f"Split dims {left}, {right} do not divide original dim {extent}")
    return left, right


@op("Flatten", aliases=("flatten", "_npx_batch_flatten"))
class Flatten(View):
    """(N, ...) as (N, M).  MXNet operator Flatten."""

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (data,) = ins
        if data is None:
            return ins, outs
        check_rank(data, 1, None, f"{self.name}: data")
        rest = None if None in data[1:] else math.prod(data[1:])  # type: ignore[arg-type]
        out = unify((data[0], rest), outs[0])
        assert out is not None
        return [unify(data, (out[0], *data[1:]))], [out]


@op("expand_dims", aliases=("_npi_expand_dims",))
class ExpandDims(View):
    """A new axis of extent 1 at `axis`.  MXNet operator expand_dims."""

    axis: int = param(doc="where the new axis is in the result; negative counts from its end")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (data,), (out,) = ins, outs
        if data is None and out is None:
            return ins, outs
        rank = len(out) if out is not None else len(data or ()) + 1
        at = normalize_axis(self.axis, rank)
        if out is not None:
            data = unify(data, out[:at] + out[at + 1 :])
        assert data is not None
        return [data], [unify((*data[:at], 1, *data[at:]), out)]


@op("squeeze")
class Squeeze(View):
    """The data without the axes named, or without all of extent 1.  MXNet operator squeeze."""

    axis: tuple[int, ...] | None = param(None, doc="axes to drop, each of extent 1; None drops all such")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (data,) = ins
        if data is None or (self.axis is None and None in data):
            return ins, outs
        if self.axis is None:
            dropped = [a for a, n in enumerate(data) if n == 1]
        else:
            dropped = [normalize_axis(a, len(data)) for a in self.axis]
        if any(data[a] not in (1, None) for a in dropped) or len(set(dropped)) != len(dropped):
            raise ShapeError(f"cannot squeeze axes {dropped} of {mx_text(data)}: each must be of extent 1, named once")
        return ins, [unify(tuple(n for a, n in enumerate(data) if a not in dropped) or (1,), outs[0])]


@op("reshape_like", aliases=("_npx_reshape_like",))
class ReshapeLike(View):
    """lhs with its axes lhs_begin..lhs_end replaced by the axes rhs_begin..rhs_end of rhs; by default all of them.

    MXNet operator reshape_like.
    """

    arguments = ("lhs", "rhs")
    lhs_begin: int | None = param(None, doc="first axis of lhs to replace")
    lhs_end: int | None = param(None, doc="axis after the last to replace")
    rhs_begin: int | None = param(None, doc="first axis of rhs to take")
    rhs_end: int | None = param(None, doc="axis after the last to take")

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        dtype = ins[0] or outs[0]
        return [dtype, ins[1]], [dtype]

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        lhs, rhs = ins
        if lhs is None or rhs is None:
            return ins, outs
        taken = rhs[_span(self.rhs_begin, self.rhs_end, len(rhs))]
        span = _span(self.lhs_begin, self.lhs_end, len(lhs))
        out = unify((*lhs[: span.start], *taken, *lhs[span.stop :]), outs[0])
        check_sizes(lhs, out)
        return ins, [out]


def _span(begin: int | None, end: int | None, rank: int) -> slice:
    """The axes begin..end, negative ones counted from the end."""
    first = 0 if begin is None else begin + rank * (begin < 0)
    last = rank if end is None else end + rank * (end < 0)
    if not 0 <= first <= last <= rank:
        raise ShapeError(f"axes {begin} to {end} do not exist in a shape of {rank} dimensions")
    return slice(first, last)
