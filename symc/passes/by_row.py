"""Which nodes treat the rows of a batch alike: each row of their outputs needs of their data that row alone."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from symc.core.dtypes import ITEM_SIZE, compute_dtype
from symc.core.errors import ShapeError
from symc.core.shapes import Shape, size_of
from symc.ir.graph import Graph, Node, Value
from symc.loopir.expr import Affine, Axis, Expr, IndexLike, free_axes, load, walk
from symc.loopir.kernel import ACCUMULATOR
from symc.loopir.tensor import Lowering, Tensor


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
    t = _lowering(graph, node)
    read = _read_by_row(t, n_rows) if not op.is_view else {0} if graph.shape(node.inputs[0])[:1] == (n_rows,) else None
    data = frozenset(node.inputs[k] for k in read or ())
    fixed = frozenset(v for k, v in enumerate(node.inputs) if read and k not in read)
    if not data or data & fixed or not (op.is_view or _is_of_any_batch(graph, node, data)):
        return None
    row_bytes = sum(_bytes(graph, v) for v in (*data, *outs)) // n_rows
    fixed_bytes = sum(_bytes(graph, v) for v in fixed)
    return ByRow(node, n_rows, data, fixed, bool(t.products), row_bytes, fixed_bytes)


def _lowering(graph: Graph, node: Node) -> Lowering:
    """The definitions of a node over inputs called in0, in1, ..."""
    ins = [Tensor(f"in{k}", graph.shape(v), compute_dtype(graph.dtype(v))) for k, v in enumerate(node.inputs)]
    outs = [node[k] for k in range(node.n_outputs)]
    t = Lowering(ins, [graph.shape(v) for v in outs], [graph.dtype(v) for v in outs])
    if not node.operator.is_view:
        node.operator.lower(t)
    return t


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


def _is_of_any_batch(graph: Graph, node: Node, data: frozenset[Value]) -> bool:
    """Whether it makes one row of one row: none of its parameters says how many there are."""
    ins: list[Shape | None] = [(1, *graph.shape(v)[1:]) if v in data else graph.shape(v) for v in node.inputs]
    outs = [(1, *graph.shape(node[k])[1:]) for k in range(node.n_outputs)]
    try:
        return list(node.operator.checked_shapes(ins, [None] * len(outs))[1]) == outs
    except ShapeError:
        return False


def moved_bytes(graph: Graph, node: Node) -> int:
    """Of all that a node reads and writes."""
    return sum(_bytes(graph, v) for v in (*node.inputs, *(node[k] for k in range(node.n_outputs))))


def _bytes(graph: Graph, v: Value) -> int:
    return size_of(graph.shape(v)) * ITEM_SIZE[graph.dtype(v)]
