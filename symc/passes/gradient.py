"""Differentiation: adds the gradients of the arguments asked for, and the updates of auxiliary states."""

from __future__ import annotations

from collections.abc import Sequence

from symc.ir.builder import GraphBuilder, finish
from symc.ir.graph import Graph, Output, Value
from symc.ir.kernels import head_gradient_name
from symc.ir.reverse import Reverse

from .base import PassContext, graph_pass


def head_gradients(g: GraphBuilder, reverse: Reverse, heads: Sequence[Value]) -> dict[Value, list[Value]]:
    """New inputs for the gradients of the heads, where these lead to what is wanted."""
    found: dict[Value, list[Value]] = {}
    for k, value in enumerate(heads):
        if reverse.leads(value):  # MXNet: of a value listed as head twice, the last gradient counts
            found[value] = [g.input(head_gradient_name(k), g.shape(value), g.dtype(value), role="head_gradient")]
    return found


@graph_pass()
def gradient(graph: Graph, context: PassContext) -> Graph:
    """Builds only what `grad_req` asks for; a request of "add" adds to an input of role "accumulator".

    before:  %y = mul(%a, %b); head %y                                    grad_req a: write, b: null
    after:   %y = mul(%a, %b); %da = mul(%head_gradient0, %b); head %y; gradient a %da

    A gradient of another dtype than its argument (`grad_dtype`) is cast in the end.
    Raises GradientError when an operator on the way has none (see ir.reverse).
    """
    requests = {n: context.grad_req.get(n.name, "null") for n in graph.inputs}
    wanted = {n[0]: request for n, request in requests.items() if request != "null"}
    if not wanted:
        return graph
    g = GraphBuilder.over(graph)
    reverse = Reverse(g, graph.nodes, wanted)
    flowing = reverse.gradients(head_gradients(g, reverse, [o.value for o in graph.outputs if o.kind == "head"]))
    outputs = [*graph.outputs, *(Output("update", v.node.name, new) for v, new in reverse.updates().items())]
    asked: dict[str, list[Value]] = {}
    for v in wanted:
        asked.setdefault(v.node.name, []).append(v)
    for name, values in asked.items():
        first = values[0]
        g.serving = first.node
        terms = [term for v in values for term in flowing.get(v, ())]
        total = g.add(terms) if terms else g.like(first, 0.0)
        dtype = context.grad_dtype.get(name, g.dtype(first))
        if dtype != g.dtype(first):
            total = g("Cast", total, dtype=dtype)
        if wanted[first] == "add":
            total = g("elemwise_add", g.input(name, g.shape(first), dtype, "accumulator"), total)
        outputs.append(Output("gradient", name, total))
    return finish(g, outputs)
