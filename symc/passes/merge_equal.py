"""Common sub-expression elimination: equal operators on equal inputs become one node."""

from __future__ import annotations

from collections.abc import Sequence

from symc.ir.builder import GraphBuilder, rewrite
from symc.ir.graph import Graph, Node, Value

from .base import PassContext, graph_pass


@graph_pass(enters_bodies=True)
def merge_equal(graph: Graph, context: PassContext) -> Graph:
    """Merges nodes that compute the same; operators that are random or run Python code are never merged.

    before:  %a = exp(%x); %b = exp(%x); %c = add(%a, %b)
    after:   %a = exp(%x); %c = add(%a, %a)
    """
    seen: dict[tuple, Node] = {}

    def rule(g: GraphBuilder, node: Node, inputs: tuple[Value, ...]) -> Sequence[Value] | None:
        op = node.operator
        if op.is_random or op.calls_out:
            return None
        # Without inputs the operator may take its shape from its users: the facts belong to the key.
        key = (op, inputs, tuple([(g.shape(node[k]), g.dtype(node[k])) for k in range(node.n_outputs)]))
        first = seen.get(key)
        if first is not None and str(first.op) == str(op):  # 0.0 equals -0.0, but x / 0.0 is not x / -0.0
            return [first[k] for k in range(node.n_outputs)]
        kept = seen[key] = g.moved(node, inputs)
        return None if kept is node else [kept[k] for k in range(node.n_outputs)]

    return rewrite(graph, rule)
