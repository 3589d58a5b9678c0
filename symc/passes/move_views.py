"""Lets elementwise operators work on the result of a contraction itself, so that they can be its epilogue."""

from __future__ import annotations

from collections.abc import Sequence

from symc.ir.builder import GraphBuilder, rewrite
from symc.ir.graph import Graph, Node, Value

from .base import PassContext, graph_pass
from .meaning import meaning_of


@graph_pass(enters_bodies=True)
def move_views(graph: Graph, context: PassContext) -> Graph:
    """Moves views of contractions' results behind the elementwise operators that read nothing else.

    Layers over the last of several axes see their data as a matrix, and so what follows them saw a view.

    before:  %a = FullyConnected(%x, %w); %v = Reshape(%a, shape=(1, 8, 16)); %y = LeakyReLU(%v)
    after:   %a = FullyConnected(%x, %w); %b = LeakyReLU(%a); %y = Reshape(%b, shape=(1, 8, 16))
    """
    if not any(n.op is not None and n.op.is_view for n in graph.nodes):
        return graph
    plain = {n.name for n in graph.nodes if not n.is_input and meaning_of(graph, n).product is not None}

    def rule(g: GraphBuilder, node: Node, inputs: tuple[Value, ...]) -> Sequence[Value] | None:
        op = node.operator
        if not op.is_elementwise or op.is_random or node.n_outputs != 1:
            return None
        sources = [s for v in inputs if (s := _source(v)) is not None and s.node.name in plain]
        if len(sources) < len(inputs) or len({g.shape(s) for s in sources}) != 1:
            return None
        if any(g.shape(v) != g.shape(node[0]) for v in inputs) or meaning_of(graph, node).uses_index:
            return None
        made = g.apply(op, sources, node.name, node.origin)
        plain.add(made.name)
        return [g.apply(inputs[0].node.operator, [made[0]])[0]]

    return rewrite(graph, rule)


def _source(v: Value) -> Value | None:
    """What a value is a view of; None for a value of its own."""
    return v.node.inputs[0] if v.node.op is not None and v.node.op.is_view else None
