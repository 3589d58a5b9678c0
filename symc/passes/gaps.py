"""Gaps between rows that a product computes for a loop, where they would evict each other from the nearest cache.

A product stores several rows at once, and a round of a recurrent layer adds several to sums of its own. Rows of 4 KB
begin in the same set of a cache whose ways are 4 KB large; a gap behind each row puts them into sets of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping

from symc.core.dtypes import ITEM_SIZE
from symc.core.shapes import size_of
from symc.ir.graph import Graph, Node, Value
from symc.ops.control.iterate import Iterate

from .meaning import meaning_of
from .phases import Phase
from .placement import products_of


def row_distances(
    graph: Graph, when: Mapping[Node, Phase], placed: Container[Value], gap_behind: Callable[[int], int]
) -> dict[Value, int]:
    """The elements from the beginning of a row to that of the next, of matrices with gaps and of their views.

    A matrix qualifies when it is a product's result, no output and not `placed` (inside another array, or with others
    inside), the machine wants a gap behind its rows, and only loops read it, row by row, through views that split its
    rows into several axes.
    """
    products = products_of(graph)
    found: dict[Value, int] = {}
    for node, group in graph.facts.group.items():
        if group not in products or products[group].kind == "weight_gradient" or when[node] == "prepare":
            continue
        for v in (node[k] for k in range(node.n_outputs)):
            shape, item = graph.shape(v), ITEM_SIZE[graph.dtype(v)]
            gap_bytes = gap_behind(shape[-1] * item) if len(shape) == 2 else 0
            views = _read_by_loops(graph, v) if gap_bytes and v not in placed else []
            found.update(dict.fromkeys(views, shape[-1] + gap_bytes // item))
    return found


def _read_by_loops(graph: Graph, v: Value) -> list[Value]:
    """A matrix and its views; nothing where others than loops read these, or other views than of whole rows."""
    found = [v]
    for seen in found:
        has_rows = graph.shape(seen)[-1] == graph.shape(v)[-1] and graph.layout(seen).is_row_major
        if seen in graph.output_values or not has_rows:
            return []
        for user, position in graph.users.get(seen, ()):
            if user not in graph.facts.group:
                found.append(user[0])
            elif not isinstance(user.op, Iterate) or not _reads_at_strides(user.op, position):
                return []
    return found


def _reads_at_strides(loop: Iterate, position: int) -> bool:
    """Whether a round of a loop reads several rows of its input number `position`, by kernels that follow any strides:
    by no routine, no loop inside, no product as its operand.
    """
    if position >= loop.n_data:
        return False
    body, products = loop.body, products_of(loop.body)
    row = list(body.inputs)[position][0]
    if size_of(body.shape(row)[:-1]) == 1:
        return False  # which nobody evicts

    def reads_at_strides(user: Node) -> bool:
        if user not in body.facts.group or meaning_of(body, user).kind in ("product", "template", "loop"):
            return False
        product = products.get(body.facts.group[user])  # beside whose sums rows must be evenly spaced
        return product is None or (product.kind == "forward" and len(body.shape(row)) == 2)

    return row not in body.output_values and all(reads_at_strides(user) for user, _ in body.users.get(row, ()))
