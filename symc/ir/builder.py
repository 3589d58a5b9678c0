"""Builds graphs node by node; shapes and dtypes are inferred as soon as those of the inputs are known.

>>> from symc.ops import elementwise
>>> g = GraphBuilder()
>>> x = g.input("x", (2, 3), "float32")
>>> y = g("exp", g("_plus_scalar", x, scalar=1.0))
>>> g.shape(y)
(2, 3)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from symc.core.errors import DTypeError, ShapeError
from symc.core.shapes import FullShape, Shape

from .graph import Facts, Graph, Node, Output, Role, Value
from .infer import explained
from .op import Op, lookup


class GraphBuilder:
    """Creates nodes and keeps the facts about them; `serving` names the node that new ones are made for.

    taken   names that new nodes must not get
    """

    def __init__(self, facts: Facts | None = None, training: bool = False, taken: Iterable[str] = ()) -> None:
        self.shapes: dict[Value, Shape] = dict(facts.shape) if facts else {}
        self.dtypes: dict[Value, str] = dict(facts.dtype) if facts else {}
        self.training = training
        self.serving: Node | None = None
        self._taken = set(taken)
        self._counts: dict[str, int] = {}

    @staticmethod
    def over(graph: Graph) -> GraphBuilder:
        """A builder that adds to a graph: its facts are known, its names taken."""
        return GraphBuilder(graph.facts, graph.training, (node.name for node in graph.nodes))

    def input(self, name: str, shape: Shape | None, dtype: str | None, role: Role = "argument") -> Value:
        """A new input of the graph."""
        value = Node(None, name, role=role)[0]
        if shape is not None:
            self.shapes[value] = shape
        if dtype is not None:
            self.dtypes[value] = dtype
        return value

    def __call__(self, name: str, *inputs: Value, **params: Any) -> Value:
        """The first output of operator `name` applied to values."""
        return self.node(name, *inputs, **params)[0]

    def node(self, name: str, *inputs: Value, **params: Any) -> Node:
        """A node of operator `name` applied to values."""
        cls = lookup(name)
        if cls is None:
            raise KeyError(f"operator {name} is not registered")
        return self.apply(cls.create(params), inputs)

    def apply(self, op: Op, inputs: Sequence[Value], name: str | None = None, origin: str = "") -> Node:
        """A node of an operator instance; raises ShapeError or DTypeError, naming the node, on contradiction."""
        if name is None:
            base = f"{self.serving.name}.{op.name.strip('_')}" if self.serving else op.name.strip("_")
            name = self._unique(base)
            origin = self.serving.origin if self.serving else ""
        node = Node(op, name, tuple(inputs), origin=origin)
        self.infer(node)
        return node

    def inline(self, body: Graph, inputs: Sequence[Value]) -> list[Value]:
        """The heads of a body, computed from values by nodes of this graph."""
        new = {node[0]: v for node, v in zip(body.inputs, inputs)}
        prefix = f"{self.serving.name}." if self.serving else ""
        for node in body.nodes:
            if not node.is_input:
                name = self._unique(prefix + node.name)
                made = self.apply(node.operator, [new[v] for v in node.inputs], name, node.origin)
                new.update((Value(node, k), Value(made, k)) for k in range(node.n_outputs))
        return [new[o.value] for o in body.outputs]

    def _unique(self, base: str) -> str:
        """The base itself, or with the first number that makes it new."""
        count = self._counts.get(base, 0)
        name = f"{base}{count}" if count else base
        while name in self._taken:
            count += 1
            name = f"{base}{count}"
        self._counts[base] = count + 1
        self._taken.add(name)
        return name

    def moved(self, node: Node, inputs: tuple[Value, ...]) -> Node:
        """The node over other inputs of the same shapes and dtypes; what is known about its outputs stays known."""
        if inputs == node.inputs:
            return node
        made = Node(node.op, node.name, inputs, node.role, node.origin)
        for k in range(node.n_outputs):
            old, new = Value(node, k), Value(made, k)
            if old in self.shapes:
                self.shapes[new] = self.shapes[old]
            if old in self.dtypes:
                self.dtypes[new] = self.dtypes[old]
        return made

    def infer(self, node: Node) -> None:
        """Forward inference of one node."""
        assert node.op is not None
        outs = [node[k] for k in range(node.n_outputs)]
        try:
            _, shapes = node.op.checked_shapes([self.shapes.get(v) for v in node.inputs], [None] * len(outs))
            _, dtypes = node.op.infer_dtype([self.dtypes.get(v) for v in node.inputs], [None] * len(outs))
        except (ShapeError, DTypeError) as e:
            known: Mapping[Value, Any] = self.shapes if isinstance(e, ShapeError) else self.dtypes
            raise explained(e, node, [known.get(v) for v in node.inputs]) from e
        self.shapes.update((v, s) for v, s in zip(outs, shapes) if s is not None)
        self.dtypes.update((v, d) for v, d in zip(outs, dtypes) if d is not None)

    def shape(self, value: Value) -> FullShape:
        """The shape of a value, fully known."""
        return self.shapes[value]  # type: ignore[return-value]

    def dtype(self, value: Value) -> str:
        """The dtype of a value."""
        return self.dtypes[value]

    def add(self, values: Sequence[Value]) -> Value:
        """The sum of one or more values of equal shape."""
        if len(values) == 1:
            return values[0]
        if len(values) == 2:
            return self("elemwise_add", *values)
        return self("add_n", *values, num_args=len(values))

    def scale(self, value: Value, factor: float) -> Value:
        """value * factor."""
        return value if factor == 1 else self("_mul_scalar", value, scalar=factor)

    def like(self, value: Value, fill: float) -> Value:
        """A constant of the shape and dtype of a value."""
        return self.full(self.shape(value), self.dtype(value), fill)

    def full(self, shape: FullShape, dtype: str, fill: float) -> Value:
        """A constant; also of shape () or without elements, which MXNet's own operator takes for unknown."""
        return self("_full" if shape and all(shape) else "_exactly_full", shape=shape, dtype=dtype, value=fill)


