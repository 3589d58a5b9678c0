"""When a node runs: once for given parameters, at every forward, or at every backward."""

from __future__ import annotations

from typing import Literal

from symc.ir.graph import Graph, Node
from symc.ir.kernels import HELD

Phase = Literal["prepare", "forward", "backward"]
PHASES: tuple[Phase, ...] = ("prepare", "forward", "backward")


def constant_nodes(graph: Graph, apart_from: frozenset[Node] = frozenset()) -> set[Node]:
    """Nodes that depend on parameters and frozen states alone (those inputs themselves included).

    A state that the graph updates is not frozen: what depends on it would have all be prepared again in every run.
    `apart_from` are nodes that do not count as constant, nor does what depends on them.
    """
    found: set[Node] = set()
    updated = {o.name for o in graph.outputs if o.kind == "update"}
    for node in graph.nodes:
        if node.is_input:
            if node.role in HELD and node.name not in updated:
                found.add(node)
        elif node in apart_from or node.operator.is_random or node.operator.calls_out:
            continue
        elif all(v.node in found for v in node.inputs):
            found.add(node)
    return found


def phases(graph: Graph) -> dict[Node, Phase]:
    """The phase of every operation: "prepare" when parameters decide it, "forward" when a head needs it, or when it is
    made of what heads need to be left for the way back.
    """
    # An output is written by every run, so it and what depends on it are never prepared.
    constant = constant_nodes(graph, frozenset(o.value.node for o in graph.outputs))
    needed: set[Node] = set()
    heads = {o.value.node for o in graph.outputs if o.kind in ("head", "check")}
    for node in reversed(graph.nodes):
        if node in heads or node in needed:
            needed.add(node)
            needed.update(v.node for v in node.inputs)
    for node in graph.nodes:
        if not node.is_input and node.operator.is_left and needed.issuperset(v.node for v in node.inputs):
            needed.add(node)
    return {
        node: "prepare" if node in constant else "forward" if node in needed else "backward"
        for node in graph.nodes
        if not node.is_input
    }
