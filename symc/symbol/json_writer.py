"""Symbols to JSON, byte for byte as MXNet 1.9.1 prints them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from symc.util import is_np_shape

from .node import Entry, SymbolNode, nodes_of
from .upgrade import MXNET_VERSION

if TYPE_CHECKING:
    from .symbol import Symbol

_INLINE = 10  # longer lists are broken, one entry a line


def tojson(symbol: Symbol, remove_amp_cast: bool = True) -> str:
    """The graph as JSON; nodes in depth-first order, casts of mixed precision left out on demand."""
    heads = without_amp_casts(symbol.heads) if remove_amp_cast else symbol.heads
    return _graph(heads, "", is_subgraph=False)


def without_amp_casts(heads: Sequence[Entry]) -> Sequence[Entry]:
    """The heads of the graph without amp_cast and amp_multicast nodes (a copy, when there are any); heads stay."""
    nodes = nodes_of(heads)
    casts, ends = {n for n in nodes if n.op_name in ("amp_cast", "amp_multicast")}, {h.node for h in heads}
    if not casts:
        return heads
    new: dict[SymbolNode, SymbolNode] = {}

    def entry(node: SymbolNode, index: int) -> Entry:
        while node in casts:
            node, index = node.inputs[index]
        return Entry(new[node], index)

    for node in nodes:
        if node not in casts or node in ends:
            copy = SymbolNode(node.op, node.name, node.attrs, [entry(*e) for e in node.inputs], node.origin)
            copy.versions, copy.version, copy.subgraphs = node.versions, node.version, node.subgraphs
            new[node] = copy
    return [Entry(new[h.node], h.index) for h in heads]


def _graph(heads: Sequence[Entry], pad: str, is_subgraph: bool) -> str:
    nodes = nodes_of(heads)
    index = {node: i for i, node in enumerate(nodes)}
    row_ptr = [0]
    for node in nodes:
        row_ptr.append(row_ptr[-1] + n_outputs(node))
    inner = pad + "  "
    fields = [
        ("nodes", _list([_node(n, index, inner + "  ") for n in nodes], inner, is_broken=True)),
        ("arg_nodes", _list([str(i) for i, n in enumerate(nodes) if n.is_variable], inner)),
        ("node_row_ptr", _list(map(str, row_ptr), inner)),
        ("heads", _list(_entries(heads, (), index), inner)),
    ]
    if not is_subgraph:
        flags = [("is_np_shape", '["int", 1]')] if is_np_shape() else []
        fields.append(("attrs", _object([*flags, ("mxnet_version", f'["int", {MXNET_VERSION}]')], inner)))
    return _object(fields, pad)


def _node(node: SymbolNode, index: Mapping[SymbolNode, int], pad: str) -> str:
    fields = [("op", _text(node.op_name)), ("name", _text(node.name))]
    if node.attrs:
        fields.append(("attrs", _object([(k, _text(v)) for k, v in sorted(node.attrs.items())], pad + "  ")))
    fields.append(("inputs", _list(_entries(node.inputs, node.versions, index), pad + "  ")))
    if node.subgraphs:
        graphs = [_graph(s.heads, pad + "    ", is_subgraph=True) for s in node.subgraphs]
        fields.append(("subgraphs", _list(graphs, pad + "  ", is_broken=True)))
    return _object(fields, pad)


def _entries(entries: Sequence[Entry], versions: Sequence[int], index: Mapping[SymbolNode, int]) -> list[str]:
    versions = versions or (0,) * len(entries)
    return [f"[{index[node]}, {k}, {version}]" for (node, k), version in zip(entries, versions)]


def _object(fields: Sequence[tuple[str, str]], pad: str) -> str:
    """`{"a": 1}` on one line when there is one field, else a field a line."""
    if len(fields) == 1:
        return f"{{{_text(fields[0][0])}: {fields[0][1]}}}"
    inner = ", \n".join(f"{pad}  {_text(key)}: {value}" for key, value in fields)
    return f"{{\n{inner}\n{pad}}}"


def _list(items: Iterable[str], pad: str, is_broken: bool = False) -> str:
    items = list(items)
    if not items or not (is_broken or len(items) > _INLINE):
        return f"[{', '.join(items)}]"
    inner = ", \n".join(f"{pad}  {item}" for item in items)
    return f"[\n{inner}\n{pad}]"


def _text(value: str) -> str:
    for character, escape in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        if character in value:
            value = value.replace(character, escape)
    return f'"{value}"'


def n_outputs(node: SymbolNode) -> int:
    """How many outputs MXNet counts for a node: max pooling has a hidden workspace that symc has no use for."""
    op: Any = node.op
    if node.op_name != "Pooling" or op.pool_type != "max" or not 1 <= len(op.kernel) <= 3:
        return node.n_outputs
    return 2 if op.layout is None or op.layout.startswith("NC") else 1
