"""Changes the bodies of a graph's nodes, which are graphs themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from symc.core.errors import GraphError

from .graph import Facts, Graph, Layout, Node, Output, Value


def within_bodies(graph: Graph, change: Callable[[Graph], Graph]) -> Graph:
    """The graph with each body replaced by what `change` makes of it; the facts about its nodes stay.

    Inputs that the change has dropped stand in the new body again, in their place: nodes feed them in order.
    """
    if not graph.has_bodies:
        return graph
    new: dict[Node, Node] = {}
    for node in graph.nodes:
        bodies = tuple(_with_inputs(change(body), body) for body in node.bodies)
        inputs = tuple([_moved(v, new) for v in node.inputs]) if new else node.inputs
        is_same = all(made is body for made, body in zip(bodies, node.bodies))
        if is_same and inputs == node.inputs:
            continue
        op = node.op if is_same else node.operator.with_bodies(bodies)
        new[node] = Node(op, node.name, inputs, node.role, node.origin)
    if not new:
        return graph
    values = {name: {_moved(v, new): fact for v, fact in getattr(graph.facts, name).items()} for name in _BY_VALUE}
    facts = Facts(**values, group={new.get(n, n): group for n, group in graph.facts.group.items()})
    outputs = tuple(Output(o.kind, o.name, _moved(o.value, new)) for o in graph.outputs)
    return Graph(tuple(new.get(n, n) for n in graph.nodes), outputs, graph.training, facts)


def is_inferred(body: Graph) -> bool:
    """Whether the shapes in a body are known; others are expanded before anybody asks for them."""
    return all(node[0] in body.facts.shape for node in body.nodes)


_BY_VALUE = ("shape", "dtype", "layout")


def _moved(v: Value, new: dict[Node, Node]) -> Value:
    node = new.get(v.node)
    return v if node is None else Value(node, v.index)


def _with_inputs(made: Graph, body: Graph) -> Graph:
    """A changed body with all inputs of the former one, in their order."""
    inputs = list(body.inputs)
    if made is body or list(made.inputs) == inputs:
        return made
    whole = Graph.of(made.outputs, made.training, made.facts, inputs)
    lost = [node[0] for node in inputs if node[0] not in made.facts.shape]
    facts = made.facts
    shape = {**facts.shape, **{v: body.facts.shape[v] for v in lost if v in body.facts.shape}}
    dtype = {**facts.dtype, **{v: body.facts.dtype[v] for v in lost if v in body.facts.dtype}}
    layout = facts.layout
    if layout:
        layout = {**layout, **{v: Layout.row_major(len(body.shape(v))) for v in lost}}
    return replace(whole, facts=replace(facts, shape=shape, dtype=dtype, layout=layout))


def rearranged(body: Graph, order: Sequence[int], n_fed: int) -> Graph:
    """The body with its inputs in another order: those from `n_fed` on, which no round changes, are parameters.

    Raises GraphError where `order` does not name each input once.
    """
    inputs = list(body.inputs)
    if sorted(order) != list(range(len(inputs))):
        raise GraphError(f"a body has {len(inputs)} inputs, which {tuple(order)} does not name once each")
    new: dict[Node, Node] = {}
    for k, position in enumerate(order):
        old = inputs[position]
        new[old] = Node(None, old.name, (), "argument" if k < n_fed else "parameter", old.origin)
    ordered = list(new.values())
    for node in body.nodes:
        if not node.is_input:
            moved = tuple(_moved(v, new) for v in node.inputs)
            if moved != node.inputs:
                new[node] = Node(node.op, node.name, moved, node.role, node.origin)
    outputs = [Output(o.kind, o.name, _moved(o.value, new)) for o in body.outputs]
    tables = {name: {_moved(v, new): fact for v, fact in getattr(body.facts, name).items()} for name in _BY_VALUE}
    return Graph.of(outputs, body.training, inputs=ordered).with_facts(**tables)
