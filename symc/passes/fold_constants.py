"""Folds BatchNorm (a per-channel scale and shift) into the contraction before it when parameters are frozen."""

from __future__ import annotations

from collections.abc import Sequence

from symc.ir.builder import GraphBuilder, rewrite
from symc.ir.graph import Graph, Node, Value

from .base import PassContext, graph_pass
from .phases import constant_nodes


@graph_pass(enters_bodies=True)
def fold_constants(graph: Graph, context: PassContext) -> Graph:
    """Moves `* scale[c] + shift[c]` into weight and bias; what then depends on parameters alone runs once at binding.

    before:  %a = Convolution(%x, %w, %b); %y = _scale_shift(%a, %s, %t)      (%w %b %s %t depend on parameters)
    after:   %v = %w * %s; %c = %b * %s + %t; %y = Convolution(%x, %v, %c)
    """
    constant = constant_nodes(graph)

    def rule(g: GraphBuilder, node: Node, inputs: tuple[Value, ...]) -> Sequence[Value] | None:
        axis = node.operator.scale_shift_axis
        if axis is None:
            return None
        old_producer = node.inputs[0].node
        if old_producer.is_input or graph.n_uses(node.inputs[0]) != 1:
            return None
        frozen = [*old_producer.inputs[1:], *node.inputs[1:]]
        if not all(v.node in constant for v in frozen):
            return None
        producer = inputs[0].node
        if {g.dtypes.get(v) for v in (*producer.inputs[1:], *inputs[1:])} > {"float16"}:
            return None  # scaled weights would be rounded once more
        g.serving = producer
        return producer.operator.absorb_scale_shift(g, producer.inputs, inputs[1], inputs[2], axis)

    return rewrite(graph, rule)
