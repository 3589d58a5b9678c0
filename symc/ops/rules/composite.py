"""Operators that are made of simpler ones, which give them meaning and gradient."""

from __future__ import annotations

from collections.abc import Sequence

from symc.ir.builder import GraphBuilder
from symc.ir.graph import Node, Value
from symc.ir.op import Op
from symc.ir.reverse import Reverse

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


def pulled_back(
    g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
) -> Sequence[Value | None]:
    """The gradients of x from those of y, which nodes of the builder compute from x; None = no path.

    Where x has a value twice, its whole gradient is that of the first place.
    """
    heads: dict[Value, list[Value]] = {}
    for v, d in zip(y, dy):
        if d is not None:
            heads.setdefault(v, []).append(d)
    flowing = Reverse(g, _between(set(x), y), dict.fromkeys(x, "write")).gradients(heads)
    return [g.add(flowing.pop(v)) if v in flowing else None for v in x]


def _between(sources: set[Value], targets: Sequence[Value]) -> list[Node]:
    """The nodes that compute `targets` from `sources`, in topological order."""
    found: dict[Node, None] = {}
    waiting = [(v, False) for v in reversed(targets)]
    while waiting:
        v, is_done = waiting.pop()
        if v in sources or v.node.is_input or v.node in found:
            continue
        if is_done:
            found[v.node] = None
        else:
            waiting += [(v, True), *((i, False) for i in v.node.inputs)]
    return list(found)
