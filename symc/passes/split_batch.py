"""Runs stretches of a network for a few images at a time, so that what a layer wrote is near when the next reads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from symc.ir.builder import GraphBuilder, finish
from symc.ir.graph import Graph, Node, Output, Value
from symc.ops.control.iterate import Iterate
from symc.ops.math.dense import reshaped

from .base import PassContext, graph_pass
from .by_row import ByRow, by_row, moved_bytes
from .phases import constant_nodes

Stretch = Sequence[ByRow]  # nodes that follow each other, but for those that parameters decide

DATA_OVER_WEIGHTS = 2  # what a byte of data is worth: they are written, fetched and read, weights are read ahead of use


@graph_pass()
def split_batch(graph: Graph, context: PassContext) -> Graph:
    """Makes loops of stretches whose data do not stay near the cores, where that saves more than it costs to read the
    weights in every round. Where gradients are asked for, the graph stays as it is: they need what all rounds computed.

    before:  %a = Convolution(%x, %v); %b = Convolution(%a, %w)                   rows of all: (16, ...)
    after:   %xs = Reshape(%x); %bs = _iterate(%xs, %v, %w)  body { ... }; %b = Reshape(%bs)   %xs, %bs: (16, 1, ...)
    """
    near_bytes = context.backend.near_bytes
    if near_bytes is None or any(o.kind != "head" for o in graph.outputs):
        return graph
    if not any(moved_bytes(graph, node) > near_bytes for node in graph.nodes):
        return graph  # no stretch gains anything: spares looking at what each node reads
    stretches = [part for run in _runs(graph) for part in [_best(run, near_bytes)] if part]
    if not stretches:
        return graph
    last = {stretch[-1].node: stretch for stretch in stretches}
    inside = {row.node for stretch in stretches for row in stretch}
    g = GraphBuilder.over(graph)
    new: dict[Value, Value] = {}
    for node in graph.nodes:
        if node in last:
            new.update(_loop(g, graph, last[node], new, _rows_at_once(last[node], near_bytes)))
        elif node not in inside and not node.is_input:
            made = g.moved(node, tuple([new.get(v, v) for v in node.inputs]))
            new.update((node[k], made[k]) for k in range(node.n_outputs))
    return finish(g, [Output(o.kind, o.name, new.get(o.value, o.value)) for o in graph.outputs])


# -- which ------------------------------------------------------------------------------------------------------------


def _runs(graph: Graph) -> Iterator[Stretch]:
    """The longest stretches over equally many rows, each of whose values is read either row by row or as a whole."""
    constant = constant_nodes(graph)
    run: list[ByRow] = []
    rows: set[Value] = set()
    fixed: set[Value] = set()
    for node in graph.nodes:
        if node.is_input or node in constant:
            continue
        row = by_row(graph, node)
        if row is None or (run and row.n_rows != run[0].n_rows) or row.fixed & rows or row.data & fixed:
            yield run
            run, rows, fixed = [], set(), set()
        if row is not None:
            run.append(row)
            rows.update(row.data, (node[k] for k in range(node.n_outputs)))
            fixed.update(row.fixed)
    yield run


def _best(run: Stretch, near_bytes: int) -> Stretch:
    """The part with the greatest sum of gains; empty where none gains, or where all of it may be one kernel anyway."""
    if sum(row.is_product for row in run) < 2:
        return ()
    n_rounds = run[0].n_rows // _rows_at_once(run, near_bytes)
    best, best_gain, first, gain = run[:0], 0, 0, 0
    for k, row in enumerate(run):
        gain += _gain(row, n_rounds, near_bytes)
        if gain <= 0:
            first, gain = k + 1, 0
        elif gain > best_gain:
            best, best_gain = run[first : k + 1], gain
    return best if n_rounds > 1 and sum(row.is_product for row in best) > 1 else ()


def _gain(row: ByRow, n_rounds: int, near_bytes: int) -> int:
    """Bytes of data that need not come from far, less those of weights that come again."""
    far_bytes = max(0, row.n_rows * row.row_bytes - near_bytes)
    return DATA_OVER_WEIGHTS * far_bytes - (n_rounds - 1) * row.fixed_bytes


def _rows_at_once(stretch: Stretch, near_bytes: int) -> int:
    """The largest part of the rows that stays near at the node that moves most; 1 where not even one row does."""
    n_rows, widest = stretch[0].n_rows, max(1, *(row.row_bytes for row in stretch))
    return max(n for n in range(1, max(1, min(n_rows, near_bytes // widest)) + 1) if n_rows % n == 0)


# -- the loop ---------------------------------------------------------------------------------------------------------


def _loop(g: GraphBuilder, graph: Graph, stretch: Stretch, new: Mapping[Value, Value], n: int) -> dict[Value, Value]:
    """A loop over n rows at a time; gives what stands for the values of the stretch that others use."""
    inner = GraphBuilder(training=graph.training)
    made: dict[Value, Value] = {}
    data: list[Value] = []
    free: list[Value] = []

    def rows_of(v: Value) -> tuple[int, ...]:
        return (n, *graph.shape(v)[1:])

    for row in stretch:
        for v in row.node.inputs:
            if v in made:
                continue
            if v in row.data:
                made[v] = inner.input(f"data{len(data)}", rows_of(v), graph.dtype(v))
                data.append(v)
            else:
                made[v] = inner.input(f"free{len(free)}", graph.shape(v), graph.dtype(v), "parameter")
                free.append(v)
        made.update(_in_rounds(inner, row.node, [made[v] for v in row.node.inputs], rows_of(row.node[0])))
    results = [row.node[k] for row in stretch for k in range(row.node.n_outputs)]
    inside = {row.node for row in stretch}
    heads = {o.value for o in graph.outputs}
    results = [v for v in results if v in heads or any(user not in inside for user, _ in graph.users.get(v, ()))]
    outputs = [Output("head", f"output{k}", made[v]) for k, v in enumerate(results)]
    body = finish(inner, outputs, inputs=[made[v].node for v in (*data, *free)])
    g.serving = stretch[-1].node
    stacks = [reshaped(g, new.get(v, v), (graph.shape(v)[0] // n, *rows_of(v))) for v in data]
    loop = g.apply(Iterate(bodies=(body,), n_data=len(data)), [*stacks, *(new.get(v, v) for v in free)])
    return {v: reshaped(g, loop[k], graph.shape(v)) for k, v in enumerate(results)}


def _in_rounds(inner: GraphBuilder, node: Node, inputs: Sequence[Value], shape: tuple[int, ...]) -> dict[Value, Value]:
    """The node over the rows of a round, (n, ...): shapes that views name are those of all rows."""
    if node.operator.is_view:
        return {node[0]: reshaped(inner, inputs[0], shape)}
    made = inner.apply(node.operator, inputs, node.name, node.origin)
    return {node[k]: made[k] for k in range(made.n_outputs)}
