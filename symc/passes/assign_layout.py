"""Chooses the memory order of every value: as the machine wants it around contractions, row-major where users look."""

from __future__ import annotations

from collections.abc import Sequence

from symc.core.shapes import size_of
from symc.ir.builder import GraphBuilder, finish
from symc.ir.graph import Graph, Layout, Node, Output, Value
from symc.loopir.expr import Expr, free_axes

from .base import Machine, PassContext, graph_pass
from .meaning import Meaning, meaning_of, same_order

MIN_CHANNELS = 8  # fewer fill too small a part of a vector


@graph_pass(provides=("layout",), keeps=("shape", "dtype"), enters_bodies=True)
def assign_layout(graph: Graph, context: PassContext) -> Graph:
    """Gives every value a layout and makes conversions explicit as `_copy` nodes.

    The backend says in which order a contraction reads and writes (the CPU: channels-last, as its tile wants);
    operators that keep their axes follow their input, so a convolutional stretch keeps its order; windows and
    assemblies in front of one are in its order already; others in an order along which windows neither step nor end.
    Loops and templates are row-major, as are memory views, inputs and outputs of the graph.

    before:  %a = Convolution(%x, %w); %b = Activation(%a); head %b
    after:   %x' = _copy(%x) [0231]; %a = Convolution(%x', %w) [0231]; %b = Activation(%a) [0231]; head _copy(%b) [0123]
    """
    backend = context.backend
    g = GraphBuilder.over(graph)
    orders = _Orders(g)
    new: dict[Value, Value] = {}
    ahead = _orders_ahead(graph, backend)
    for node in graph.nodes:
        if node.is_input:
            orders.place(node, Layout.row_major(len(g.shape(node[0]))))
            new[node[0]] = node[0]
            continue
        meaning = meaning_of(graph, node)
        inputs = [new[v] for v in node.inputs]
        layout = _wanted(meaning, inputs, orders.layouts, g, backend)
        better = _better(meaning, layout, ahead.get(node[0]))
        layout = better or layout
        if meaning.product is not None:
            wanted = [backend.layout_of(meaning.product, len(g.shape(v)), k) for k, v in enumerate(inputs)]
            inputs = [v if order is None else orders.of(v, order, node) for v, order in zip(inputs, wanted)]
        elif meaning.kind == "view":
            inputs = [orders.row_major(inputs[0], node), *inputs[1:]]
        elif meaning.kind in ("template", "loop"):
            inputs = [orders.row_major(v, node) for v in inputs]
        elif meaning.kind == "map":
            inputs = [orders.of(v, layout, node) if _is_big(meaning, k) else v for k, v in enumerate(inputs)]
        elif meaning.kind == "reduction" and better is not None:
            inputs = [orders.of(v, layout, node) if meaning.follows_axes(k) else v for k, v in enumerate(inputs)]
        made = g.moved(node, tuple(inputs))
        orders.place(made, layout)
        new.update((node[k], made[k]) for k in range(node.n_outputs))
    values = [new[o.value] for o in graph.outputs]
    outputs = [Output(o.kind, o.name, orders.row_major(v, v.node)) for o, v in zip(graph.outputs, values)]
    return finish(g, outputs, orders.layouts)


class _Orders:
    """The layout of every value of a graph in the making, and one copy for each other order that is asked for."""

    def __init__(self, g: GraphBuilder) -> None:
        self._g = g
        self.layouts: dict[Value, Layout] = {}
        self._copies: dict[tuple[Value, Layout], Value] = {}

    def place(self, node: Node, layout: Layout) -> None:
        """Says in which order a node's outputs lie: those of another rank row-major."""
        for k in range(node.n_outputs):
            rank = len(self._g.shape(node[k]))
            self.layouts[node[k]] = layout if len(layout.order) == rank else Layout.row_major(rank)

    def of(self, v: Value, wanted: Layout, serving: Node) -> Value:
        """The value in that order."""
        if same_order(self.layouts[v].order, wanted.order, self._g.shape(v)):
            return v
        if (v, wanted) not in self._copies:
            self._g.serving = serving
            self._copies[v, wanted] = self._g("_copy", v)
            self.layouts[self._copies[v, wanted]] = wanted
        return self._copies[v, wanted]

    def row_major(self, v: Value, serving: Node) -> Value:
        return self.of(v, Layout.row_major(len(self._g.shape(v))), serving)


