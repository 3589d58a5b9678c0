"""Concatenation without copies: which values can be computed straight into a part of the array that collects them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from symc.core.dtypes import compute_dtype
from symc.ir.graph import Graph, Node, Value
from symc.loopir.expr import Affine
from symc.loopir.kernel import Buffer
from symc.loopir.tensor import Region, Tensor

from .meaning import define, meaning_of, same_order
from .phases import Phase

Offset = Callable[[Buffer], int]  # elements from the start of the whole to the start of the part


def placements(graph: Graph, when: Mapping[Node, Phase]) -> dict[Value, tuple[Value, Offset]]:
    """Maps a part to (whole, offset of the part inside the whole's buffer).

    A part qualifies when an operator copies it unchanged into a box of its output (Concat, Pad), it is computed by a
    kernel of the same phase in the same memory order, it goes to one place only, and no view of it is taken.
    """
    found: dict[Value, tuple[Value, Offset]] = {}
    for node in graph.nodes:
        if node not in graph.facts.group or not node.operator.is_assembly:
            continue
        names = {f"in{k}": v for k, v in enumerate(node.inputs)}
        by_value = {v: n for n, v in names.items()}
        ins = {v: Tensor(n, graph.shape(v), compute_dtype(graph.dtype(v))) for v, n in by_value.items()}
        t = define(graph, node, ins.__getitem__)
        for region in t.regions.get(0, ()):
            corner = copied_box(region)
            if corner is None:
                continue
            part = names[region.value.data[0]]
            if _qualifies(graph, when, node, part) and part not in found:
                found[part] = (node[0], partial(_distance, corner))
    return found


def copied_box(region: Region) -> tuple[int, ...] | None:
    """Where the box starts that a region fills with an input, element by element; None when it does anything else."""
    if region.mode != "set" or region.value.op != "load" or len(region.index) != len(region.axes):
        return None
    if region.value.data[1] != tuple(Affine.of(a) for a in region.axes):
        return None
    corner = []
    for axis, i in zip(region.axes, region.index):
        if not isinstance(i, Affine):
            i = Affine.of(i)  # type: ignore[arg-type]
        if axis.extent == 1:
            i = Affine(tuple(t for t in i.terms if t[0] != axis), i.constant)
        elif i.coefficient(axis) != 1 or len(i.terms) != 1:
            return None
        if any(a is not axis for a in i.axes()):
            return None
        corner.append(i.constant)
    return tuple(corner)


def _distance(corner: tuple[int, ...], whole: Buffer) -> int:
    return sum(stride * start for stride, start in zip(whole.strides, corner))


def _qualifies(graph: Graph, when: Mapping[Node, Phase], whole: Node, part: Value) -> bool:
    producer = part.node
    if producer not in graph.facts.group or graph.facts.group[producer] == graph.facts.group[whole]:
        return False
    if part in graph.output_values or graph.dtype(part) != graph.dtype(whole[0]):
        return False
    users = graph.users.get(part, ())
    if sum(user is whole for user, _ in users) != 1 or any(user not in graph.facts.group for user, _ in users):
        return False  # collected twice, or seen through a memory view, which must be dense
    if any(user.bodies for user, _ in users):
        return False  # rows of it must be dense
    if when[producer] != when[whole] or meaning_of(graph, producer).kind in ("template", "loop"):
        return False  # these fill dense memory
    return same_order(graph.layout(part).order, graph.layout(whole[0]).order, graph.shape(part))
