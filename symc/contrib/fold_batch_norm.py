"""BatchNorms into the layers in front of them, in a symbol and its parameters: what is quantised next is one layer.

    before:  conv0 (Convolution, no_bias) -> bn0 (BatchNorm) -> relu0
    after:   conv0 (Convolution) -> relu0, with other values of conv0_weight, and conv0_bias

MXNet's oneDNN backend fuses them for the same reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from symc import ndarray as nd
from symc.ndarray import NDArray
from symc.symbol import Symbol
from symc.symbol.node import Entry, SymbolNode, nodes_of, parse_op

LAYERS = ("Convolution", "FullyConnected")
Arrays = Mapping[str, NDArray]


def fold_batch_norms(
    symbol: Symbol, args: Arrays, aux: Arrays
) -> tuple[Symbol, dict[str, NDArray], dict[str, NDArray]]:
    """The symbol as it predicts, its parameters and states, without BatchNorms that alone read a layer's output."""
    nodes = nodes_of(symbol.heads)
    n_uses = Counter(source for node in nodes for source, _ in node.inputs) + Counter(n for n, _ in symbol.heads)
    arrays, made = dict(args), {}
    for node in nodes:
        inputs = [Entry(made[source], k) for source, k in node.inputs]
        layer = node.inputs[0].node if node.inputs else node
        if node.op_name == "BatchNorm" and _is_foldable(node, layer, n_uses, {**args, **aux}):
            made[node] = _folded(node, made[layer], arrays, aux)
            continue
        copy = made[node] = SymbolNode(node.op, node.name, dict(node.attrs), inputs, node.origin)
        copy.versions, copy.version, copy.subgraphs = node.versions, node.version, node.subgraphs
    found = Symbol([Entry(made[node], k) for node, k in symbol.heads])
    states = set(found.list_auxiliary_states())
    return found, arrays, {name: a for name, a in aux.items() if name in states}


def _is_foldable(norm: SymbolNode, layer: SymbolNode, n_uses: Mapping[SymbolNode, int], arrays: Arrays) -> bool:
    """Whether nothing else reads the layer's output or its parameters, whose values are known."""
    op: Any = norm.op
    layer_op: Any = layer.op
    parameters = [source for source, _ in (*norm.inputs[1:], *layer.inputs[1:])]
    return (
        layer.op_name in LAYERS
        and n_uses[layer] == 1
        and op.axis == 1
        and not op.output_mean_var
        and not getattr(layer_op, "is_channels_last", False)
        and (layer.op_name == "Convolution" or layer_op.flatten)
        and all(p.name in arrays and n_uses[p] == 1 for p in parameters)
    )


def _folded(norm: SymbolNode, layer: SymbolNode, args: dict[str, NDArray], aux: Arrays) -> SymbolNode:
    """The layer that computes what the BatchNorm makes of its output; writes its parameters into `args`."""
    op: Any = norm.op
    gamma, beta, mean, variance = ({**args, **aux}[source.name].asnumpy() for source, _ in norm.inputs[1:])
    for source, _ in norm.inputs[1:3]:
        del args[source.name]
    scale = (1 if op.fix_gamma else gamma) / np.sqrt(variance.astype("float64") + op.eps)
    data, weight = layer.inputs[:2]
    bias = layer.inputs[2] if len(layer.inputs) > 2 else Entry(SymbolNode(None, f"{layer.name}_bias"))
    old_weight, old_bias = args[weight.node.name].asnumpy(), 0
    if len(layer.inputs) > 2:
        old_bias = args[bias.node.name].asnumpy()
    new_weight = old_weight * scale.reshape(-1, *(1,) * (old_weight.ndim - 1))
    args[weight.node.name] = nd.array(new_weight, dtype=old_weight.dtype)
    args[bias.node.name] = nd.array((old_bias - mean) * scale + beta, dtype=old_weight.dtype)
    attrs = {**layer.attrs, "no_bias": "False"}
    return SymbolNode(parse_op(type(layer.op), attrs), layer.name, attrs, [data, weight, bias], layer.origin)
