"""Cast handling: makes every conversion explicit, so that no later stage converts silently."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.builder import GraphBuilder, rewrite
from ..ir.graph import Graph, Node, Value
from .base import PassContext, graph_pass


@graph_pass()
def insert_casts(graph: Graph, context: PassContext) -> Graph:
    """Casts an input whose dtype is not the one its operator's own rule asks for.

    before:  %y = op(%a: float16, %b: float32)          (op wants float32 twice)
    after:   %c = Cast(%a, float32); %y = op(%c, %b)
    """

    def rule(g: GraphBuilder, node: Node, inputs: tuple[Value, ...]) -> Sequence[Value] | None:
        assert node.op is not None
        seen = [g.dtype(v) for v in inputs]
        wanted, _ = node.op.infer_dtype(list(seen), [graph.dtype(node[k]) for k in range(node.n_outputs)])
        if all(w is None or w == s for w, s in zip(wanted, seen)):
            return None
        cast = [v if w in (None, s) else g("Cast", v, dtype=w) for v, w, s in zip(inputs, wanted, seen)]
        made = g.apply(node.op, cast, node.name, node.origin)
        return [made[k] for k in range(made.n_outputs)]

    return rewrite(graph, rule)
