"""Replaces operators that are made of simpler ones (BatchNorm, FullyConnected, Dropout when predicting)."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.builder import GraphBuilder, rewrite
from ..ir.graph import Graph, Node, Value
from .base import PassContext, graph_pass


@graph_pass()
def expand(graph: Graph, context: PassContext) -> Graph:
    """Applies `Op.expand` until nothing expands.

    before:  %y = BatchNorm(%x, %gamma, %beta, %mean, %var)                          (predicting)
    after:   %s = ...gamma * rsqrt(var + eps); %t = ...beta - mean * s; %y = _scale_shift(%x, %s, %t)
    """
    changed = True

    def rule(g: GraphBuilder, node: Node, inputs: tuple[Value, ...]) -> Sequence[Value] | None:
        nonlocal changed
        assert node.op is not None
        found = node.op.expand(g, inputs, graph.training)
        changed = changed or found is not None
        return found

    while changed:
        changed = False
        graph = rewrite(graph, rule)
    return graph
