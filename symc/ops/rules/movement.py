"""Operators that move elements: an index of the output becomes an index of the input."""

from __future__ import annotations

from collections.abc import Sequence

from symc.core.shapes import FullShape
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import Op
from symc.loopir.expr import Affine, Expr, IndexLike
from symc.loopir.tensor import Lowering

from .shapes import result_shape
from .terms import Term

Index = Sequence["IndexLike | Expr"]


class Movement(Op):
    """y[i] = x[source(i)]: elements change place, none changes value; the source is affine so that it fuses."""

    def source(self, index: Index, shape: FullShape) -> Index:
        """Where in an input of `shape` the element at an output index comes from."""
        raise NotImplementedError

    def keeps_order(self, shape: FullShape) -> bool:
        """Whether the elements of an input of `shape` all stay, in their row-major order."""
        return False

    def simplify(self, g: GraphBuilder, x: Sequence[Value]) -> Sequence[Value] | None:
        if not self.keeps_order(g.shape(x[0])):
            return None
        return [Term(g, x[0]).reshape(result_shape(self, g, x)).value]

    def lower(self, t: Lowering) -> None:
        x = t.ins[0]
        t.map(lambda *i: x(*self.source(i, x.shape)))


def repeated(index: Index, shape: FullShape) -> Index:
    """The source of broadcasting to a shape of equal rank: axes of extent 1 are read at 0."""
    return [Affine() if n == 1 else i for n, i in zip(shape, index)]
