"""`print_summary`: the layers of a network as a table, to the character as MXNet 1.9.1 prints it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from symc.core.errors import ArgumentError, ArgumentTypeError
from symc.core.shapes import FullShape, size_of
from symc.symbol import Symbol
from symc.symbol.json_writer import without_amp_casts
from symc.symbol.node import nodes_of

if TYPE_CHECKING:
    from symc.symbol.node import Entry, SymbolNode

_HEADER = ("Layer (type)", "Output Shape", "Param #", "Previous Layer")


def print_summary(
    symbol: Symbol,
    shape: Mapping[str, FullShape] | None = None,
    line_length: int = 120,
    positions: Sequence[float] = (0.44, 0.64, 0.74, 1.0),
) -> None:
    """Prints each layer with the shape of its output (without the batch), its parameters, and what it reads.

    shape      of the inputs, by name; without it neither output shapes nor what depends on them is shown
    positions  where the columns end: fractions of `line_length`, or characters
    Parameters are counted as MXNet counts them: those of Convolution, FullyConnected, BatchNorm and Embedding.
    Raises ArgumentTypeError (a TypeError) for something else than a symbol, ArgumentError (a ValueError) when `shape`
    does not decide all shapes, ShapeError when it contradicts the network.
    """
    print(summary(symbol, shape, line_length, positions))


def summary(symbol: Symbol, shape: Mapping[str, FullShape] | None, line_length: int, positions: Sequence[float]) -> str:
    """The text that `print_summary` prints."""
    if not isinstance(symbol, Symbol):
        raise ArgumentTypeError("symbol must be Symbol")
    shapes = None if shape is None else _output_shapes(symbol, shape)
    columns = [int(line_length * p) for p in positions] if positions[-1] <= 1 else [int(p) for p in positions]
    heads = without_amp_casts(symbol.heads)
    nodes = nodes_of(heads)
    layers = [n for k, n in enumerate(nodes) if k == 0 or not n.is_variable]
    shown = _shown_variables(nodes, heads[0])
    thin, thick = "_" * line_length, "=" * line_length
    lines = [thin, _row(_HEADER, columns), thick]
    n_total = 0
    for layer in layers:
        sources = [s for s, _ in layer.inputs if not s.is_variable or s in shown]
        n_params = _n_params(layer, sources, shapes)
        n_total += n_params
        first = sources[0].name if sources else ""
        title = f"{layer.name}({layer.op_name})"
        # An input is shown with its shape only where MXNet takes it for an output.
        extents = _shape(layer, shapes) if not layer.is_variable or layer in shown else ()
        lines.append(_row((title, "x".join(map(str, extents)), n_params, first), columns))
        lines += [_row(("", "", "", s.name), columns) for s in sources[1:]]
        lines.append(thick if layer is nodes[-1] else thin)
    return "\n".join([*lines, f"Total params: {n_total}", thin])


def _output_shapes(symbol: Symbol, shape: Mapping[str, FullShape]) -> dict[str, FullShape]:
    internals = symbol.get_internals()
    _, shapes, _ = internals.infer_shape(**shape)
    if shapes is None:
        raise ArgumentError("Input shape is incomplete")
    return dict(zip(internals.list_outputs(), shapes))


def _shown_variables(nodes: Sequence[SymbolNode], head: Entry) -> set[SymbolNode]:
    """The variables that MXNet lists as previous layers.

    It takes the three numbers of the first head (node, output, version) for three heads.  Hence the first node (version
    0), which is the data, counts as one; the text depends on it.
    """
    return {nodes[k] for k in (nodes.index(head.node), head.index, 0) if k < len(nodes)}


def _shape(node: SymbolNode, shapes: Mapping[str, FullShape] | None) -> FullShape:
    """Extents of a node's only output without the batch; () where there are several or the shapes are not asked for."""
    name = node.name if node.is_variable else f"{node.name}_output"
    return (shapes or {}).get(name, ())[1:]


def _n_params(node: SymbolNode, sources: Sequence[SymbolNode], shapes: Mapping[str, FullShape] | None) -> int:
    op: Any = node.op
    has_bias = node.attrs.get("no_bias") != "True"  # MXNet compares the text: it counts a bias for no_bias=1
    n_inputs = sum(sum(_shape(s, shapes)[:1]) for s in sources)
    if node.op_name == "Convolution":
        n_weights = n_inputs * op.num_filter // op.num_group * size_of(op.kernel)
        return n_weights + has_bias * op.num_filter
    if node.op_name == "FullyConnected":
        return (n_inputs + has_bias) * op.num_hidden
    if node.op_name == "BatchNorm":
        return 2 * sum(_shape(node, shapes)[:1])
    if node.op_name == "Embedding":
        return op.input_dim * op.output_dim
    return 0


def _row(fields: Sequence[object], columns: Sequence[int]) -> str:
    line = ""
    for text, end in zip(fields, columns):
        line = f"{line}{text}"[:end].ljust(end)
    return line
