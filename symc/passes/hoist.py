"""Takes out of loops what every round would compute again."""

from __future__ import annotations

from collections.abc import Sequence

from symc.ir.bodies import within_bodies
from symc.ir.builder import GraphBuilder, finish, rewrite
from symc.ir.graph import Graph, Node, Output, Value
from symc.ops.control.iterate import Iterate

from .base import PassContext, graph_pass
from .phases import constant_nodes


@graph_pass()
def hoist(graph: Graph, context: PassContext) -> Graph:
    """Moves what depends on the free values of a loop alone in front of it; free values that nobody reads go.

    before:  %y = _iterate(%x, %s, %w)  body { %b = elemwise_mul(%free0, %free0); ... }
    after:   %b = elemwise_mul(%w, %w); %y = _iterate(%x, %s, %b)  body { ... }
    """
    return rewrite(within_bodies(graph, lambda body: hoist(body, context)), _emptied)


def _emptied(g: GraphBuilder, node: Node, inputs: tuple[Value, ...]) -> Sequence[Value] | None:
    op = node.operator
    if not isinstance(op, Iterate):
        return None
    body, n_fed = op.body, op.n_data + op.n_states
    constant = constant_nodes(body, frozenset(o.value.node for o in body.outputs))
    fed, free = list(body.inputs)[:n_fed], list(body.inputs)[n_fed:]
    if not any(node in constant for node in body.nodes if not node.is_input) and all(body.n_uses(v[0]) for v in free):
        return None
    outside: dict[Value, Value] = {v[0]: x for v, x in zip(free, inputs[n_fed:])}
    inner = GraphBuilder.over(body)
    stand_in: dict[Value, Value] = {}  # what the body reads instead of values that are computed outside now
    kept: dict[Value, Value] = {v[0]: v[0] for v in fed}

    def inside(v: Value) -> Value:
        if v not in outside:
            return kept[v]
        if v not in stand_in:
            name = v.node.name if v.node.is_input else f"{v.node.name}_{v.index}"
            stand_in[v] = inner.input(name, body.shape(v), body.dtype(v), "parameter")
        return stand_in[v]

    for each in body.nodes:
        if each.is_input:
            continue
        results = [each[k] for k in range(each.n_outputs)]
        if each in constant:
            made = g.apply(each.operator, [outside[v] for v in each.inputs])
            outside.update((old, made[old.index]) for old in results)
        else:
            made = inner.moved(each, tuple(inside(v) for v in each.inputs))
            kept.update((old, made[old.index]) for old in results)
    heads = [Output(o.kind, o.name, inside(o.value)) for o in body.outputs]
    new_body = finish(inner, heads, inputs=[*fed, *(v.node for v in stand_in.values())])
    made = g.apply(
        op.with_bodies((new_body,)), [*inputs[:n_fed], *(outside[v] for v in stand_in)], node.name, node.origin
    )
    return [made[k] for k in range(made.n_outputs)]
