"""When a node runs: once for given parameters, at every forward, or at every backward."""

from __future__ import annotations

from typing import Literal

from ..ir.graph import Graph, Node

Phase = Literal["prepare", "forward", "backward"]
PHASES: tuple[Phase, ...] = ("prepare", "forward", "backward")


def constant_nodes(graph: Graph) -> set[Node]:
    """Nodes that depend on parameters and frozen states alone (those inputs themselves included)."""
    found: set[Node] = set()
    for node in graph.nodes:
        if node.is_input:
            if node.role in ("parameter", "aux"):
                found.add(node)
        elif not node.op.is_random and all(v.node in found for v in node.inputs):
            found.add(node)
    return found


def phases(graph: Graph) -> dict[Node, Phase]:
    """The phase of every operation: "prepare" when parameters decide it, "forward" when a head needs it."""
    constant = constant_nodes(graph)
    needed: set[Node] = set()
    heads = {o.value.node for o in graph.outputs if o.kind == "head"}
    for node in reversed(graph.nodes):
        if node in heads or node in needed:
            needed.add(node)
            needed.update(v.node for v in node.inputs)
    # An output itself is always written during its own run, never only once.
    written = {o.value.node for o in graph.outputs}
    return {
        node: "prepare" if node in constant and node not in written else "forward" if node in needed else "backward"
        for node in graph.nodes
        if not node.is_input
    }
