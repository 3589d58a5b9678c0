"""Computes only the pixels that strided pointwise layers will read.

A pointwise (1x1) convolution of stride 2 reads a quarter of its input's positions.  When all readers of a value are of
that kind, the stride can move up through elementwise operators into the layer that computes the value, and from there,
if that is pointwise too, to the layer before it.  The ResNets with the stride in their 1x1 layers do six layers at a
quarter of their work (OpenVINO's strides optimisation is the model).
"""

from __future__ import annotations

from collections.abc import Sequence

from symc.ir.builder import GraphBuilder, rewrite
from symc.ir.graph import Graph, Node, Value

from .base import PassContext, graph_pass

Steps = tuple[int, ...]


@graph_pass(enters_bodies=True)
def move_strides(graph: Graph, context: PassContext) -> Graph:
    """Moves the stride of pointwise layers up to the layer that computes their input.

    before:  %a = Convolution(%x, %v, kernel=(1, 1)); %b = elemwise_add(%a, %r)
             %y = Convolution(%b, %w, kernel=(1, 1), stride=(2, 2))
    after:   %a = Convolution(%x, %v, kernel=(1, 1), stride=(2, 2)); %b = elemwise_add(%a, slice(%r, step 2))
             %y = Convolution(%b, %w, kernel=(1, 1))
    """
    thinned = _thinned(graph)
    if not thinned:
        return graph

    def rule(g: GraphBuilder, node: Node, inputs: tuple[Value, ...]) -> Sequence[Value] | None:
        op = node.operator
        steps = thinned.get(node[0])
        own = op.layer_stride
        if own is not None and (steps is not None or node.inputs[0] in thinned):
            read = thinned.get(node.inputs[0], (1,) * len(own))
            stride = tuple(o * s // r for o, s, r in zip(own, steps or (1,) * len(own), read))
            return [g.apply(op.with_layer_stride(stride), inputs, node.name, node.origin)[0]]
        if steps is None:
            return None
        shape = graph.shape(node[0])
        thin = [
            v if old in thinned or graph.shape(old) != shape else _every(g, v, steps)
            for old, v in zip(node.inputs, inputs)
        ]
        return [g.apply(op, thin, node.name, node.origin)[0]]

    return rewrite(graph, rule)


def _every(g: GraphBuilder, v: Value, steps: Steps) -> Value:
    """The value at every steps-th position of its spatial axes."""
    rank = len(g.shape(v))
    return g("slice", v, begin=(0,) * rank, end=(None,) * rank, step=(1, 1, *steps))


def _thinned(graph: Graph) -> dict[Value, Steps]:
    """The values that need to be computed at some positions only, with the distance of those positions."""
    found: dict[Value, Steps] = {}
    for node in reversed(graph.nodes):
        if node.is_input or node.n_outputs != 1 or node[0] in graph.output_values:
            continue
        steps = _common_steps(graph, node[0], found)
        if steps is not None and _can_thin(graph, node, steps):
            found[node[0]] = steps
    return {v: s for v, s in found.items() if _reaches_layer(graph, v, found)}


def _common_steps(graph: Graph, v: Value, thinned: dict[Value, Steps]) -> Steps | None:
    """The steps at which all readers of a value read it; None when they differ or some reader needs all of it."""
    wanted: set[Steps | None] = set()
    for user, position in graph.users.get(v, ()):
        op, steps = user.operator, thinned.get(user[0])
        if op.layer_stride is not None:
            own = op.layer_stride
            read = tuple(o * s for o, s in zip(own, steps or (1,) * len(own)))
            wanted.add(read if position == 0 and op.is_pointwise_layer and max(read) > 1 else None)
        else:
            wanted.add(steps if graph.shape(v) == graph.shape(user[0]) else None)
    return wanted.pop() if len(wanted) == 1 else None


def _can_thin(graph: Graph, node: Node, steps: Steps) -> bool:
    """Whether an operator can leave positions out: a sliding layer, or an elementwise operator on full tensors."""
    if node.operator.layer_stride is not None:
        return True
    shape = graph.shape(node[0])
    if not node.operator.is_elementwise or len(shape) != len(steps) + 2:
        return False
    narrow = [graph.shape(v) for v in node.inputs if graph.shape(v) != shape]
    return all(len(s) < 3 or max(s[-len(steps) :]) == 1 for s in narrow)


def _reaches_layer(graph: Graph, v: Value, thinned: dict[Value, Steps]) -> bool:
    """Whether thinning a value saves the work of a layer, not only that of elementwise operators."""
    stack, seen = [v], {v}
    while stack:
        node = stack.pop().node
        if node.operator.layer_stride is not None:
            return True
        fresh = [u for u in node.inputs if u in thinned and u not in seen]
        seen.update(fresh)
        stack += fresh
    return False
