"""From the compiler's graph back to a Symbol: what `Executor.get_optimized_symbol` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from symc.ir.graph import Graph, Node
from symc.ir.infer import infer_dtype, infer_shape
from symc.passes.base import PassContext
from symc.passes.merge_equal import merge_equal
from symc.passes.simplify import simplify

from .compose import param_attrs, read_versions
from .node import Entry, SymbolNode

if TYPE_CHECKING:
    from .symbol import Symbol


def optimized(symbol: Symbol, graph: Graph, context: PassContext) -> Symbol:
    """The symbol after the passes whose results MXNet's operators express: algebra, then equal nodes merged.

    What later passes do (layouts, folding into weights, fusion) has no such form; `Executor.explain` shows it.
    """
    graph = infer_dtype(infer_shape(graph))
    for rewriting in (simplify, merge_equal):
        after = rewriting(graph, context)
        if not any(node.op is not None and node.op.is_internal for node in after.nodes):
            graph = after
    return from_graph(graph, symbol)


def from_graph(graph: Graph, original: Symbol) -> Symbol:
    """The heads of a graph of public operators as a symbol; nodes of the original keep their attributes."""
    from .symbol import Symbol

    known = {(n.name, n.op): n for n in original.nodes()}
    new: dict[Node, SymbolNode] = {}
    for node in graph.nodes:
        before = known.get((node.name, node.op))
        attrs = param_attrs(node.operator.given_params()) if before is None else dict(before.attrs)
        lifted = new[node] = SymbolNode(node.op, node.name, attrs, origin=node.origin)
        lifted.inputs = [Entry(new[v.node], v.index) for v in node.inputs]
        if node.op is not None:
            read_versions(lifted)
    return Symbol([Entry(new[o.value.node], o.value.index) for o in graph.outputs if o.kind == "head"])
