"""The printed form of a graph: one line a node, in order."""

from __future__ import annotations

from .graph import Graph, Value


def graph_text(graph: Graph) -> str:
    """A graph as text.

        argument %x: float32[2, 3]
        %y = exp(%x): float32[2, 3]  group 0
        head y_output = %y
    """
    lines = []
    for node in graph.nodes:
        types = ", ".join(_type_text(graph, node[k]) for k in range(node.n_outputs))
        suffix = f": {types}" if types else ""
        if node.op is None:
            lines.append(f"{node.role} %{node.name}{suffix}")
            continue
        parts = [str(v) for v in node.inputs] + [f"{k}={v!r}" for k, v in node.op.given_params().items()]
        group = graph.facts.group.get(node)
        lines.append(
            f"%{node.name} = {node.op.name}({', '.join(parts)}){suffix}" + (f"  group {group}" if group is not None else "")
        )
    lines += [f"{o.kind} {o.name} = {o.value}" for o in graph.outputs]
    return "\n".join(lines) + "\n"


def _type_text(graph: Graph, v: Value) -> str:
    shape, dtype = graph.facts.shape.get(v), graph.facts.dtype.get(v)
    if shape is None:
        return dtype or ""
    extents = ", ".join("?" if n is None else str(n) for n in shape)
    layout = graph.facts.layout.get(v)
    order = f" layout {layout}" if layout is not None and not layout.is_row_major else ""
    return f"{dtype or '?'}[{extents}]{order}"
