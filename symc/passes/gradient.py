"""Reverse-mode differentiation: adds the gradients of the arguments asked for, and the updates of auxiliary states.

Griewank and Walther, Evaluating Derivatives (2008), chapter 3; NNVM's gradient pass is the ancestor of this one.
"""

from __future__ import annotations

from symc.core.errors import GradientError
from symc.core.shapes import mx_text
from symc.ir.builder import GraphBuilder, finish
from symc.ir.graph import Graph, Node, Output, Value

from .base import PassContext, graph_pass


def head_gradient_name(k: int) -> str:
    """Name of the input that receives the gradient of head `k`."""
    return f"head_gradient{k}"


@graph_pass()
def gradient(graph: Graph, context: PassContext) -> Graph:
    """Builds only what `grad_req` asks for; a request of "add" adds to an input of role "accumulator".

    before:  %y = mul(%a, %b); head %y                                    grad_req a: write, b: null
    after:   %y = mul(%a, %b); %da = mul(%head_gradient0, %b); head %y; gradient a %da

    Raises GradientError when an operator on the way refuses to give one.
    """
    wanted = {n: n.name for n in graph.inputs if context.grad_req.get(n.name, "null") != "null"}
    if not wanted:
        return graph
    g = GraphBuilder.over(graph)
    leads_to_wanted = _reaching(graph, wanted)
    flowing: dict[Value, list[Value]] = {}
    refused: dict[Value, str] = {}  # values whose gradient an operator refuses, or that such a gradient flows into
    for k, output in enumerate(graph.outputs):
        node = output.value.node
        if node in leads_to_wanted and (node.is_input or not node.operator.is_loss):
            head = g.input(head_gradient_name(k), g.shape(output.value), g.dtype(output.value), role="head_gradient")
            flowing[output.value] = [head]  # MXNet: of a value listed as head twice, the last gradient counts
    seeds = {o.value.node for o in graph.outputs}
    for node in reversed(graph.nodes):
        if node.is_input or node not in leads_to_wanted:
            continue
        dy = [g.add(flowing[node[k]]) if node[k] in flowing else None for k in range(node.n_outputs)]
        if all(d is None for d in dy) and not (node.operator.is_loss and node in seeds):
            continue
        g.serving = node
        y = [node[k] for k in range(node.n_outputs)]
        inherited = next((refused[v] for v in y if v in refused), None)
        gradients = node.operator.gradient(g, node.inputs, y, dy)
        for argument, v, dx in zip(node.operator.input_names(), node.inputs, gradients):
            if v.node not in leads_to_wanted:
                continue
            if node.operator.refuses_gradient(argument, context.grad_req.get(v.node.name, "write")):
                refused[v] = f"{node.operator.name} {node.name} gives no gradient for its argument {argument}"
                dx = g.like(v, 0.0)
            if dx is None:
                continue
            if inherited:
                refused.setdefault(v, inherited)
            if g.shape(dx) != g.shape(v):
                raise GradientError(
                    f"gradient of {node.operator.name} {node.name} for {v}: shape {mx_text(g.shape(dx))}, "
                    f"expected {mx_text(g.shape(v))}"
                )
            flowing.setdefault(v, []).append(dx)
    outputs = [*graph.outputs, *_updates(graph, g)]
    asked: dict[str, list[Node]] = {}
    for node, name in wanted.items():
        asked.setdefault(name, []).append(node)
    for name, nodes in asked.items():
        g.serving = node = nodes[0]
        if node[0] in refused:
            raise GradientError(f"the gradient of {name}: {refused[node[0]]}; bind with grad_req='null' for {name}")
        values = [v for n in nodes for v in flowing.get(n[0], ())]
        total = g.add(values) if values else g.like(node[0], 0.0)
        if context.grad_req[name] == "add":
            total = g("elemwise_add", g.input(name, g.shape(node[0]), g.dtype(node[0]), "accumulator"), total)
        outputs.append(Output("gradient", name, total))
    return finish(g, outputs)


def _reaching(graph: Graph, wanted: dict[Node, str]) -> set[Node]:
    """Nodes from which a wanted argument can be reached against the edges."""
    found: set[Node] = set(wanted)
    for node in graph.nodes:
        if any(v.node in found for v in node.inputs):
            found.add(node)
    return found


def _updates(graph: Graph, g: GraphBuilder) -> list[Output]:
    """The new value of every auxiliary state that training changes."""
    found = []
    for node in graph.nodes:
        if node.is_input or not graph.training or not node.operator.aux:
            continue
        g.serving = node
        states = dict(zip(node.operator.input_names(), node.inputs))
        updates = node.operator.update_aux(g, node.inputs, [node[k] for k in range(node.n_outputs)])
        found += [Output("update", states[name].node.name, value) for name, value in updates.items()]
    return found
