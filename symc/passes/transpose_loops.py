"""Turns recurrent layers of a few sentences around: units become rows, sentences columns.

A step multiplies a state of a few rows with weights that no near cache holds. As columns, the state is a panel that
stays in the nearest cache, and the weights stream by once, as they lie; of a gate, too, units are rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from symc.core.dtypes import ITEM_SIZE
from symc.core.shapes import size_of
from symc.ir.builder import GraphBuilder, finish, rewrite
from symc.ir.graph import Graph, Node, Output, Value
from symc.ops.control.iterate import Iterate
from symc.ops.math.dense import FullyConnected, reshaped
from symc.ops.shape.slicing import SliceAxis

from .base import Machine, PassContext, graph_pass
from .meaning import meaning_of


@graph_pass()
def transpose_loops(graph: Graph, context: PassContext) -> Graph:
    """Has the rounds of a loop over a few rows, layers and elementwise operators alone, compute with columns, where the
    machine wants that and a product gives at least as many numbers as are turned around for it. Layers over the data of
    all rounds go back into the rounds. Where gradients are asked for, the graph stays as it is: they need rows of what
    all rounds computed.

    before:  %a = FullyConnected(%x, %v, %b); %y = _iterate(%a, %h, %w)     rows of all: (T, 16, ...)
               body { %c = FullyConnected(%state, %w); %d = elemwise_add(%c, %data); head %d; head %d }
    after:   %t = transpose(%x); %s = transpose(%h); %z = _iterate(%t, %s, %w, %v, %b); %y = transpose(%z)
               body { %a = broadcast_add(dot(%v, %data), %b); %d = elemwise_add(dot(%w, %state), %a); head %d; head %d }
    """
    if not graph.has_bodies or any(o.kind != "head" for o in graph.outputs):
        return graph
    columns: dict[Value, Value] = {}  # values with rows, and what they are with columns

    def turned(g: GraphBuilder, v: Value) -> Value:
        if v not in columns:
            rank = len(g.shape(v))
            columns[v] = g("transpose", v, axes=(*range(rank - 2), rank - 1, rank - 2))
        return columns[v]

    def rule(g: GraphBuilder, node: Node, inputs: tuple[Value, ...]) -> Sequence[Value] | None:
        op = node.operator
        n_units = _n_units(op, context.backend) if isinstance(op, Iterate) else 0
        if not n_units:
            return None
        assert isinstance(op, Iterate)
        layers = [_layer_of(graph, v, new, g) for v, new in zip(node.inputs, inputs[: op.n_data])]
        fronts = [layer for layer in layers if layer is not None]
        if not fronts or len(fronts) < len(layers) or _n_moved(g, op, fronts) > n_units:
            return None
        n_fed = op.n_data + op.n_states
        data = [turned(g, layer.data) for layer in fronts]
        states = [turned(g, v) for v in inputs[op.n_data : n_fed]]
        free = [*inputs[n_fed:], *(v for layer in fronts for v in layer.free)]
        made = g.apply(op.having(bodies=(_body(g, op, data, fronts),)), [*data, *states, *free], node.name, node.origin)
        found = []
        for k in range(made.n_outputs):
            rows = turned(g, made[k])
            columns[rows] = made[k]
            found.append(rows)
        return found

    return rewrite(graph, rule)


@dataclass(frozen=True)
class _Layer:
    """A layer over the rows of all rounds, for one loop alone: (T, N, k) times its free values."""

    data: Value
    free: tuple[Value, ...]


def _layer_of(graph: Graph, old: Value, new: Value, g: GraphBuilder) -> _Layer | None:
    """The layer whose results a loop reads as its data; None where they are anything else, or others read them."""
    view, layer = new.node, new.node.inputs[0].node if new.node.inputs else new.node
    if view.is_input or layer.is_input or not view.operator.is_view or not isinstance(layer.op, FullyConnected):
        return None
    if graph.n_uses(old) != 1 or graph.n_uses(old.node.inputs[0]) != 1:
        return None
    merged, *free = layer.inputs
    if merged.node.is_input or not merged.node.operator.is_view:
        return None
    (data,) = merged.node.inputs
    rounds, rows = g.shape(new)[:2]
    return _Layer(data, tuple(free)) if g.shape(data) == (rounds, rows, *g.shape(merged)[1:]) else None


def _n_moved(g: GraphBuilder, op: Iterate, fronts: Sequence[_Layer]) -> float:
    """How many numbers of a row are turned around in each round: of data, results and, in its share, of states."""
    r, shape = op.round, op.body.shape
    n_rounds = g.shape(fronts[0].data)[0]
    of_states = 2 * sum(shape(v)[-1] for v in r.states) / max(1, n_rounds)
    return sum(g.shape(layer.data)[-1] for layer in fronts) + sum(shape(v)[-1] for v in r.results) + of_states


def _n_units(op: Iterate, machine: Machine) -> int:
    """How many units a product of a round gives that the machine wants with columns; 0 where there is none, or where
    something else can be done with rows alone.
    """
    body, r = op.body, op.round
    turned = {*r.rows, *r.states}
    batches = {body.shape(v)[:-1] for v in turned}
    if op.flag is not None or len(batches) != 1 or len(batch := batches.pop()) != 1:
        return 0
    (n_rows,), n_units = batch, 0
    for node in body.nodes:
        if node.is_input:
            continue
        if not node.inputs or node.n_outputs != 1 or len(body.shape(node[0])) != 2:
            return 0
        v, *others = node.inputs
        if isinstance(node.op, FullyConnected):
            weight = others[0]
            is_turned = v in turned and all(w in r.free for w in others)
            weight_bytes = size_of(body.shape(weight)) * ITEM_SIZE[body.dtype(weight)]
            if is_turned and machine.wants_columns(n_rows, weight_bytes, body.dtype(v)):
                n_units = max(n_units, node.op.num_hidden)
        elif isinstance(node.op, SliceAxis):
            is_turned = v in turned and node.op.axis in (1, -1)
        else:
            is_turned = turned.issuperset(node.inputs) and _is_pointwise(body, node)
        if not is_turned:
            return 0
        turned.add(node[0])
    return n_units if turned.issuperset(o.value for o in body.outputs) else 0


def _is_pointwise(body: Graph, node: Node) -> bool:
    """Whether an operator computes each element from the same one of its inputs, wherever that lies."""
    meaning = meaning_of(body, node)
    is_plain = meaning.kind == "map" and not meaning.uses_index and not node.operator.is_random
    return is_plain and all(meaning.is_pointwise(k) for k in range(len(node.inputs)))


def _body(g: GraphBuilder, op: Iterate, data: Sequence[Value], fronts: Sequence[_Layer]) -> Graph:
    """A round with columns, which computes the layers in front as well."""
    inner = GraphBuilder.over(op.body)
    body, r = op.body, op.round

    def column_input(v: Value, shape: Iterable[int]) -> Value:
        return inner.input(v.node.name, tuple(shape), body.dtype(v))

    rows = [column_input(v, g.shape(stack)[1:]) for v, stack in zip(r.rows, data)]
    states = [column_input(v, reversed(body.shape(v))) for v in r.states]
    weights = [
        [inner.input(f"{v.node.name}_free{k}", g.shape(w), g.dtype(w), "parameter") for k, w in enumerate(front.free)]
        for v, front in zip(r.rows, fronts)
    ]
    new: dict[Value, Value] = {v: v for v in r.free} | dict(zip(r.states, states))
    new.update((v, _times(inner, row, free)) for v, row, free in zip(r.rows, rows, weights))
    for node in body.nodes:
        if node.is_input:
            continue
        inputs = [new[v] for v in node.inputs]
        if isinstance(node.op, FullyConnected):
            new[node[0]] = _times(inner, inputs[0], inputs[1:])
        else:
            turned = node.operator
            if isinstance(turned, SliceAxis):
                turned = SliceAxis(axis=0, begin=turned.begin, end=turned.end)
            new[node[0]] = inner.apply(turned, inputs, node.name, node.origin)[0]
    outputs = [Output(o.kind, o.name, new[o.value]) for o in body.outputs]
    fed = [*rows, *states, *r.free, *(w for free in weights for w in free)]
    return finish(inner, outputs, inputs=[v.node for v in fed])


def _times(g: GraphBuilder, column: Value, free: Sequence[Value]) -> Value:
    """A layer of columns: weight (n, k) times (k, N), and a bias for each row."""
    weight, *biases = free
    made = g("dot", weight, column)
    for bias in biases:
        made = g("broadcast_add", made, reshaped(g, bias, (size_of(g.shape(bias)), 1)))
    return made
