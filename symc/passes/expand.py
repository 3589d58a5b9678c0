"""Replaces operators that are made of simpler ones (BatchNorm, FullyConnected, Dropout when predicting)."""

from __future__ import annotations

from collections.abc import Sequence

from symc.ir.builder import GraphBuilder, rewrite_until_stable
from symc.ir.graph import Graph, Node, Value

from .base import PassContext, graph_pass


@graph_pass(enters_bodies=True)
def expand(graph: Graph, context: PassContext) -> Graph:
    """Applies `Op.expand` until nothing expands.

    before:  %y = BatchNorm(%x, %gamma, %beta, %mean, %var)                          (predicting)
    after:   %s = ...gamma * rsqrt(var + eps); %t = ...beta - mean * s; %y = _scale_shift(%x, %s, %t)
    """

    def rule(g: GraphBuilder, node: Node, inputs: tuple[Value, ...]) -> Sequence[Value] | None:
        return node.operator.expand(g, inputs, graph.training)

    return rewrite_until_stable(graph, rule)
