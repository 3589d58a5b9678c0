"""The printed form of a graph: one line a node, in order; `parse.parse_graph` reads it back."""

from __future__ import annotations

import re

from .graph import Graph, Node, Value

BODY, INSIDE = "  body", "    "  # the line above a body, what is in front of each of its own lines
PLAIN_NAME = re.compile(r"[\w.\-/~]+")  # other names are printed as Python string literals


def graph_text(graph: Graph) -> str:
    """A graph as text.

        training
        argument %x: float32[2, 3]
        %y = exp(%x): float32[2, 3]  group 0
        head y_output = %y

    `training` is there when operators behave as in training.  `%y:1` is the second output of %y, `%y#1` the second node
    called y.  Types stand in the order of a node's outputs, `?` for what is not known; a layout that is not row-major
    follows its type.  Origins are left out.  The bodies of a node follow it, indented, each under a line `  body`.
    """
    refs = _references(graph)

    def text(v: Value) -> str:
        return f"{refs[v.node]}:{v.index}" if v.index else refs[v.node]

    lines = ["training"] if graph.training else []
    for node in graph.nodes:
        types = [_type_text(graph, node[k]) for k in range(node.n_outputs)]
        suffix = f": {', '.join(types)}" if set(types) - {"?"} else ""
        if node.op is None:
            lines.append(f"{node.role} {refs[node]}{suffix}")
            continue
        parts = [text(v) for v in node.inputs] + [f"{k}={v!r}" for k, v in node.op.given_params().items()]
        group = graph.facts.group.get(node)
        at = "" if group is None else f"  group {group}"
        lines.append(f"{refs[node]} = {node.op.name}({', '.join(parts)}){suffix}{at}")
        for body in node.bodies:
            lines += [BODY, *(f"{INSIDE}{line}" for line in graph_text(body).splitlines())]
    lines += [f"{o.kind} {quoted(o.name)} = {text(o.value)}" for o in graph.outputs]
    return "\n".join(lines) + "\n"


def quoted(name: str) -> str:
    """A name as it is printed."""
    return name if PLAIN_NAME.fullmatch(name) else repr(name)


def _references(graph: Graph) -> dict[Node, str]:
    """What each node is called in the text: nodes of one name are numbered."""
    seen: dict[str, int] = {}
    found = {}
    for node in graph.nodes:
        count = seen.get(node.name, 0)
        seen[node.name] = count + 1
        found[node] = f"%{quoted(node.name)}" + (f"#{count}" if count else "")
    return found


def _type_text(graph: Graph, v: Value) -> str:
    shape, dtype = graph.facts.shape.get(v), graph.facts.dtype.get(v)
    if shape is None:
        return dtype or "?"
    extents = ", ".join("?" if n is None else str(n) for n in shape)
    layout = graph.facts.layout.get(v)
    order = f" layout {layout}" if layout is not None and not layout.is_row_major else ""
    return f"{dtype or '?'}[{extents}]{order}"