def _orders_ahead(graph: Graph, backend: Machine) -> dict[Value, Layout]:
    """The order in which a contraction will read a value, at once or through operators that keep its axes."""
    found: dict[Value, Layout] = {}
    for node in reversed(graph.nodes):
        if node.is_input:
            continue
        meaning = meaning_of(graph, node)
        for k, v in enumerate(node.inputs):
            order = found.get(node[0]) if meaning.product is None else None
            if meaning.product is not None:
                order = backend.layout_of(meaning.product, len(graph.shape(v)), k)
            elif meaning.kind in ("view", "template") or not meaning.follows_axes(k):
                order = None
            if order is not None:
                found[v] = order
    return found


def _better(meaning: Meaning, layout: Layout, ahead: Layout | None) -> Layout | None:
    """Another order for windows or assemblies, where that pays; None: the one they would have.

    In the order that a contraction will read: the conversion is needed anyway, in front or behind. Windows that step or
    end along the innermost axis, in an order where they do not (pooling: channels-last, LRN: row-major): vectors need
    no gathers and no tests at the borders, which cost more than conversions in front and behind. Where much less comes
    out than goes in, none pays.
    """
    rank = len(meaning.axes)
    if meaning.kind not in ("reduction", "regions"):
        return None
    is_row_major, row_major = layout.is_row_major, Layout.row_major(rank)
    order = ahead if is_row_major else None
    if meaning.kind == "reduction" and 3 <= rank <= 5:
        choices = [o for o in (order or layout, row_major, Layout.channels_last(rank)) if not _is_uneven(meaning, o)]
        order = choices[0] if choices else None
    if order is None or order == layout or (is_row_major and meaning.shape[order.order[-1]] < MIN_CHANNELS):
        return None
    largest = max((size_of(s) for k, s in enumerate(meaning.in_shapes) if meaning.follows_axes(k)), default=0)
    return order if 0 < largest <= 4 * size_of(meaning.shape) else None


def _is_uneven(meaning: Meaning, layout: Layout) -> bool:
    """Whether a reduction reads its inputs in other steps than one, or within limits, along the innermost axis."""
    innermost = layout.order[-1]
    axis = meaning.axes[innermost]
    positions = [
        index[innermost]
        for k, shape in enumerate(meaning.in_shapes)
        if len(shape) == len(meaning.axes) and meaning.follows_axes(k)
        for index in meaning.loads(k)
    ]
    uneven = (axis in free_axes(p) if isinstance(p, Expr) else p.coefficient(axis) not in (0, 1) for p in positions)
    return axis.extent > 1 and any(uneven)


def _is_big(meaning: Meaning, position: int) -> bool:
    """Whether an elementwise input has the output's own shape, so that another order would cost strided reads."""
    return meaning.op.is_elementwise and meaning.is_pointwise(position)


def _wanted(
    meaning: Meaning, inputs: Sequence[Value], layouts: dict[Value, Layout], g: GraphBuilder, backend: Machine
) -> Layout:
    rank = len(meaning.axes)
    if meaning.product is not None:
        return backend.layout_of(meaning.product, rank, None) or Layout.row_major(rank)
    if meaning.kind in ("view", "template", "loop"):
        return Layout.row_major(rank)
    for k, v in enumerate(inputs):
        if len(g.shape(v)) == rank and not layouts[v].is_row_major and meaning.follows_axes(k):
            return layouts[v]
    return Layout.row_major(rank)
