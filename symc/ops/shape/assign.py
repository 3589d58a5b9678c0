"""Operators that give an array with a box of it replaced."""

from __future__ import annotations

from collections.abc import Sequence

from symc.core.shapes import FullShape, unify
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import Op, Shapes, declares_parameters, op, param
from symc.loopir.expr import Expr, IndexLike
from symc.loopir.tensor import Lowering
from symc.ops.rules.numbers import number
from symc.ops.rules.terms import Term, flows, values

from .slicing import Range, Slice, place


@declares_parameters
class BoxAssign(Op):
    """The first input with begin:end:step of its leading axes replaced."""

    begin: tuple[int | None, ...] = param(doc="first position of each axis")
    end: tuple[int | None, ...] = param(doc="position after the last")
    step: tuple[int | None, ...] = param((), doc="distance of two positions; may be negative")

    def box(self, shape: FullShape) -> list[Range]:
        """The range of each axis."""
        return Slice(begin=self.begin, end=self.end, step=self.step).ranges(shape)

    def write(self, t: Lowering, value: Expr | None) -> None:
        """Copies the first input, then writes a number, or else the second input, into the box."""
        x = t.ins[0]
        ranges = self.box(x.shape)
        t.region(x.shape, lambda *i: i, x)

        def target(*i: IndexLike) -> list[IndexLike]:
            return [n * r.step + r.begin for n, r in zip(i, ranges)]

        lengths = [r.length or 0 for r in ranges]
        t.region(lengths, target, (lambda *i: value) if value is not None else t.ins[1])  # type: ignore[arg-type]

    def outside(self, g: GraphBuilder, x: Value, d: Value) -> Term:
        """The head gradient, zero inside the box."""
        return Term(g, d) - self.inside(g, x, d, placed=True)

    def inside(self, g: GraphBuilder, x: Value, d: Value, placed: bool) -> Term:
        """The head gradient of the box: alone, or placed among zeros."""
        cut = Term(g, d)("slice", begin=self.begin, end=self.end, step=self.step)
        return place(cut, g.shape(x), self.box(g.shape(x))) if placed else cut


@op("_slice_assign", aliases=("_crop_assign", "_npi_slice_assign"))
class SliceAssign(BoxAssign):
    """lhs with begin:end:step replaced by rhs, which has the shape of that box.  MXNet operator _slice_assign."""

    arguments = ("lhs", "rhs")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        shape = unify(ins[0], outs[0])
        if shape is None:
            return ins, outs
        box = Slice(begin=self.begin, end=self.end, step=self.step).ranges(shape)
        return [shape, unify(tuple(r.length for r in box), ins[1])], [shape]

    def lower(self, t: Lowering) -> None:
        self.write(t, None)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        d = flows(dy)
        return values([self.outside(g, x[0], d), self.inside(g, x[0], d, placed=False)])


@op("_slice_assign_scalar", aliases=("_crop_assign_scalar", "_npi_slice_assign_scalar"))
class SliceAssignScalar(BoxAssign):
    """data with begin:end:step replaced by a number.  MXNet operator _slice_assign_scalar."""

    parameter_order = ("scalar", "begin", "end", "step")

    scalar: float = param(0.0, doc="the number")

    def lower(self, t: Lowering) -> None:
        self.write(t, number(self.scalar, t.out_dtype()))

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        return values([self.outside(g, x[0], flows(dy))])
