"""Common sub-expression elimination: equal operators on equal inputs become one node."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.op import Op
from ..ir.builder import GraphBuilder, rewrite
from ..ir.graph import Graph, Node, Value
from .base import PassContext, graph_pass


@graph_pass()
def merge_equal(graph: Graph, context: PassContext) -> Graph:
    """Merges nodes that compute the same; random operators are never merged.

    before:  %a = exp(%x); %b = exp(%x); %c = add(%a, %b)
    after:   %a = exp(%x); %c = add(%a, %a)
    """
    seen: dict[tuple[Op, tuple[Value, ...]], Node] = {}

    def rule(g: GraphBuilder, node: Node, inputs: tuple[Value, ...]) -> Sequence[Value] | None:
        assert node.op is not None
        if node.op.is_random:
            return None
        key = (node.op, inputs)
        if key in seen:
            return [seen[key][k] for k in range(node.n_outputs)]
        kept = node if inputs == node.inputs else Node(node.op, node.name, inputs, node.role, node.origin)
        if kept is not node:
            g.infer(kept)
        seen[key] = kept
        return [kept[k] for k in range(kept.n_outputs)]

    return rewrite(graph, rule)
