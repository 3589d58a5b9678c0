"""Replaces operators that are made of simpler ones (BatchNorm, FullyConnected, Dropout when predicting)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from symc.ir.builder import GraphBuilder, rewrite_until_stable
from symc.ir.graph import Graph, Node, Value
from symc.ir.op import Op

from .base import PassContext, graph_pass


@graph_pass(enters_bodies=True)
def expand(graph: Graph, context: PassContext) -> Graph:
    """Applies `Op.expand` until nothing expands.

    before:  %y = BatchNorm(%x, %gamma, %beta, %mean, %var)                          (predicting)
    after:   %s = ...gamma * rsqrt(var + eps); %t = ...beta - mean * s; %y = _scale_shift(%x, %s, %t)
    """
    return _expanded(graph, lambda op: True)


@graph_pass(enters_bodies=True)
def expand_first(graph: Graph, context: PassContext) -> Graph:
    """The same for those operators alone whose gradient is that of what they expand to.

    before:  %y = _foreach(%x, %s) {...}
    after:   %y = _iterate(%x, %s) {...}
    """
    return _expanded(graph, lambda op: op.is_differentiated_expanded)


def _expanded(graph: Graph, does_expand: Callable[[Op], bool]) -> Graph:
    def rule(g: GraphBuilder, node: Node, inputs: tuple[Value, ...]) -> Sequence[Value] | None:
        return node.operator.expand(g, inputs, graph.training) if does_expand(node.operator) else None

    return rewrite_until_stable(graph, rule)
