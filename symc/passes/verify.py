"""The verifier that runs after every pass: it re-derives what must hold with the operators' own rules."""

from __future__ import annotations

from collections.abc import Set

from symc.core.errors import GraphError, SymcError
from symc.core.shapes import is_known, unify
from symc.ir.bodies import is_inferred
from symc.ir.graph import Graph, Node, Value


class Verifier:
    """Verifies the graphs of one pipeline.

    Nodes are immutable and shared between graphs, so an operator's own inference is asked again only about a node that
    is new or around which a fact has changed; a graph that a pass returned as it was is not looked at again.
    """

    def __init__(self) -> None:
        self.facts: dict[Value, tuple] = {}  # the shape and dtype with which a value was last found right
        self.nodes: set[Node] = set()
        self.last: tuple[Graph, Set[str]] | None = None  # what was found right last, and the facts known of it

    def verify(self, graph: Graph, after: str, known: Set[str] = frozenset(("shape", "dtype"))) -> None:
        """Raises GraphError, naming the pass and the node, when the graph breaks an invariant.

        Checked: topological order; input counts; outputs exist; with shape and dtype known, every value has both and
        each operator's own inference agrees; with layout known, every value has one of its rank; with group known,
        every operation that is not a memory view has one.
        """
        if self.last is not None and self.last[0] is graph and self.last[1] >= known:
            return
        self._verify_order(graph, after, known)
        if {"shape", "dtype"} <= known:
            self._verify_facts(graph, after)
        if "layout" in known:
            _verify_layouts(graph, after)
        if "group" in known:
            _verify_groups(graph, after)
        self.last = graph, known

    def _verify_order(self, graph: Graph, after: str, known: Set[str]) -> None:
        seen: set[Node] = set()
        for node in graph.nodes:
            for v in node.inputs:
                if v.node not in seen:
                    raise GraphError(f"after {after}: node {node.name} comes before its input {v}")
            if node not in self.nodes:
                _verify_bodies(graph, node, after, known)
                _verify_arity(node, after)
            seen.add(node)
        for output in graph.outputs:
            if output.value.node not in seen:
                raise GraphError(f"after {after}: output {output.name} is not computed by the graph")

    def _verify_facts(self, graph: Graph, after: str) -> None:
        shape, dtype = graph.facts.shape, graph.facts.dtype
        changed: set[Value] = set()
        for node in graph.nodes:
            for k in range(node.n_outputs):
                v = Value(node, k)
                fact = (shape.get(v), dtype.get(v))
                if self.facts.get(v) == fact:
                    continue
                if not is_known(fact[0]) or fact[1] is None:
                    raise GraphError(f"after {after}: shape or dtype of {v} is not known: {fact[0]} {fact[1]}")
                self.facts[v] = fact
                changed.add(v)
        for node in graph.nodes:
            if node in self.nodes and (not changed or changed.isdisjoint(_around(node))):
                continue
            if not node.is_input:
                _verify_inference(graph, node, after)
            self.nodes.add(node)


def verify(graph: Graph, after: str, known: Set[str] = frozenset(("shape", "dtype"))) -> None:
    """Verifies one graph from scratch (see Verifier.verify)."""
    Verifier().verify(graph, after, known)


def _around(node: Node) -> list[Value]:
    return [*node.inputs, *(node[k] for k in range(node.n_outputs))]


def _verify_arity(node: Node, after: str) -> None:
    for v in node.inputs:
        if not 0 <= v.index < v.node.n_outputs:
            raise GraphError(f"after {after}: node {node.name} reads output {v.index} of {v.node.name}")
    names = node.op.input_names() if node.op else ()
    if len(node.inputs) != len(names):
        what = node.op.name if node.op else node.role
        raise GraphError(f"after {after}: {what} {node.name} has {len(node.inputs)} inputs, expected {names}")


def _verify_bodies(graph: Graph, node: Node, after: str, known: Set[str]) -> None:
    where = f"{after}, in a body of {node.name}"
    if len(node.bodies) != (node.op.n_bodies if node.op else 0):
        raise GraphError(f"after {after}: node {node.name} has {len(node.bodies)} bodies")
    for body in node.bodies:
        verify(body, where, known if is_inferred(body) else frozenset())
        strange = [o for o in body.outputs if o.kind != "head"]
        if strange:
            raise GraphError(f"after {where}: {strange[0].kind} {strange[0].name}; bodies have heads alone")
        if body.training != graph.training:
            raise GraphError(f"after {where}: training is {body.training}, around it {graph.training}")


def _verify_inference(graph: Graph, node: Node, after: str) -> None:
    shape, dtype = graph.facts.shape, graph.facts.dtype
    outs = [node[k] for k in range(node.n_outputs)]
    op = node.operator
    try:
        _, shapes = op.infer_shape([shape[v] for v in node.inputs], [None] * len(outs))
        _, dtypes = op.infer_dtype([dtype[v] for v in node.inputs], [None] * len(outs))
        for v, s, d in zip(outs, shapes, dtypes):
            if s != shape[v]:
                unify(shape[v], s)
            if d is not None and d != dtype[v]:
                raise GraphError(f"dtype {dtype[v]}, the operator gives {d}")
    except SymcError as e:
        raise GraphError(f"after {after}: facts of {op.name} {node.name} do not hold: {e}") from e


def _verify_layouts(graph: Graph, after: str) -> None:
    for node in graph.nodes:
        for k in range(node.n_outputs):
            v = Value(node, k)
            layout = graph.facts.layout.get(v)
            if layout is None or sorted(layout.order) != list(range(len(graph.shape(v)))):
                raise GraphError(f"after {after}: layout of {v} is {layout}, its shape {graph.shape(v)}")


def _verify_groups(graph: Graph, after: str) -> None:
    for node in graph.nodes:
        if not node.is_input and not node.operator.is_view and node not in graph.facts.group:
            raise GraphError(f"after {after}: {node.operator.name} {node.name} belongs to no group")
