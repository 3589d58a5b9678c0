"""The verifier that runs after every pass: it re-derives what must hold with the operators' own rules."""

from __future__ import annotations

from ..core.errors import GraphError, SymcError
from ..core.shapes import unify
from ..ir.graph import Graph, Node


def verify(graph: Graph, after: str, complete: bool = True) -> None:
    """Raises GraphError, naming the pass and the node, when the graph breaks an invariant.

    Checked: topological order; input counts; outputs exist; with `complete`, every value has a shape and a dtype, and
    each operator's own inference agrees with them.
    """
    seen: set[Node] = set()
    for node in graph.nodes:
        for v in node.inputs:
            if v.node not in seen:
                raise GraphError(f"after {after}: node {node.name} comes before its input {v}")
            if not 0 <= v.index < v.node.n_outputs:
                raise GraphError(f"after {after}: node {node.name} reads output {v.index} of {v.node.name}")
        if node.op is not None and len(node.inputs) != len(node.op.input_names()):
            raise GraphError(
                f"after {after}: {node.op.name} {node.name} has {len(node.inputs)} inputs, "
                f"expected {node.op.input_names()}"
            )
        seen.add(node)
        if complete:
            _verify_facts(graph, node, after)
    for output in graph.outputs:
        if output.value.node not in seen:
            raise GraphError(f"after {after}: output {output.name} is not computed by the graph")


def _verify_facts(graph: Graph, node: Node, after: str) -> None:
    shape, dtype = graph.facts.shape, graph.facts.dtype
    outs = [node[k] for k in range(node.n_outputs)]
    for v in outs:
        if v not in shape or None in (shape[v] or ()) or v not in dtype:
            raise GraphError(f"after {after}: shape or dtype of {v} is not known: {shape.get(v)} {dtype.get(v)}")
    if node.op is None:
        return
    try:
        _, shapes = node.op.infer_shape([shape[v] for v in node.inputs], [None] * len(outs))
        _, dtypes = node.op.infer_dtype([dtype[v] for v in node.inputs], [None] * len(outs))
        for v, s, d in zip(outs, shapes, dtypes):
            unify(shape[v], s)
            if d is not None and d != dtype[v]:
                raise GraphError(f"dtype {dtype[v]}, the operator gives {d}")
    except SymcError as e:
        raise GraphError(f"after {after}: facts of {node.op.name} {node.name} do not hold: {e}") from e
