"""Layers whose operands the machine multiplies in pairs of bfloat16 read them so."""

from __future__ import annotations

from collections.abc import Sequence

from symc.core.dtypes import BFLOAT16
from symc.ir.builder import GraphBuilder, rewrite
from symc.ir.graph import Graph, Node, Value

from .base import PassContext, graph_pass
from .meaning import meaning_of
from .phases import constant_nodes


@graph_pass()
def round_operands(graph: Graph, context: PassContext) -> Graph:
    """Rounds data and weights of layers to bfloat16 where the backend multiplies that; sums and results stay float32.

    before:  %y = FullyConnected(%x: float32, %w: float32)
    after:   %a = _bfloat16(%x); %b = _bfloat16(%w); %y = FullyConnected(%a, %b): float32

    Weights are rounded where parameters alone decide them, so that it is done once for many runs. Gradients, products
    of what each run computes, and layers with an odd number of channels stay what they are.
    """
    if graph.training or not context.rounds_operands:
        return graph
    constant = constant_nodes(graph)
    rounded: dict[Value, Value] = {}

    def rule(g: GraphBuilder, node: Node, inputs: tuple[Value, ...]) -> Sequence[Value] | None:
        if not node.operator.takes_bfloat16 or node.inputs[1].node not in constant or g.dtype(inputs[0]) != "float32":
            return None
        product = meaning_of(graph, node).product
        assert product is not None
        together = context.backend.channels_together(product, BFLOAT16)
        if together is None or product.summed_channels % together:
            return None
        for v in inputs[:2]:
            if v not in rounded:
                rounded[v] = g("_bfloat16", v)
        made = g.apply(node.operator, [*map(rounded.__getitem__, inputs[:2]), *inputs[2:]], node.name, node.origin)
        return [made[0]]

    return rewrite(graph, rule)
