"""Seeded weights: random, and scaled so that activations neither vanish nor explode in a network of any depth."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from math import prod, sqrt

import numpy as np

from symc.context import cpu
from symc.core.shapes import FullShape
from symc.ndarray import NDArray
from symc.ndarray.storage import empty_aligned
from symc.symbol import Symbol
from symc.symbol.node import SymbolNode

Params = dict[str, NDArray]

MAX_POOLING_GAIN = 4  # of the mean square, for windows of 2 x 2 to 3 x 3 over rectified normal values (3.1 to 5.1)
_PRODUCTS = ("Convolution", "Deconvolution", "FullyConnected", "dot", "batch_dot")
_SUMS = ("elemwise_add", "broadcast_add", "add_n", "_plus", "elemwise_sub", "broadcast_sub")


def seeded_params(
    symbol: Symbol, arg_shapes: Mapping[str, FullShape], aux_shapes: Mapping[str, FullShape], seed: int
) -> tuple[Params, Params]:
    """Arrays for the arguments and auxiliary states of these shapes, float32.

    Weights are normal with variance 2 / fan-in (He et al., Delving Deep into Rectifiers, 2015).  Moving variances are
    what the network's own activations are expected to have for inputs of mean 0 and variance 1, and gamma, beta and the
    moving mean scatter a little around 1, 0 and 0, so that a mistake in any of them shows.
    A value depends on `seed` and the parameter's name only, not on the order of the graph.
    """
    used_as = _argument_names(symbol)
    moments = second_moments(symbol)

    def array(name: str, shape: FullShape) -> NDArray:
        argument, user = used_as.get(name, ("", None))
        energy = moments[user.inputs[0].node] if user is not None else 1.0
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        values = empty_aligned(shape, np.dtype(np.float32))
        _draw(rng, argument, energy, values)
        return NDArray(values, cpu())

    return {n: array(n, s) for n, s in arg_shapes.items()}, {n: array(n, s) for n, s in aux_shapes.items()}


def _draw(rng: np.random.Generator, argument: str, energy: float, out: np.ndarray) -> None:
    """Fills a parameter by the argument it is bound to; `energy` is the mean square of the operator's data."""
    if argument == "moving_var" or (argument == "gamma" and out.ndim == 1):
        rng.random(dtype=np.float32, out=out)
        out *= 0.4
        out += 0.8
        out *= energy if argument == "moving_var" else 1
        return
    rng.standard_normal(dtype=np.float32, out=out)
    if argument == "moving_mean":
        out *= 0.1 * sqrt(energy)
    else:
        out *= 0.1 if out.ndim < 2 else sqrt(2 / max(1, prod(out.shape[1:])))


def _argument_names(symbol: Symbol) -> dict[str, tuple[str, SymbolNode]]:
    """For every variable the argument it is bound to and by which operator, where it is used first."""
    found: dict[str, tuple[str, SymbolNode]] = {}
    for node in symbol.nodes():
        if node.op is not None:
            for argument, (source, _) in zip(node.op.input_names(), node.inputs):
                if source.is_variable:
                    found.setdefault(source.name, (argument, node))
    return found


def second_moments(symbol: Symbol) -> dict[SymbolNode, float]:
    """The expected mean square of every node's first output, with inputs of mean square 1 and weights as above."""
    found: dict[SymbolNode, float] = {}
    for node in symbol.nodes():
        ins = [found[source] for source, _ in node.inputs]
        found[node] = _second_moment(node, ins) if node.op is not None and ins else 1.0
    return found


def _second_moment(node: SymbolNode, ins: list[float]) -> float:
    if node.op_name in _PRODUCTS:
        return 2 * ins[0]
    if node.op_name in _SUMS:
        return sum(ins)
    if node.op_name == "Concat":
        return sum(ins) / len(ins)
    if node.op_name == "BatchNorm":
        return 1.0
    if node.op_name == "Pooling" and node.attrs.get("pool_type", "max") == "max":
        return MAX_POOLING_GAIN * ins[0]
    if node.op_name == "Activation":
        return ins[0] / 2 if node.attrs.get("act_type") == "relu" else min(ins[0], 1.0)
    return ins[0]
