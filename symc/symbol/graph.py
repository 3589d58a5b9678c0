"""From a Symbol to the compiler's graph: one ir Node for each symbol node, names and origins kept."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from symc.core.dtypes import NAMES
from symc.core.errors import ParameterError
from symc.core.shapes import Shape, from_mxnet, is_known
from symc.ir.bodies import within_bodies
from symc.ir.graph import Facts, Graph, Node, Output, Value
from symc.util import is_np_shape

from .node import SymbolNode

if TYPE_CHECKING:
    from .symbol import Symbol


def to_graph(
    symbol: Symbol,
    training: bool = False,
    arg_shapes: Mapping[str, Shape | None] | None = None,
    arg_dtypes: Mapping[str, str | None] | None = None,
    numpy_shapes: bool | None = None,
) -> Graph:
    """The graph of a symbol, with the shapes and dtypes of its inputs that are known as facts.

    Variables that feed an auxiliary slot get the role "aux", all others "argument". arg_shapes and arg_dtypes are by
    variable name; a fully known one wins over the variable's own `__shape__`, any dtype over its `__dtype__`. Shapes
    are symc's (None = unknown), not MXNet's. With `numpy_shapes` (None: under `np_shape`) operators are those
    `under_np_shape`. Raises ParameterError for an unreadable `__shape__` or `__dtype__`.
    """
    nodes = symbol.nodes()
    states = {state for node in nodes for state in node.aux_inputs()}
    new: dict[SymbolNode, Node] = {}
    shapes: dict[Value, Shape] = {}
    dtypes: dict[Value, str] = {}
    is_exact = is_np_shape() if numpy_shapes is None else numpy_shapes
    for node in nodes:
        inputs = tuple(Value(new[source], k) for source, k in node.inputs)
        op = node.op
        if op is not None and training and op.bodies:
            op = op.with_bodies(tuple(map(_in_training, op.bodies)))
        if op is not None and is_exact:
            op = op.under_np_shape()
        lowered = new[node] = Node(op, node.name, inputs, "aux" if node in states else "argument", node.origin)
        shape, dtype = None, None
        if node.is_variable:
            shape = variable_shape(node, (arg_shapes or {}).get(node.name))
            dtype = (arg_dtypes or {}).get(node.name) or _own_dtype(node)
        if shape is not None:
            shapes[lowered[0]] = shape
        if dtype is not None:
            dtypes[lowered[0]] = dtype
    outputs = tuple(Output("head", node.output_name(k), Value(new[node], k)) for node, k in symbol.heads)
    return Graph(tuple(new.values()), outputs, training, Facts(shape=shapes, dtype=dtypes))


def _in_training(body: Graph) -> Graph:
    return replace(within_bodies(body, _in_training), training=True)


def variable_shape(node: SymbolNode, given: Shape | None) -> Shape | None:
    """A given shape when fully known, else the variable's own `__shape__`, else what was given."""
    text = node.attrs.get("__shape__")
    if text is None or is_known(given):
        return given
    try:
        own = ast.literal_eval(text.replace("L", "")) if len(text) < 1000 else "too long"
        extents = [own] if isinstance(own, int) else [int(n) for n in own]
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        raise ParameterError(
            f"variable {node.name}: __shape__ is {text[:60]!r}; expected a tuple of integers"
        ) from None
    return from_mxnet(extents) or given


def _own_dtype(node: SymbolNode) -> str | None:
    """The dtype in `__dtype__`, which holds MXNet's code; -1 means unset."""
    text = node.attrs.get("__dtype__")
    if text is None or text == "-1":
        return None
    if not text.isdigit() or int(text) not in NAMES:
        raise ParameterError(f"variable {node.name}: __dtype__ is {text!r}; expected a code from 0 to {max(NAMES)}")
    return NAMES[int(text)]
