"""Pad and its adjoint: an array surrounded by a constant, by its border or by its reflection.

Both are the same list of regions, read in opposite directions:

    edge, (0, 0, 1, 2):   y[i, 1 + j] = x[i, j];  y[i, 0 + j] = x[i, 0];  y[i, n + 1 + j] = x[i, n - 1]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import NamedTuple

from symc.core.errors import ShapeError
from symc.core.shapes import FullShape, mx_text, unify
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import Op, Shapes, declares_parameters, op, param
from symc.loopir.expr import Affine, Expr, IndexLike, index_value, prim, select
from symc.loopir.tensor import Lowering
from symc.ops.rules.accumulation import Accumulating
from symc.ops.rules.numbers import number
from symc.ops.rules.terms import flows


class Part(NamedTuple):
    """`extent` positions of an axis of the padded array, and where their elements come from."""

    extent: int
    target: Callable[[IndexLike], IndexLike]
    source: Callable[[IndexLike], IndexLike]


def pad_parts(mode: str, extent: int, before: int, after: int) -> list[Part]:
    """The parts of one padded axis: the middle, then the borders that the mode fills from the data."""
    middle = Part(extent, lambda i: i + before, lambda i: i)
    if mode == "constant":
        return [middle]
    last = extent - 1
    if mode == "edge":
        left = Part(before, lambda i: i, lambda i: Affine())
        right = Part(after, lambda i: i + (before + extent), lambda i: Affine((), last))
    else:
        left = Part(before, lambda i: i, lambda i: before - i)
        right = Part(after, lambda i: i + (before + extent), lambda i: (last - 1) - i)
    return [middle, *(p for p in (left, right) if p.extent)]


@declares_parameters
class Padding(Op):
    """What Pad and its adjoint share."""

    mode: str = param(choices=("constant", "edge", "reflect"), doc="what the border holds")
    pad_width: tuple[int, ...] = param(low=0, doc="before and after each axis, in turn")

    def widths(self) -> list[tuple[int, int]]:
        """(before, after) of each axis."""
        return list(zip(self.pad_width[::2], self.pad_width[1::2]))

    def parts(self, shape: FullShape) -> list[tuple[Part, ...]]:
        """The regions of the padded array, a part of every axis each; the one that is the data itself comes first."""
        return list(product(*(pad_parts(self.mode, n, *w) for n, w in zip(shape, self.widths()))))


@op("Pad", aliases=("pad",))
class Pad(Padding):
    """The data surrounded by a constant, by its border elements, or by its reflection.  MXNet operator Pad."""

    constant_value: float = param(0.0, doc="the constant")

    def simplify(self, g: GraphBuilder, x: Sequence[Value]) -> Sequence[Value] | None:
        return None if any(self.pad_width) else [x[0]]

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (data,) = ins
        if data is None:
            return ins, outs
        if len(self.pad_width) != 2 * len(data):
            raise ShapeError(f"pad_width {self.pad_width} must hold two numbers for each axis of {mx_text(data)}")
        for n, (before, after) in zip(data, self.widths()):
            if self.mode == "reflect" and n is not None and max(before, after) >= max(n, 1):
                raise ShapeError(f"reflecting {max(before, after)} elements needs more than the {n} of {mx_text(data)}")
        if self.mode == "edge" and any(n == 0 and max(w) for n, w in zip(data, self.widths())):
            raise ShapeError(f"there is no edge to repeat along an axis of extent 0: {mx_text(data)}")
        out = tuple(None if n is None else n + sum(w) for n, w in zip(data, self.widths()))
        return ins, [unify(out, outs[0])]

    def lower(self, t: Lowering) -> None:
        x = t.ins[0]
        if self.mode == "constant":
            t.region(t.out_shapes[0], lambda *i: i, lambda *i: number(self.constant_value, x.dtype))
        for parts in self.parts(x.shape):
            t.region(
                [p.extent for p in parts],
                lambda *i, parts=parts: [p.target(n) for p, n in zip(parts, i)],
                lambda *i, parts=parts: x(*(p.source(n) for p, n in zip(parts, i))),
            )

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        return [g("_pad_adjoint", flows(dy), mode=self.mode, pad_width=self.pad_width)]


@op("_pad_adjoint")
class PadAdjoint(Accumulating, Padding):
    """Each element the sum of all places of the padded array it was copied to.  Made by gradients of Pad."""

    is_internal = True

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (padded,) = ins
        if padded is None:
            return ins, outs
        return ins, [tuple(n and n - before - after for n, (before, after) in zip(padded, self.widths()))]

    def lower(self, t: Lowering) -> None:
        d = t.ins[0]
        for k, parts in enumerate(self.parts(t.out_shapes[0])):
            t.region(
                [p.extent for p in parts],
                lambda *i, parts=parts: [p.source(n) for p, n in zip(parts, i)],
                lambda *i, parts=parts: d(*(p.target(n) for p, n in zip(parts, i))),
                mode="add" if k else "set",
            )

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        return [g("Pad", flows(dy), mode=self.mode, pad_width=self.pad_width)]


@op("_filled_up")
class FilledUp(Op):
    """The data with zeros behind them along one axis."""

    is_internal = True

    axis: int = param(low=0, doc="the axis")
    n_more: int = param(low=1, doc="how many zeros")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (data,) = ins
        if data is None:
            return ins, outs
        n = data[self.axis]
        filled = None if n is None else n + self.n_more
        return ins, [unify(outs[0], (*data[: self.axis], filled, *data[self.axis + 1 :]))]

    def lower(self, t: Lowering) -> None:
        (x,), at = t.ins, self.axis
        last = x.shape[at] - 1

        def element(*i: IndexLike) -> Expr:
            place = index_value(i[at])
            inside = (*i[:at], prim("minimum", place, last), *i[at + 1 :])
            return select(place <= last, x(*inside), 0)

        t.map(element)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        return [g("slice_axis", flows(dy), axis=self.axis, begin=0, end=g.shape(x[0])[self.axis])]
