"""Drops nodes that no output needs."""

from __future__ import annotations

from collections.abc import Sequence

from symc.ir.builder import GraphBuilder, rewrite
from symc.ir.graph import Graph, Node, Value

from .base import PassContext, graph_pass


@graph_pass(requires=(), keeps=("shape", "dtype", "layout", "group"))
def eliminate_dead(graph: Graph, context: PassContext) -> Graph:
    """Keeps what the outputs need, also in the bodies of nodes.

    before:  %a = exp(%x); %b = sin(%x); output %a
    after:   %a = exp(%x); output %a
    """
    live = _live(graph)

    def trim(g: GraphBuilder, node: Node, inputs: tuple[Value, ...]) -> Sequence[Value] | None:
        bodies = tuple(_live(body, tuple(body.inputs)) for body in node.bodies)
        if all(new is old for new, old in zip(bodies, node.bodies)):
            return None
        made = g.apply(node.operator.with_bodies(bodies), inputs, node.name, node.origin)
        return [made[k] for k in range(made.n_outputs)]

    return rewrite(live, trim) if live.has_bodies else live


def _live(graph: Graph, inputs: tuple[Node, ...] = ()) -> Graph:
    """The part that the outputs need; `inputs` stay in any case."""
    live = Graph.of(graph.outputs, graph.training, graph.facts, inputs)
    return graph if len(live.nodes) == len(graph.nodes) else live
