"""Evaluates a graph, its gradients and its updates without any pass: one node at a time, each over plain arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from symc.ir.builder import GraphBuilder, finish
from symc.ir.graph import Graph, Node, Output, Value

from ..ops.reference import run_graph, run_node

Arrays = dict[Value, np.ndarray]


def forward(graph: Graph, feeds: Mapping[str, np.ndarray]) -> Arrays:
    """The array of every value."""
    arrays: Arrays = {}
    for node in graph.nodes:
        if node.is_input:
            arrays[node[0]] = feeds[node.name]
        else:
            run_node(graph, node, arrays)
    return arrays


def gradients(
    graph: Graph, arrays: Arrays, head_gradients: Sequence[np.ndarray], wanted: Sequence[str]
) -> dict[str, np.ndarray]:
    """The gradients of the inputs named; each operator's rule runs alone, sums are taken here."""
    flowing: Arrays = {}
    for o, dy in zip(graph.outputs, head_gradients):
        if o.value.node.is_input or not o.value.node.operator.is_loss:
            flowing[o.value] = dy  # of a value listed as head twice, the last gradient counts
    seeds = {o.value.node for o in graph.outputs}
    for node in reversed(graph.nodes):
        if node.is_input:
            continue
        dy = [flowing.get(node[k]) for k in range(node.n_outputs)]
        if all(d is None for d in dy) and not (node.operator.is_loss and node in seeds):
            continue
        for v, dx in zip(node.inputs, _pulled_back(graph, node, arrays, dy)):
            if dx is not None:
                flowing[v] = flowing[v] + dx if v in flowing else dx
    inputs = {n.name: n[0] for n in graph.inputs}
    return {name: flowing.get(inputs[name], np.zeros_like(arrays[inputs[name]])) for name in wanted}


def updates(graph: Graph, arrays: Arrays) -> dict[str, np.ndarray]:
    """The new value of every auxiliary state that a training step changes."""
    found: dict[str, np.ndarray] = {}
    for node in graph.nodes if graph.training else ():
        if node.is_input or not node.operator.aux:
            continue
        alone = _Alone(graph, node, arrays)
        states = dict(zip(node.operator.input_names(), node.inputs))
        values = node.operator.update_aux(alone.g, alone.x, alone.y)
        found.update(zip((states[n].node.name for n in values), alone.run(list(values.values()))))
    return found


def _pulled_back(graph: Graph, node: Node, arrays: Arrays, dy: Sequence[np.ndarray | None]) -> list[np.ndarray | None]:
    alone = _Alone(graph, node, arrays)
    heads = [None if d is None else alone.input(f"dy{k}", d) for k, d in enumerate(dy)]
    dx = node.operator.gradient(alone.g, alone.x, alone.y, heads)
    found = iter(alone.run([v for v in dx if v is not None]))
    return [None if v is None else next(found) for v in dx]


class _Alone:
    """A builder in which a node's inputs and outputs are inputs that hold known arrays."""

    def __init__(self, graph: Graph, node: Node, arrays: Arrays) -> None:
        self.g = GraphBuilder(training=graph.training)
        self.feeds: dict[str, np.ndarray] = {}
        made = {v: self.input(f"x{k}", arrays[v]) for k, v in enumerate(dict.fromkeys(node.inputs))}
        self.x = [made[v] for v in node.inputs]
        self.y = [self.input(f"y{k}", arrays[node[k]]) for k in range(node.n_outputs)]

    def input(self, name: str, array: np.ndarray) -> Value:
        self.feeds[name] = array
        return self.g.input(name, array.shape, array.dtype.name)

    def run(self, values: Sequence[Value]) -> list[np.ndarray]:
        return run_graph(finish(self.g, [Output("head", str(k), v) for k, v in enumerate(values)]), self.feeds)
