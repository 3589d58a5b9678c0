"""Has loops keep, of every round, what the way back reads."""

from __future__ import annotations

from collections.abc import Iterable

from symc.ir.builder import GraphBuilder
from symc.ir.graph import Graph, Node, Output, Value
from symc.ops.control.iterate import Iterate

from .base import PassContext, graph_pass


@graph_pass()
def keep_rounds(graph: Graph, context: PassContext) -> Graph:
    """Gives loops on the way to a gradient that is asked for more results: of the body's values those it will need.

    before:  %y = _iterate(%x, %s)  body { %a = exp(%row); %b = elemwise_mul(%a, %state); ... }
    after:   %y = _iterate(%x, %s)  body { the same; head kept1 = %a; head kept2 = %state }
    """
    wanted = [n[0] for n in graph.inputs if context.grad_req.get(n.name, "null") != "null"]
    return _keeping(graph, wanted) if graph.has_bodies and wanted else graph


def _keeping(graph: Graph, wanted: Iterable[Value]) -> Graph:
    g = GraphBuilder.over(graph)
    leading = set(wanted)
    new: dict[Value, Value] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        inputs = tuple([new.get(v, v) for v in node.inputs])
        positions = [k for k, v in enumerate(node.inputs) if v in leading]
        if positions and not node.operator.is_loss:
            leading.update(node[k] for k in range(node.n_outputs))
        if positions and isinstance(node.op, Iterate):
            op = _with_kept(node.op, positions)
            made = g.apply(op, inputs, node.name, node.origin)
            n_more = op.n_results - node.op.n_results
            for k in range(node.n_outputs):
                new[node[k]] = made[k if k < node.op.n_results else k + n_more]
        else:
            made = g.moved(node, inputs)
            if made is not node:
                new.update((node[k], made[k]) for k in range(node.n_outputs))
        nodes.append(made)
    if not new:
        return graph
    outputs = tuple(Output(o.kind, o.name, new.get(o.value, o.value)) for o in graph.outputs)
    shape = {node[k]: g.shapes[node[k]] for node in nodes for k in range(node.n_outputs)}
    dtype = {node[k]: g.dtypes[node[k]] for node in nodes for k in range(node.n_outputs)}
    return Graph(tuple(nodes), outputs, graph.training).with_facts(shape=shape, dtype=dtype)


def _with_kept(op: Iterate, positions: list[int]) -> Iterate:
    """A loop, of which the inputs at these positions lead to a gradient, with all that its way back reads."""
    ins = [node[0] for node in op.body.inputs]
    leading = dict.fromkeys([*(ins[k] for k in positions), *op.round.states])
    made = op.having(bodies=(_keeping(op.body, leading),), wanted=tuple(positions))
    return made.keeping(made.differentiated([True] * made.n_results).needs)
