"""Operators that are made of simpler ones, which give them meaning and gradient."""

from __future__ import annotations

from collections.abc import Sequence

from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import Op
from symc.ir.reverse import pulled_back

from .terms import Term


class Composite(Op):
    """An operator written as a formula on terms; subclasses state shapes and dtypes, and `compose`."""

    def compose(self, *x: Term) -> Sequence[Term]:
        """The outputs from the inputs."""
        raise NotImplementedError

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        return [t.value for t in self.compose(*(Term(g, v) for v in x))]

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        return pulled_back(g, x, self.expand(g, x, g.training), dy)
