"""A symbol as a picture: a box for each node, its parameters and shapes as details."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from symc.core.dtypes import dtype_name
from symc.core.shapes import FullShape, size_of
from symc.ir.absent import Absent
from symc.runtime.table import shape_text
from symc.symbol.node import Entry, nodes_of

from .colours import of_operator
from .dot import layer_text, looks_like_weight
from .picture import Box, Detail, Edge, Picture

if TYPE_CHECKING:
    from symc.symbol import Symbol
    from symc.symbol.node import SymbolNode

Shapes = Mapping[Entry, FullShape]
DTypes = Mapping[Entry, Any]


def partial_facts(symbol: Symbol, shape: Mapping[str, FullShape], dtype: Mapping[str, Any]) -> tuple[Shapes, DTypes]:
    """Shapes and dtypes of all outputs of all nodes, as far as those given decide them."""
    internals = symbol.get_internals()
    _, shapes, _ = internals.infer_shape_partial(**shape)
    _, dtypes, _ = internals.infer_type_partial(**dtype)
    return (
        {e: s for e, s in zip(internals.heads, shapes) if s and 0 not in s},
        {e: d for e, d in zip(internals.heads, dtypes) if d is not None},
    )


def network_picture(
    symbol: Symbol,
    title: str,
    shapes: Shapes,
    dtypes: DTypes,
    hide_weights: bool = True,
    adorn: Callable[[SymbolNode, Box], Box] | None = None,
) -> Picture:
    """A box for each node, in MXNet's depth-first order.

    hide_weights  leaves out variables that are named like parameters; their operators' details tell of them
    adorn         adds what else is known of a node, times for instance
    """
    every = nodes_of(symbol.heads)
    nodes = [n for n in every if not (hide_weights and n.is_variable and looks_like_weight(n.name))]
    number = {node: k for k, node in enumerate(nodes)}
    details = _Details(shapes, dtypes)
    boxes = [replace(_box(n), details=details.of(n)) for n in nodes]
    if adorn is not None:
        boxes = [adorn(n, box) for n, box in zip(nodes, boxes)]
    edges = [
        Edge(number[entry.node], number[node], shape_text(shapes[entry]) if entry in shapes else "")
        for node in nodes
        for entry in node.inputs
        if entry.node in number
    ]
    n_operators = sum(not n.is_variable for n in every)
    facts = (
        f"{n_operators} operators, {details.n_params:,} parameters" if details.n_params else f"{n_operators} operators"
    )
    return Picture(title, facts, tuple(boxes), tuple(edges))


def _box(node: SymbolNode) -> Box:
    layer = layer_text(node)
    lines: tuple[str, ...] = () if node.is_variable else (f"{node.op_name} {layer}" if layer else node.op_name,)
    if isinstance(node.op, Absent):
        lines += ("symc lacks this operator",)
    return Box(node.name, lines, of_operator(node.op), is_round=node.is_variable)


class _Details:
    """Makes the details of one node after the other; a parameter that several share counts for the first."""

    def __init__(self, shapes: Shapes, dtypes: DTypes) -> None:
        self.shapes, self.dtypes = shapes, dtypes
        self.n_params = 0
        self._counted: set[SymbolNode] = set()

    def of(self, node: SymbolNode) -> tuple[Detail, ...]:
        found: list[Detail] = [("operator", node.op_name if node.op else "input")]
        if node.op is not None:
            found += [(name, str(value)) for name, value in node.op.given_params().items()]
            found += [(f"input {n}", self._entry(e)) for n, e in zip(node.op.input_names(), node.inputs)]
        for k in range(node.n_visible):
            found.append((f"output {k}" if node.n_visible > 1 else "output", self._value(Entry(node, k))))
        n_params = self._n_params(node)
        self.n_params += n_params
        found += [("parameters", f"{n_params:,}")] if n_params else []
        found += [(key.strip("_"), value) for key, value in node.attrs.items() if key.startswith("__")]
        return (*found, ("made at", node.origin)) if node.origin else tuple(found)

    def _entry(self, entry: Entry) -> str:
        name = entry.node.output_name(entry.index)
        return f"{name}: {self._value(entry)}" if self._value(entry) else name

    def _value(self, entry: Entry) -> str:
        shape = shape_text(self.shapes[entry]) if entry in self.shapes else ""
        return f"{shape} {dtype_name(self.dtypes[entry])}".strip() if entry in self.dtypes else shape

    def _n_params(self, node: SymbolNode) -> int:
        """Of the variables in slots that hold trained values; auxiliary states are none, as in MXNet."""
        if node.op is None:
            return 0
        total = 0
        for name, entry in zip(node.op.argument_names(), node.inputs):
            if name in node.op.trained and entry.node.is_variable and entry.node not in self._counted:
                self._counted.add(entry.node)
                total += size_of(self.shapes[entry]) if entry in self.shapes else 0
        return total
