"""Takes out of loops what rounds would compute again, or what they can compute together."""

from __future__ import annotations

from collections.abc import Sequence

from symc.ir.bodies import within_bodies
from symc.ir.builder import GraphBuilder, finish, rewrite
from symc.ir.graph import Graph, Node, Output, Role, Value
from symc.ops.control.iterate import Iterate, at_once

from .base import PassContext, graph_pass
from .phases import constant_nodes


@graph_pass()
def hoist(graph: Graph, context: PassContext) -> Graph:
    """Moves what depends on the free values of a loop alone in front of it, and layers that see rows of data and
    free values: one layer over the rows of all rounds. Data and free values that no round reads any more go.

    before:  %y = _iterate(%x, %s, %w)  body { %b = FullyConnected(%data0, %free0); %c = elemwise_add(%b, %state0) }
    after:   %b = FullyConnected(%x, %w); %y = _iterate(%b, %s)  body { %c = elemwise_add(%b_0, %state0) }
    """
    if not graph.has_bodies:
        return graph
    return rewrite(within_bodies(graph, lambda body: hoist(body, context)), _emptied)


def _emptied(g: GraphBuilder, node: Node, inputs: tuple[Value, ...]) -> Sequence[Value] | None:
    op = node.operator
    if not isinstance(op, Iterate):
        return None
    moved = _Hoisting(g, op, inputs)
    n_hoisted = sum(moved.hoist(each) for each in op.body.nodes if not each.is_input)
    r = op.round
    if not n_hoisted and all(op.body.n_uses(v) for v in (*r.rows, *r.free)):
        return None
    heads = [Output(o.kind, o.name, moved.inside(o.value)) for o in op.body.outputs]
    rows, free = moved.rows, moved.free
    body = finish(moved.inner, heads, inputs=[v.node for v in (*rows.values(), *r.states, *free.values())])
    outside = [moved.stacks[v] for v in rows] + [*inputs[op.n_data : op.n_data + op.n_states]]
    length = None if rows else op.n_rounds([g.shape(v) for v in inputs])
    less = op.having(bodies=(body,), n_data=len(rows), length=length)
    made = g.apply(less, [*outside, *(moved.fixed[v] for v in free)], node.name, node.origin)
    return [made[k] for k in range(made.n_outputs)]


class _Hoisting:
    """The nodes of a body one after the other: outside the loop, or inside of it.

    fixed    values of the body that no round changes, and what they are outside
    stacks   values that depend on rows of data and such values alone, and all their rows outside
    rows, free   what the body reads instead of these
    """

    def __init__(self, g: GraphBuilder, op: Iterate, inputs: Sequence[Value]) -> None:
        r = op.round
        self.g, self.body = g, op.body
        self.inner = GraphBuilder.over(op.body)
        self.fixed = dict(zip(r.free, inputs[op.n_data + op.n_states :]))
        self.stacks = dict(zip(r.rows, inputs))
        self.rows: dict[Value, Value] = {}
        self.free: dict[Value, Value] = {}
        self.kept = {v: v for v in r.states}
        heads = frozenset(o.value.node for o in op.body.outputs)
        self.constant = constant_nodes(op.body, heads)
        self.layers = {node for node in op.round.layers if node not in heads}

    def hoist(self, node: Node) -> bool:
        """Whether a node is computed outside now."""
        if node in self.constant:
            made = self.g.apply(node.operator, [self.fixed[v] for v in node.inputs])
            self.fixed.update((node[k], made[k]) for k in range(node.n_outputs))
            return True
        data, *others = node.inputs or (None,)
        if node in self.layers and data in self.stacks and all(v in self.fixed for v in others):
            fixed = [self.fixed[v] for v in others]
            self.stacks[node[0]] = at_once(self.g, node.operator, self.stacks[data], fixed)
            return True
        made = self.inner.moved(node, tuple(self.inside(v) for v in node.inputs))
        self.kept.update((node[k], made[k]) for k in range(node.n_outputs))
        return False

    def inside(self, v: Value) -> Value:
        """What the body reads for a value."""
        if v in self.kept:
            return self.kept[v]
        is_fixed = v in self.fixed
        found = self.free if is_fixed else self.rows
        if v not in found:
            role: Role = "parameter" if is_fixed else "argument"
            made = self.inner.input(f"{v.node.name}_{v.index}", self.body.shape(v), self.body.dtype(v), role)
            found[v] = v if v.node.is_input else made
        return found[v]
