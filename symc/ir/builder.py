"""Builds graphs node by node; shapes and dtypes are inferred as soon as those of the inputs are known.

>>> from symc.ops import elementwise
>>> g = GraphBuilder()
>>> x = g.input("x", (2, 3), "float32")
>>> y = g("exp", g("_plus_scalar", x, scalar=1.0))
>>> g.shape(y)
(2, 3)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..core.errors import DTypeError, ShapeError
from ..core.op import Op, lookup
from ..core.shapes import FullShape, Shape
from .graph import Facts, Graph, Node, Output, Role, Value


class GraphBuilder:
    """Creates nodes and keeps the facts about them; `serving` names the node that new ones are made for."""

    def __init__(self, facts: Facts | None = None, training: bool = False) -> None:
        self.shapes: dict[Value, Shape] = dict(facts.shape) if facts else {}
        self.dtypes: dict[Value, str] = dict(facts.dtype) if facts else {}
        self.training = training
        self.serving: Node | None = None
        self._counts: dict[str, int] = {}

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
            count = self._counts.get(base, 0)
            self._counts[base] = count + 1
            name = f"{base}{count}" if count else base
            origin = self.serving.origin if self.serving else ""
        node = Node(op, name, tuple(inputs), origin=origin)
        self.infer(node)
        return node

    def infer(self, node: Node) -> None:
        """Forward inference of one node."""
        assert node.op is not None
        outs = [node[k] for k in range(node.n_outputs)]
        try:
            _, shapes = node.op.infer_shape([self.shapes.get(v) for v in node.inputs], [None] * len(outs))
            _, dtypes = node.op.infer_dtype([self.dtypes.get(v) for v in node.inputs], [None] * len(outs))
        except (ShapeError, DTypeError) as e:
            raise type(e)(f"Error in operator {node.name}: {e}") from e
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
        return self("_full", shape=self.shape(value), dtype=self.dtype(value), value=fill)


Rewrite = Callable[["GraphBuilder", Node, tuple[Value, ...]], "Sequence[Value] | None"]


def rewrite(graph: Graph, rule: Rewrite, keep_layout: bool = False) -> Graph:
    """The graph with every node replaced by what `rule(builder, node, new_inputs)` returns.

    The rule sees nodes in topological order with their inputs already replaced; None keeps the node.  Nodes that
    nothing needs any more disappear.  Shapes and dtypes of old and new nodes are kept.
    """
    g = GraphBuilder(graph.facts, graph.training)
    new: dict[Value, Value] = {}
    layouts: dict[Value, Any] = dict(graph.facts.layout) if keep_layout else {}
    for node in graph.nodes:
        g.serving = node
        inputs = tuple(new[v] for v in node.inputs)
        found = None if node.is_input else rule(g, node, inputs)
        if found is None:
            same = all(a is b.node and i == b.index for (a, i), b in zip(node.inputs, inputs))
            kept = node if same else Node(node.op, node.name, inputs, node.role, node.origin)
            if kept is not node:
                for k in range(node.n_outputs):
                    for table in (g.shapes, g.dtypes, layouts):
                        if node[k] in table:
                            table[kept[k]] = table[node[k]]
            found = [kept[k] for k in range(node.n_outputs)]
        new.update((node[k], v) for k, v in enumerate(found))
    outputs = [Output(o.kind, o.name, new[o.value]) for o in graph.outputs]
    return finish(g, outputs, layouts)


def finish(g: GraphBuilder, outputs: Sequence[Output], layouts: Mapping[Value, Any] | None = None) -> Graph:
    """The graph of the outputs with the builder's facts about the nodes that are left."""
    graph = Graph.of(outputs, g.training)
    live = [node[k] for node in graph.nodes for k in range(node.n_outputs)]
    layouts = layouts or {}
    return graph.with_facts(
        shape={v: g.shapes[v] for v in live if v in g.shapes},
        dtype={v: g.dtypes[v] for v in live if v in g.dtypes},
        layout={v: layouts[v] for v in live if v in layouts},
    )


__all__ = ["GraphBuilder", "Rewrite", "finish", "rewrite"]
