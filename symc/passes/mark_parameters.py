"""Tells parameters from data: what depends on parameters alone is computed once, not at every run."""

from __future__ import annotations

from symc.ir.graph import Graph, Node, Output, Role, Value

from .base import PassContext, graph_pass


@graph_pass(requires=())
def mark_parameters(graph: Graph, context: PassContext) -> Graph:
    """Gives the role "parameter" to arguments all of whose uses are slots that hold trained values.

    before:  argument %w; %y = FullyConnected(%x, %w, %b)
    after:   parameter %w; %y = FullyConnected(%x, %w, %b)

    Views of it (Reshape) are looked through.
    This is only a prediction of what rarely changes: an Executor notices when a parameter has been written.  Where
    nothing is said to rarely change, states are arguments like all others.
    """
    new: dict[Node, Node] = {}

    def moved(v: Value) -> Value:
        node = new.get(v.node)
        return v if node is None else Value(node, v.index)

    for node in graph.nodes:
        inputs = tuple([moved(v) for v in node.inputs])
        role = _role(graph, node, context.has_parameters)
        if role != node.role:
            new[node] = Node(None, node.name, (), role, node.origin)
        elif inputs != node.inputs:
            new[node] = Node(node.op, node.name, inputs, node.role, node.origin)
    if not new:
        return graph
    tables = {name: {moved(v): fact for v, fact in getattr(graph.facts, name).items()} for name in ("shape", "dtype")}
    outputs = [Output(o.kind, o.name, moved(o.value)) for o in graph.outputs]
    return Graph(tuple(new.get(n, n) for n in graph.nodes), tuple(outputs), graph.training).with_facts(**tables)


def _role(graph: Graph, node: Node, has_parameters: bool) -> Role:
    if has_parameters:
        is_marked = node.is_input and node.role == "argument" and _is_parameter(graph, node)
        return "parameter" if is_marked else node.role
    return "argument" if node.role == "aux" else node.role


def _is_parameter(graph: Graph, node: Node) -> bool:
    waiting, n_slots = [node[0]], 0
    while waiting:
        for user, k in graph.users.get(waiting.pop(), ()):
            if user.operator.is_view and k == 0:
                if user[0] in graph.output_values:
                    return False
                waiting.append(user[0])
            elif user.operator.trained and user.operator.input_names()[k] in user.operator.trained:
                n_slots += 1
            else:
                return False
    return n_slots > 0
