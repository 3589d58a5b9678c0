"""Algebra: each operator's own `simplify` rule, applied until nothing changes."""

from __future__ import annotations

from collections.abc import Sequence

from symc.ir.builder import GraphBuilder, rewrite_until_stable
from symc.ir.graph import Graph, Node, Value

from .base import PassContext, graph_pass


@graph_pass(enters_bodies=True)
def simplify(graph: Graph, context: PassContext) -> Graph:
    """Replaces nodes by cheaper equal ones.

    before:  %a = _mul_scalar(%x, scalar=1); %b = _copy(%a); %c = exp(%b)
    after:   %c = exp(%x)
    """

    def rule(g: GraphBuilder, node: Node, inputs: tuple[Value, ...]) -> Sequence[Value] | None:
        return node.operator.simplify(g, inputs)

    return rewrite_until_stable(graph, rule)
