"""Algebra: each operator's own `simplify` rule, applied until nothing changes."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.builder import GraphBuilder, rewrite
from ..ir.graph import Graph, Node, Value
from .base import PassContext, graph_pass


@graph_pass()
def simplify(graph: Graph, context: PassContext) -> Graph:
    """Replaces nodes by cheaper equal ones.

    before:  %a = _mul_scalar(%x, scalar=1); %b = _copy(%a); %c = exp(%b)
    after:   %c = exp(%x)
    """
    changed = True

    def rule(g: GraphBuilder, node: Node, inputs: tuple[Value, ...]) -> Sequence[Value] | None:
        nonlocal changed
        assert node.op is not None
        found = node.op.simplify(g, inputs)
        changed = changed or found is not None
        return found

    while changed:
        changed = False
        graph = rewrite(graph, rule)
    return graph
