"""Operators that add elements to places of their output."""

from __future__ import annotations

from collections.abc import Sequence

from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import Op

from .terms import Term


class Accumulating(Op):
    """An operator with regions of mode "add"; float16 is added in float32 and rounded once."""

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value] | None:
        dtype = g.dtype(x[0])
        if dtype != "float16":
            return None
        wide = [Term(g, v).wide().value for v in x]
        return [Term(g, g.apply(self, wide)[0]).cast(dtype).value]
