"""Drops nodes that no output needs."""

from __future__ import annotations

from symc.ir.graph import Graph

from .base import PassContext, graph_pass


@graph_pass(requires=(), keeps=("shape", "dtype", "layout", "group"))
def eliminate_dead(graph: Graph, context: PassContext) -> Graph:
    """Keeps what the outputs need.

    before:  %a = exp(%x); %b = sin(%x); output %a
    after:   %a = exp(%x); output %a
    """
    live = Graph.of(graph.outputs, graph.training, graph.facts)
    return graph if len(live.nodes) == len(graph.nodes) else live
