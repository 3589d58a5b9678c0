"""From a file's version to the current one: what MXNet's loader does to nodes of older files (legacy_json_util.cc)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from symc.core.errors import ParameterError
from symc.ir.op import Op

from .compose import input_variable, set_input_attrs
from .graph import to_graph
from .listing import map_order
from .node import HIDDEN_KEYS, Entry, SymbolNode, parse_op

MXNET_VERSION = 10901
FIRST_VERSION = 800  # of files that do not say


def parse_and_upgrade(
    nodes: Sequence[SymbolNode], classes: Mapping[SymbolNode, type[Op]], version: int, source: str
) -> None:
    """Parses the parameters of every node and runs each upgrade newer than the file, in MXNet's order.

    Raises ParameterError, naming the node.
    """
    for node in nodes:
        hidden = _take_hidden(node) if version < MXNET_VERSION else {}
        if node in classes:
            _parse(node, classes[node], source)
        if hidden:
            _put_hidden(node, hidden)
    for node in nodes:
        if node.op is None:
            continue
        if version < 900:
            _add_missing_inputs(node)
        if version < 904:
            set_input_attrs(node)
        if version < 905 and node.op.name in ("argmax", "argmin") and node.attrs.get("axis") == "-1":
            del node.attrs["axis"]
            _parse(node, classes[node], source)


def _parse(node: SymbolNode, cls: type[Op], source: str) -> None:
    attrs = node.attrs
    if cls.variadic and cls.variadic not in attrs:
        attrs = {**attrs, cls.variadic: str(cls.counted(len(node.inputs)))}
    try:
        op = parse_op(cls, attrs)
    except ParameterError as e:
        raise ParameterError(f"{source}: node {node.name} ({cls.name}): {e}") from None
    if cls.n_bodies:
        if len(node.subgraphs) != cls.n_bodies:
            found = f"{len(node.subgraphs)} subgraphs, expected {cls.n_bodies}"
            raise ParameterError(f"{source}: node {node.name} ({cls.name}) has {found}")
        op = op.with_bodies(tuple(map(to_graph, node.subgraphs)))
    node.op = op


def _take_hidden(node: SymbolNode) -> dict[str, str]:
    """Removes `lr_mult` and `weight_lr_mult` like keys, which no operator parses."""
    found = [k for k in node.attrs if any(k.startswith(h) or k.endswith(h) for h in HIDDEN_KEYS)]
    return {k: node.attrs.pop(k) for k in map_order(found)}


def _put_hidden(node: SymbolNode, hidden: Mapping[str, str]) -> None:
    """before: fc {weight_lr_mult: 2, ctx_group: a}     after: fc {__ctx_group__: a}, fc_weight {__lr_mult__: 2}"""
    for key, value in hidden.items():
        bare = next(h for h in HIDDEN_KEYS if key.startswith(h) or key.endswith(h))
        if key == bare:
            node.attrs[f"__{bare}__"] = value
            continue
        argument = key.removesuffix(f"_{bare}")
        names = node.op.input_names() if node.op is not None else ()
        position = names.index(argument) if argument in names else len(node.inputs)
        if position < len(node.inputs) and node.inputs[position].node.is_variable:
            node.inputs[position].node.attrs[f"__{bare}__"] = value
        else:
            node.attrs[key] = value


def _add_missing_inputs(node: SymbolNode) -> None:
    """before: BatchNorm(data, gamma, beta)     after: BatchNorm(data, gamma, beta, bn_moving_mean, bn_moving_var)"""
    assert node.op is not None
    for argument in node.op.input_names()[len(node.inputs) :]:
        node.inputs.append(Entry(input_variable(node, argument)))
