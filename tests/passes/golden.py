"""Runs a pass on a graph given as text and compares the text of the result."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import dedent

import symc.ops  # noqa: F401  (registers the operators)
from symc.ir.graph import Graph
from symc.ir.parse import parse_graph
from symc.ir.text import graph_text
from symc.passes.base import Pass, PassContext

from .simulate import PlainBackend


def graph_of(text: str) -> Graph:
    """The graph of an indented text; of inputs without a type, x, y, ... are not known."""
    return parse_graph(dedent(text).strip() + "\n")


def context(grad_req: Mapping[str, str] | None = None) -> PassContext:
    """A context for a machine that reads every operand as it lies."""
    return PassContext(PlainBackend(), grad_req or {})


def changes(
    p: Pass, before: str, after: str, grad_req: Mapping[str, str] | None = None, is_idempotent: bool = True
) -> Graph:
    """Checks what a pass makes of a graph, that it leaves the graph alone, and that a second run changes nothing."""
    graph = graph_of(before)
    was = graph_text(graph)
    result = p(graph, context(grad_req))
    assert graph_text(result) == dedent(after).strip() + "\n", f"{p.name} gave\n{graph_text(result)}"
    assert graph_text(graph) == was
    if is_idempotent:
        assert graph_text(p(result, context(grad_req))) == graph_text(result)
    return result


def keeps(p: Pass, text: str, grad_req: Mapping[str, str] | None = None) -> None:
    """Checks that a pass leaves a graph as it is."""
    changes(p, text, text, grad_req)
