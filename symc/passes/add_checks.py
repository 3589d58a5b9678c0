"""Adds what operators must see to in the values of their inputs, as MXNet does when it runs: `take` of mode raise."""

from __future__ import annotations

from symc.ir.builder import GraphBuilder, finish
from symc.ir.graph import Graph, Output

from .base import PassContext, graph_pass


@graph_pass()
def add_checks(graph: Graph, context: PassContext) -> Graph:
    """All `Op.checks` of the graph as an output that must be 0.

    before:  %y = take(%x, %i, mode='raise')
    after:   %y = take(%x, %i, mode='raise'); %n = sum(...); check 'take y: ...' = %n
    """
    return with_checks(graph)


def with_checks(graph: Graph) -> Graph:
    """The graph with an output of kind "check" for everything that operators look for, if it has none yet."""
    if any(o.kind == "check" for o in graph.outputs):
        return graph
    g = GraphBuilder.over(graph)
    found: list[Output] = []
    for node in graph.nodes:
        if not node.is_input:
            g.serving = node
            checks = node.operator.checks(g, node.inputs)
            found += [Output("check", f"Error in operator {node.name}: {text}", value) for text, value in checks]
    return finish(g, [*graph.outputs, *found]) if found else graph
