"""Tells parameters from data: what depends on parameters alone is computed once, not at every run."""

from __future__ import annotations

from dataclasses import replace

from ..ir.graph import Graph, Node, Output, Value
from .base import PassContext, graph_pass


@graph_pass(requires=())
def mark_parameters(graph: Graph, context: PassContext) -> Graph:
    """Gives the role "parameter" to arguments all of whose uses are slots that hold trained values.

    before:  argument %w; %y = FullyConnected(%x, %w, %b)
    after:   parameter %w; %y = FullyConnected(%x, %w, %b)

    This is only a prediction of what rarely changes: an Executor notices when a parameter has been written.
    """
    new: dict[Node, Node] = {}
    for node in graph.nodes:
        if node.is_input and node.role == "argument" and _is_parameter(graph, node):
            new[node] = replace(node, role="parameter")
        elif any(v.node in new for v in node.inputs):
            inputs = tuple(Value(new.get(v.node, v.node), v.index) for v in node.inputs)
            new[node] = replace(node, inputs=inputs)

    def moved(v: Value) -> Value:
        return Value(new.get(v.node, v.node), v.index)

    tables = {name: {moved(v): fact for v, fact in getattr(graph.facts, name).items()} for name in ("shape", "dtype")}
    outputs = [Output(o.kind, o.name, moved(o.value)) for o in graph.outputs]
    return Graph(tuple(new.get(n, n) for n in graph.nodes), tuple(outputs), graph.training).with_facts(**tables)


def _is_parameter(graph: Graph, node: Node) -> bool:
    users = graph.users.get(node[0], ())
    return bool(users) and all(u.op.input_names()[k] in u.op.trained for u, k in users if u.op is not None)
