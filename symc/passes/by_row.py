"""Which nodes treat the rows of a batch alike: each row of their outputs needs of their data that row alone."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from symc.core.bounded import bounded
from symc.core.dtypes import ITEM_SIZE
from symc.core.errors import ShapeError
from symc.core.shapes import Shape, size_of
from symc.ir.graph import Graph, Node, Value
from symc.loopir.expr import Affine, Axis, Expr, IndexLike, free_axes, load, walk
from symc.loopir.kernel import ACCUMULATOR
from symc.loopir.tensor import Lowering

from .signature import Signature, signature_of


@dataclass(frozen=True)
class ByRow:
    """A node whose outputs, (n_rows, ...) each, are made row by row of the inputs in `data`, and of `fixed` as a whole.

    row_bytes    of a row of its data and outputs
    fixed_bytes  of the other inputs
    """

    node: Node
    n_rows: int
    data: frozenset[Value]
    fixed: frozenset[Value]
    is_product: bool
    row_bytes: int
    fixed_bytes: int


def by_row(graph: Graph, node: Node) -> ByRow | None:
    """What `ByRow` says of a node, by its definitions; None where a row needs more, or the node is random, Python, a
    loop or a routine.
    """
    op = node.operator
    outs = [node[k] for k in range(node.n_outputs)]
    n_rows = graph.shape(outs[0])[0] if graph.shape(outs[0]) else 0
    if n_rows < 2 or op.is_random or op.calls_out or op.bodies:
        return None
    if any(graph.shape(v)[:1] != (n_rows,) for v in outs):
        return None
    read, is_product = _rows_read(signature_of(graph, node))
    data = frozenset(node.inputs[k] for k in read)
    fixed = frozenset(v for k, v in enumerate(node.inputs) if k not in read)
    if not data or data & fixed:
        return None
    row_bytes = sum(_bytes(graph, v) for v in (*data, *outs)) // n_rows
    fixed_bytes = sum(_bytes(graph, v) for v in fixed)
    return ByRow(node, n_rows, data, fixed, is_product, row_bytes, fixed_bytes)


@bounded(1 << 12)
def _rows_read(s: Signature) -> tuple[frozenset[int], bool]:
    """The positions of inputs that are read row by row, none where a row of an output needs more; and whether the
    operator is a product.
    """
    n_rows = s.out_shapes[0][0]
    if s.op.is_view:
        return frozenset({0} if s.in_shapes[0][:1] == (n_rows,) else ()), False
    t = s.lowered(range(len(s.in_shapes)))
    read = frozenset(_read_by_row(t, n_rows) or ())
    if read and not _is_of_any_batch(s, read):
        read = frozenset()
    return read, bool(t.products)


def _read_by_row(t: Lowering, n_rows: int) -> set[int] | None:
    """The positions of inputs of which a row of the outputs needs that row alone, while nothing else that it needs
    depends on which row it is; None where that is not so.
    """
    if t.routine is not None or any(p.kind == "weight_gradient" or p.stack is not None for p in t.products.values()):
        return None
    found = {p.lhs for p in t.products.values()}  # (batch, ...), as is the result
    for row, value in _stored(t):
        if row is None or row.extent != n_rows:
            return None
        for e in walk(value):
            if e.op == "load" and e.data[0] != ACCUMULATOR:
                name, index = e.data
                position = int(name.removeprefix("in"))
                if index and index[0] == Affine.of(row) and t.ins[position].shape[0] == n_rows:
                    found.add(position)
                    index = index[1:]
                if any(row in _axes(i) for i in index):
                    return None
            elif e.op == "index" and row in free_axes(e):
                return None
    return found


def _stored(t: Lowering) -> Iterator[tuple[Axis | None, Expr]]:
    """What is stored, and the axis that runs over the rows of that output; None where no axis alone does."""
    for k, shape in enumerate(t.out_shapes):
        axes = tuple(Axis(f"i{d}", n) for d, n in enumerate(shape))
        if k in t.functions:
            yield axes[0], t.functions[k](*axes)
        elif k in t.products:
            yield axes[0], t.products[k].finish(load(ACCUMULATOR, (), t.out_dtype(k)), *axes)
        for region in t.regions.get(k, ()):
            row = next((a for a in region.axes if region.index[0] in (a, Affine.of(a))), None)
            yield row, region.value


def _axes(index: IndexLike | Expr) -> Collection[Axis]:
    return free_axes(index) if isinstance(index, Expr) else tuple(Affine.of(index).axes())


def _is_of_any_batch(s: Signature, data: frozenset[int]) -> bool:
    """Whether it makes one row of one row: none of its parameters says how many there are."""
    ins: list[Shape | None] = [(1, *shape[1:]) if k in data else shape for k, shape in enumerate(s.in_shapes)]
    outs = [(1, *shape[1:]) for shape in s.out_shapes]
    try:
        return list(s.op.checked_shapes(ins, [None] * len(outs))[1]) == outs
    except ShapeError:
        return False


def moved_bytes(graph: Graph, node: Node) -> int:
    """Of all that a node reads and writes."""
    return sum(_bytes(graph, v) for v in (*node.inputs, *(node[k] for k in range(node.n_outputs))))


def _bytes(graph: Graph, v: Value) -> int:
    return size_of(graph.shape(v)) * ITEM_SIZE[graph.dtype(v)]
