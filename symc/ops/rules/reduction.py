"""Operators that combine the elements along axes, from what is combined and how."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from symc.core.errors import ShapeError
from symc.core.shapes import mx_text, normalize_axis, unify
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import Op, Shapes, declares_parameters, param
from symc.loopir.expr import Axis, Expr, IndexLike, cast
from symc.loopir.tensor import Lowering

from .shapes import kept_shape
from .terms import Term, flows, values


@declares_parameters
class Reduction(Op):
    """y = finish(combination of element(x) over some axes); over all axes, the shape is (1,) unless keepdims."""

    axis: tuple[int, ...] | None = param(None, doc="axes to reduce; None or () reduces all")
    keepdims: bool = param(False, doc="whether reduced axes stay with extent 1")
    combiner: ClassVar[str] = "sum"

    def element(self, x: Expr) -> Expr:
        """What is combined, from one input element."""
        return x

    def finish(self, total: Expr, n: int) -> Expr:
        """The output element from the combination of n elements."""
        return total

    def pullback(self, d: Term, x: Term, y: Term) -> Term | None:
        """The gradient of the input; d and y have reduced axes of extent 1."""
        raise NotImplementedError

    def axes(self, rank: int) -> tuple[int, ...]:
        """The axes that are reduced, ascending; raises ShapeError for axes that do not exist or repeat."""
        if not self.axis:
            return tuple(range(rank))
        found = sorted(normalize_axis(a, rank) for a in self.axis)
        if len(set(found)) != len(found):
            raise ShapeError(f"Reduction axes have duplicates {mx_text(tuple(found))}")
        return tuple(found)

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (shape,) = ins
        if shape is None:
            return ins, outs
        axes = self.axes(len(shape))
        kept = kept_shape(shape, axes) if self.keepdims else tuple(n for a, n in enumerate(shape) if a not in axes)
        return ins, [unify(kept or (1,), outs[0])]

    def lower(self, t: Lowering) -> None:
        x, dtype = t.ins[0], t.out_dtype()
        axes = self.axes(x.rank)
        extents = [x.shape[a] for a in axes]

        def element(*i: IndexLike) -> Expr:
            kept = [n for a, n in enumerate(i) if a not in axes] if self.keepdims else list(i[: x.rank - len(axes)])

            def inner(*k: Axis) -> Expr:
                outer, reduced = iter(kept), iter(k)
                return self.element(x(*(next(reduced if a in axes else outer) for a in range(x.rank))))

            total = t.reduce(self.combiner, extents, inner) if axes else inner()
            return cast(self.finish(total, math.prod(extents)), dtype)

        t.map(element)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        data = Term(g, x[0])
        shape = kept_shape(data.shape, self.axes(len(data.shape)))
        d, out = (Term(g, v).reshape(shape) for v in (flows(dy), y[0]))
        return values([self.pullback(d.cast(data.dtype), data, out.cast(data.dtype))])