Rewrite = Callable[["GraphBuilder", Node, tuple[Value, ...]], "Sequence[Value] | None"]


def rewrite(graph: Graph, rule: Rewrite) -> Graph:
    """The graph with every node replaced by what `rule(builder, node, new_inputs)` returns.

    The rule sees nodes in topological order with their inputs already replaced; None keeps the node.  Nodes that
    nothing needs any more disappear.  Shapes and dtypes of old and new nodes are kept.  When the rule keeps every
    node, the result is the graph itself.
    """
    g = GraphBuilder.over(graph)
    new: dict[Value, Value] = {}
    for node in graph.nodes:
        if node.is_input:
            continue
        g.serving = node
        inputs = tuple([new.get(v, v) for v in node.inputs])
        found = rule(g, node, inputs)
        if found is None:
            if inputs == node.inputs:
                continue
            kept = g.moved(node, inputs)
            found = [Value(kept, k) for k in range(node.n_outputs)]
        new.update((Value(node, k), v) for k, v in enumerate(found))
    if not new:
        return graph
    return finish(g, [Output(o.kind, o.name, new.get(o.value, o.value)) for o in graph.outputs])


def rewrite_until_stable(graph: Graph, rule: Rewrite) -> Graph:
    """`rewrite`, repeated until the rule keeps every node; a node it has kept is not asked again as it is."""
    settled: set[Node] = set()

    def ask(g: GraphBuilder, node: Node, inputs: tuple[Value, ...]) -> Sequence[Value] | None:
        is_same = inputs == node.inputs
        if is_same and node in settled:
            return None
        found = rule(g, node, inputs)
        if found is None and is_same:
            settled.add(node)
        return found

    while (result := rewrite(graph, ask)) is not graph:
        graph = result
    return graph


def finish(
    g: GraphBuilder,
    outputs: Sequence[Output],
    layouts: Mapping[Value, Any] | None = None,
    inputs: Iterable[Node] = (),
) -> Graph:
    """The graph of the outputs with the builder's facts about the nodes that are left; `inputs` stay in any case."""
    graph = Graph.of(outputs, g.training, inputs=inputs)
    live = [node[k] for node in graph.nodes for k in range(node.n_outputs)]
    layouts = layouts or {}
    return graph.with_facts(
        shape={v: g.shapes[v] for v in live if v in g.shapes},
        dtype={v: g.dtypes[v] for v in live if v in g.dtypes},
        layout={v: layouts[v] for v in live if v in layouts},
    )


__all__ = ["GraphBuilder", "Rewrite", "finish", "rewrite", "rewrite_until_stable"]
