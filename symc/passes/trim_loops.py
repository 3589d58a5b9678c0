"""Drops results, states and inputs of loops that nothing needs."""

from __future__ import annotations

from collections.abc import Sequence

from symc.ir.builder import GraphBuilder, rewrite
from symc.ir.graph import Graph, Node, Value
from symc.ir.reverse import between
from symc.ops.control.iterate import Iterate

from .base import PassContext, graph_pass


@graph_pass(enters_bodies=True)
def trim_loops(graph: Graph, context: PassContext) -> Graph:
    """Leaves of each loop what is read, and what that is computed from.

    before:  %y = _iterate(%x, %s, n_data=1, n_states=1)  body { head a = ..; head b = ..; head state = .. };  head %y
    after:   %y = _iterate(%x, n_data=1, n_states=0)  body { head a = .. };  head %y
    """
    live = _live_heads(graph)

    def rule(g: GraphBuilder, node: Node, inputs: tuple[Value, ...]) -> Sequence[Value] | None:
        op, heads = node.operator, live.get(node)
        if not isinstance(op, Iterate) or heads is None:
            return None
        fed = _fed(op, heads)
        if len(heads) == node.n_outputs and len(fed) == len(inputs):
            return None
        body = op.body
        outputs = tuple(body.outputs[k] for k in heads)
        ins = [list(body.inputs)[k] for k in fed]
        made = op.having(
            bodies=(Graph.of(outputs, body.training, body.facts, ins),),
            n_data=sum(k < op.n_data for k in fed),
            n_states=sum(k >= op.n_results for k in heads),
            flag=None if op.flag is None else sum(k >= op.n_results for k in heads if k < op.n_results + op.flag),
            length=None if fed[:1] and fed[0] < op.n_data else op.n_rounds([g.shape(v) for v in inputs]),
            wanted=None if op.wanted is None else tuple(fed.index(k) for k in op.wanted if k in fed),
        )
        trimmed = g.apply(made, [inputs[k] for k in fed], node.name, node.origin)
        at = {k: trimmed[n] for n, k in enumerate(heads)}
        return [at.get(k, trimmed[0]) for k in range(node.n_outputs)]

    return rewrite(graph, rule)


def _live_heads(graph: Graph) -> dict[Node, list[int]]:
    """The heads of every loop's body that somebody reads, or that a state which is read depends on."""
    read = set(graph.output_values)
    found: dict[Node, list[int]] = {}
    for node in reversed(graph.nodes):
        used = [k for k in range(node.n_outputs) if node[k] in read]
        if not used:
            continue
        if isinstance(node.op, Iterate):
            found[node] = _closed(node.op, used)
            read.update(node.inputs[k] for k in _fed(node.op, found[node]))
        else:
            read.update(node.inputs)
    return found


def _closed(op: Iterate, heads: Sequence[int]) -> list[int]:
    """The heads with those of the states that they depend on."""
    found = set(heads) | ({op.n_results + op.flag} if op.flag is not None else set())
    while True:
        states = {op.n_results + k - op.n_data for k in _read(op, sorted(found)) if 0 <= k - op.n_data < op.n_states}
        if states <= found:
            return sorted(found)
        found |= states


def _read(op: Iterate, heads: Sequence[int]) -> list[int]:
    """The positions of the body's inputs that some of its heads need."""
    values = [op.body.outputs[k].value for k in heads]
    nodes = between(set(), values)
    read = {v for node in nodes for v in node.inputs}.union(values)
    return [k for k, node in enumerate(op.body.inputs) if node[0] in read]


def _fed(op: Iterate, heads: Sequence[int]) -> list[int]:
    """The positions of the inputs that a loop with these heads is fed; a state is, even where no round reads it."""
    states = {op.n_data + k - op.n_results for k in heads if k >= op.n_results}
    return sorted({*_read(op, heads), *states})
