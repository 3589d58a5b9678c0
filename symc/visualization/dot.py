"""A network in Graphviz's DOT language: the text that MXNet's `plot_network` makes with graphviz.Digraph."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from symc.core.shapes import FullShape
from symc.symbol.node import Entry, nodes_of

from .font import printable

if TYPE_CHECKING:
    from symc.symbol import Symbol
    from symc.symbol.node import SymbolNode

    from .picture import Picture

_NODE_ATTRS = {"shape": "box", "fixedsize": "true", "width": "1.3", "height": "0.8034", "style": "filled"}
_INPUT_COLOUR, _OTHER_COLOUR = "#8dd3c7", "#fccde5"
_COLOURS = {
    "Convolution": "#fb8072", "FullyConnected": "#fb8072",
    "Activation": "#ffffb3", "LeakyReLU": "#ffffb3",
    "BatchNorm": "#bebada",
    "Pooling": "#80b1d3",
    "Concat": "#fdb462", "Flatten": "#fdb462", "Reshape": "#fdb462",
    "Softmax": "#b3de69",
}  # fmt: skip
_WEIGHTS = (
    "_weight", "_bias", "_beta", "_gamma", "_moving_var", "_moving_mean", "_running_var", "_running_mean",
)  # fmt: skip
_ID = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*|-?(\.\d+|\d+(\.\d*)?)")
_KEYWORDS = ("node", "edge", "graph", "digraph", "subgraph", "strict")


def looks_like_weight(name: str) -> bool:
    """Whether `hide_weights` hides a variable; MXNet goes by the end of the name."""
    return name.endswith(_WEIGHTS)


def dot_text(
    symbol: Symbol,
    title: str,
    shapes: Mapping[Entry, FullShape],
    dtypes: Mapping[Entry, Any],
    node_attrs: Mapping[str, Any],
    hide_weights: bool,
) -> str:
    """The network as a digraph whose edges point from a node to what it reads, drawn backwards.

    shapes, dtypes  of outputs, as far as they are known and edges are to show them
    """
    nodes = nodes_of(symbol.heads)
    lines = [f"digraph {quoted(title)} {{" if title else "digraph {"]
    for node in nodes:
        if not (node.is_variable and looks_like_weight(node.name)):
            own = {"shape": "oval"} if node.is_variable else {}
            colour = _INPUT_COLOUR if node.is_variable else _COLOURS.get(node.op_name, _OTHER_COLOUR)
            attrs = {**_NODE_ATTRS, **node_attrs, **own, "fillcolor": colour}
            lines.append(f"\t{quoted(node.name)}{_attr_list(_label(node), attrs)}")
    for node in nodes:
        # Scale and size of BilinearResize2D are not drawn, as in MXNet.
        inputs = node.inputs[:1] if node.op_name == "_contrib_BilinearResize2D" else node.inputs
        for entry in inputs:
            if hide_weights and entry.node.is_variable and looks_like_weight(entry.node.name):
                continue
            label = "x".join(map(str, shapes.get(entry, ())[1:]))
            label += f"({dtypes[entry].__name__})" if entry in dtypes else ""
            edge = f"{quoted(node.name)} -> {quoted(entry.node.name)}"
            lines.append(f"\t{edge}{_attr_list(label, {'arrowtail': 'open', 'dir': 'back'})}")
    return "\n".join([*lines, "}"])


def _label(node: SymbolNode) -> str:
    """The text in a node: its name, or for common layers what they do."""
    description = layer_text(node)
    if node.op_name == "Custom":
        return node.attrs["op_type"]
    return f"{node.op_name}\n{description}" if description else node.name


def layer_text(node: SymbolNode) -> str:
    """What a common layer does in a few characters ("3x3/2x2, 64"); "" for all others."""
    op: Any = node.op
    if node.op_name == "Convolution":
        return f"{_numbers(node, 'kernel', '')}/{_numbers(node, 'stride', '1')}, {op.num_filter}"
    if node.op_name == "FullyConnected":
        return str(op.num_hidden)
    if node.op_name == "Activation":
        return op.act_type
    if node.op_name == "LeakyReLU":
        return node.attrs.get("act_type", "Leaky")
    if node.op_name == "Pooling":
        return f"{op.pool_type}, {_numbers(node, 'kernel', '[]')}/{_numbers(node, 'stride', '1')}"
    return ""


def _numbers(node: SymbolNode, param: str, absent: str) -> str:
    """The numbers of a tuple as the user wrote it: (3, 3) -> 3x3."""
    return "x".join(re.findall(r"\d+", node.attrs[param])) if param in node.attrs else absent


def _attr_list(label: str, attrs: Mapping[str, Any]) -> str:
    others = [f"{quoted(k)}={quoted(str(v))}" for k, v in sorted(attrs.items()) if v is not None]
    return f" [{' '.join([f'label={quoted(label)}', *others])}]"


def quoted(text: str) -> str:
    """A DOT identifier.

    Names come from files: unlike with the graphviz package, text in angle brackets is no HTML, a backslash stands for
    itself, a colon does not begin a port, and control characters appear as escapes.
    """
    if _ID.fullmatch(text) and text.lower() not in _KEYWORDS:
        return text
    lines = "\n".join(map(printable, text.split("\n")))
    escaped = lines.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def picture_dot(picture: Picture) -> str:
    """Any picture as a digraph; its names are the boxes' numbers, so equal titles do not matter."""
    lines = [f"digraph {quoted(picture.title)} {{", '\tnode [fontname=Helvetica shape=box style="rounded,filled"]']
    for k, box in enumerate(picture.boxes):
        label = "\n".join([box.title, *box.lines])
        lines.append(f"\tbox{k}{_attr_list(label, {'color': box.colour.edge, 'fillcolor': box.colour.fill})}")
    lines += [f"\tbox{e.tail} -> box{e.head}{_attr_list(e.label, {})}" for e in picture.edges]
    return "\n".join([*lines, "}"])
